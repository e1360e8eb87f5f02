-- One row for each event. One insert is one block, one part, one token; nothing but a ledgered operation of Millrace ever
-- removes a row, so the rows of a closed interval are fixed. Hence a plain MergeTree, partitioned by arrival.
--
-- The key is the order of chunks: an interval of all teams reads the hours it lies in, and one team's reads its own
-- stretch of each.
--
-- The constraint is the fence: ten minutes after a block was formed no copy of it, and no other tool, can slip rows into
-- an interval that readers hold for complete. Until then the token keeps copies out. The window of tokens covers ten
-- minutes of 8 partitions at one block a second, ten times over.
CREATE TABLE IF NOT EXISTS events
(
    team_id       Int64,
    uuid          UUID,
    event         String,
    distinct_id   String,
    timestamp     DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    properties    String CODEC(ZSTD(1)),
    received_at   DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    inserted_at   DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    source        LowCardinality(String),
    source_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    INDEX timestamps timestamp TYPE minmax GRANULARITY 1,
    CONSTRAINT arrival CHECK inserted_at > nowInBlock64(6) - INTERVAL 10 MINUTE AND inserted_at < nowInBlock64(6) + INTERVAL 1 MINUTE
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(inserted_at)
ORDER BY (toStartOfHour(inserted_at), team_id, inserted_at, source, source_offset)
SETTINGS non_replicated_deduplication_window = 48000;
