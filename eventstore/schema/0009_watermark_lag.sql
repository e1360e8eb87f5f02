-- How many messages of the partition Kafka held that were not loaded, when the mark was published: backfills give way to a
-- loader that is behind, and processes without Kafka see it here.
ALTER TABLE watermarks ADD COLUMN IF NOT EXISTS behind UInt64;
