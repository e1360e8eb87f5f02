// Package event is the event: how a client's JSON is read, the limits of a single event, the Kafka message that
// carries it, and the row that it becomes. It does no I/O.
package event

import (
	"time"

	"github.com/google/uuid"
)

// Row is one row of the events table, but for the columns that the loader adds when it forms a block: inserted_at,
// source and source_offset. All times are UTC with microseconds.
type Row struct {
	TeamID     int64
	UUID       uuid.UUID
	Event      string
	DistinctID string
	Timestamp  time.Time
	// Properties is the JSON object as the client sent it, byte for byte.
	Properties string
	ReceivedAt time.Time
}
