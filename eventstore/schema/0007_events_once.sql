-- Events without the copies that the loader's window did not reach: of rows that agree in team, uuid, name, distinct id and
-- time the first to arrive. It is for questions by people; exports read `events`, whose rows are fixed. Bounds on the time
-- of the event, the team, name and the like reach the table; bounds on the arrival do not, for they would show another
-- first arrival.
CREATE VIEW IF NOT EXISTS events_once AS
SELECT team_id, uuid, event, distinct_id, timestamp, properties, received_at, inserted_at, source, source_offset
FROM events
ORDER BY inserted_at, source, source_offset
LIMIT 1 BY team_id, uuid, event, distinct_id, timestamp;
