-- What was proved of a run: the content of its rows in the source and, when it was read back, at the destination (hashes as
-- 16 hexadecimal digits, empty when there is none), and how long each step of the workflow took, in milliseconds.
ALTER TABLE ledger
    ADD COLUMN IF NOT EXISTS source_rows UInt64,
    ADD COLUMN IF NOT EXISTS source_hash String,
    ADD COLUMN IF NOT EXISTS stored_rows UInt64,
    ADD COLUMN IF NOT EXISTS stored_hash String,
    ADD COLUMN IF NOT EXISTS durations Map(String, Int64);
