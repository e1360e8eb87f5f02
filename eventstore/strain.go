package eventstore

import (
	"context"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Strain is how much ClickHouse has to do, as it says itself.
type Strain struct {
	// Now is its clock.
	Now time.Time
	// Threads is the server's max_threads for a query of ours.
	Threads uint64
	// Queries run that are not Millrace's exports'.
	Queries uint64
	// Memory is in use of MemoryMost, in bytes; MemoryMost is 0 where the server has no limit.
	Memory, MemoryMost uint64
	// Merges are under way of MergesMost at once.
	Merges, MergesMost uint64
	// Parts is the most active parts that a partition of events has; inserts are delayed from PartsDelay on.
	Parts, PartsDelay uint64
	// DelayedInserts counts inserts that were delayed or refused since the server began.
	DelayedInserts uint64
}

// Strain asks ClickHouse how much it has to do. It reads system tables, a millisecond.
func (s *Store) Strain(ctx context.Context) (Strain, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"log_comment": "millrace governor"}))
	var found Strain
	var micros int64
	err := s.ask(ctx, `SELECT toUnixTimestamp64Micro(now64(6)), toUInt64(getSetting('max_threads')),
		(SELECT count() FROM system.processes WHERE NOT startsWith(Settings['log_comment'], 'millrace ')),
		(SELECT toUInt64(greatest(sum(value), 0)) FROM system.metrics WHERE metric = 'MemoryTracking'),
		(SELECT toUInt64(sum(toUInt64OrZero(value))) FROM system.server_settings WHERE name = 'max_server_memory_usage'),
		(SELECT toUInt64(greatest(sum(value), 0)) FROM system.metrics WHERE metric = 'Merge'),
		(SELECT toUInt64(sum(toUInt64OrZero(value))) FROM system.server_settings WHERE name = 'background_pool_size'),
		(SELECT toUInt64(max(parts)) FROM (SELECT count() AS parts FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active GROUP BY partition_id)),
		(SELECT toUInt64(sum(toUInt64OrZero(value))) FROM system.merge_tree_settings WHERE name = 'parts_to_delay_insert'),
		(SELECT toUInt64(sum(value)) FROM system.events WHERE event IN ('DelayedInserts', 'RejectedInserts'))`, nil,
		&micros, &found.Threads, &found.Queries, &found.Memory, &found.MemoryMost, &found.Merges, &found.MergesMost, &found.Parts, &found.PartsDelay, &found.DelayedInserts)
	found.Now = time.UnixMicro(micros).UTC()
	return found, wrap("ask ClickHouse how much it has to do", err)
}
