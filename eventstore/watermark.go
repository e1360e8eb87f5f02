package eventstore

import (
	"context"
	"time"
)

// Mark is the watermark of one partition, as its owner publishes it.
type Mark struct {
	// Source names the partition, as in Block.
	Source string
	// Topic is the topic's id (not its name), Partition the partition's number, and Partitions how many the topic has.
	Topic      string
	Partition  int32
	Partitions int32
	// At is the arrival time up to which the partition is complete. The zero time means `new`: the partition is on the
	// roster and has promised nothing yet, which makes every reader wait.
	At time.Time
	// Offset is the first offset that is not loaded yet.
	Offset uint64
	// Owner names the process that publishes, for people.
	Owner string
}

// PublishWatermarks adds marks to the roster, in one insert. Readers take the greatest of each partition, so an older
// mark that comes late, or the same one twice, changes nothing.
func (s *Store) PublishWatermarks(ctx context.Context, marks []Mark) error { return errNotBuilt }

// Watermark is up to when ClickHouse is complete.
type Watermark struct {
	// Complete tells that every partition of the roster has promised a time. Only then is At the watermark: the least of
	// these times.
	Complete bool
	At       time.Time
	// HeldBy is the source that holds the watermark back: the one with the least time, or the one that is missing.
	HeldBy string
	// Reason says in words why it is not Complete; empty when it is.
	Reason string
	// Marks are the roster, by topic and partition.
	Marks []Mark
}

// Watermark reads roster and marks in one query. It reads every time anew, and never asks a clock.
func (s *Store) Watermark(ctx context.Context) (Watermark, error) { return Watermark{}, errNotBuilt }
