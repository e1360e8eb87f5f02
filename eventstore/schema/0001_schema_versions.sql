-- The steps of the schema that were applied. Two processes may apply one at the same time, so a step can stand here
-- twice; the first counts.
CREATE TABLE IF NOT EXISTS schema_versions
(
    version    UInt32,
    name       String,
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY version;
