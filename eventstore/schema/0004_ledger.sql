-- Every run there ever was, beyond the retention of workflow history. The row with the greatest precedence counts: a
-- published run is never replaced by a failure that is recorded later, and otherwise the later row wins. Read with FINAL.
CREATE TABLE IF NOT EXISTS ledger
(
    export          LowCardinality(String),
    interval_start  DateTime('UTC'),
    interval_end    DateTime('UTC'),
    revision        UInt32,
    status          LowCardinality(String),
    team            LowCardinality(String),
    model           LowCardinality(String),
    connection      LowCardinality(String),
    destination     LowCardinality(String),
    definition_hash String,
    plan_hash       String,
    closing_rule    LowCardinality(String),
    watermark       String,
    rows            UInt64,
    bytes           UInt64,
    files           UInt64,
    proof           LowCardinality(String),
    manifest        String,
    workflow_id     String,
    run_id          String,
    started_at      DateTime64(6, 'UTC'),
    published_at    DateTime64(6, 'UTC'),
    recorded_at     DateTime64(6, 'UTC') DEFAULT now64(6),
    attempts        UInt32,
    error_kind      LowCardinality(String),
    error           String,
    precedence      UInt64 DEFAULT if(status = 'published', toUInt64(9000000000000000000), 0) + toUInt64(toUnixTimestamp64Micro(recorded_at))
)
ENGINE = ReplacingMergeTree(precedence)
ORDER BY (export, interval_start, interval_end, revision);
