-- Roster and watermarks in one table, so that one query reads both. The greatest mark of a partition counts: merges keep
-- it, and readers take it from what is not merged yet. A mark at 1970 is a partition that has promised nothing yet.
CREATE TABLE IF NOT EXISTS watermarks
(
    topic         String,
    partition     Int32,
    partitions    Int32,
    source        String,
    at            DateTime64(6, 'UTC'),
    next_offset   UInt64,
    owner         String,
    published_at  DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(at)
ORDER BY (topic, partition);
