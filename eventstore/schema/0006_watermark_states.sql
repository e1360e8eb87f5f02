-- What a mark says beside its time: nothing, `new` (readers wait, whatever the time) or `retired` (readers pass it over).
ALTER TABLE watermarks ADD COLUMN IF NOT EXISTS state LowCardinality(String);
