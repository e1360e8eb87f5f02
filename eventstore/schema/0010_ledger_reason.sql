-- Why a published run takes the place of the revision before it, empty for all others.
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS reason String;
