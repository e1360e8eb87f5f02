package eventstore

import (
	"context"
	"time"

	"github.com/millrace/millrace/event"
)

// Block is what one insert carries: rows of one Kafka partition, from a contiguous range of offsets, that arrive
// together. It becomes one part of the events table, so all of it is there or nothing.
type Block struct {
	// Source names the partition: cluster id / topic id / number. Never a topic's name.
	Source string
	// Arrival is the arrival time of every row, by ClickHouse's clock, on whole microseconds.
	Arrival time.Time
	// Token names the block for ever: partition/first-end/try/arrival. It is the deduplication token and the query id.
	Token string
	// Offsets has the Kafka offset of each row, ascending; Rows has the rows in the same order.
	Offsets []uint64
	Rows    []event.Row
}

// InsertBlock writes a block. Called again with the same token within the table's window it changes nothing and
// returns nil; that answer proves the rows' presence only to the caller that sent the first copy. A block without
// rows is not sent. IsArrivalRefused tells the refusal of an arrival time that is too old or in the future; after any
// other error the outcome is unknown until the rows are counted.
//
// The insert is never killed, also not when ctx ends: the connection is given up, and the server decides.
func (s *Store) InsertBlock(ctx context.Context, block Block) error { return errNotBuilt }

// LastLoaded is the last row of one source.
type LastLoaded struct {
	// Found is false when no row of the source is in the table.
	Found bool
	// Offset is the greatest source_offset there is, and Arrival its arrival time.
	Offset  uint64
	Arrival time.Time
}

// LastLoaded finds the greatest offset of a source, and when it arrived.
func (s *Store) LastLoaded(ctx context.Context, source string) (LastLoaded, error) {
	return LastLoaded{}, errNotBuilt
}
