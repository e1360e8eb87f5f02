-- Messages that no row can be made of, byte for byte, so that rows + quarantined + dropped duplicates = offsets. Written
-- before the block that leaves them out, and again by whoever repairs it: the same row twice is one row. Read with FINAL.
CREATE TABLE IF NOT EXISTS quarantine
(
    source         String,
    source_offset  UInt64,
    reason         String,
    raw            String CODEC(ZSTD(1)),
    quarantined_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree
ORDER BY (source, source_offset);
