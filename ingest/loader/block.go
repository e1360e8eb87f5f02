package loader

import (
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/eventstore"
)

// block is what is collected of a partition: messages of a contiguous range of offsets. Each becomes a row, or goes to
// quarantine, or is a duplicate; which of these is a function of the messages and of where the window begins.
type block struct {
	messages   int
	bytes      int   // of their values
	window     int64 // the first offset that was looked at for duplicates
	end        int64 // one after the last message
	offsets    []uint64
	rows       []event.Row
	unreadable []eventstore.Unreadable
	duplicates int
	due        <-chan time.Time // when it is old enough; nil while it is empty
}

// add takes a message up.
func (b *block) add(message *sarama.ConsumerMessage, before *window, age time.Duration) {
	if b.messages == 0 {
		b.due = time.After(age)
		b.window = before.from
	}
	b.messages++
	b.bytes += len(message.Value)
	b.end = message.Offset + 1
	row, timestamp, err := event.ParseOriginal(message.Value)
	switch {
	case err != nil:
		b.unreadable = append(b.unreadable, eventstore.Unreadable{Offset: uint64(message.Offset), Reason: err.Error(), Raw: message.Value})
		before.skip(message.Offset + 1)
	case before.add(message.Offset, keyOf(event.Identity{TeamID: row.TeamID, UUID: row.UUID, Event: row.Event, DistinctID: row.DistinctID, Timestamp: timestamp})):
		b.duplicates++
	default:
		b.offsets = append(b.offsets, uint64(message.Offset))
		b.rows = append(b.rows, row)
	}
}

// reset empties the block and keeps its memory for the next. Nobody else holds its rows by then: an insert that was left
// behind without an answer ends the claim, and its block with it.
func (b *block) reset() {
	clear(b.rows) // lets go of the events' texts
	*b = block{offsets: b.offsets[:0], rows: b.rows[:0]}
}

// halve cuts the block in the middle of its rows and returns what follows, with memory of its own. A block of less than
// two rows stays as it is.
func (b *block) halve() block {
	if len(b.rows) < 2 {
		return block{}
	}
	middle := len(b.rows) / 2
	end := int64(b.offsets[middle])
	rest := block{
		messages: b.messages - b.messages/2, bytes: b.bytes - b.bytes/2, window: b.window, end: b.end, due: b.due,
		offsets: append([]uint64(nil), b.offsets[middle:]...), rows: append([]event.Row(nil), b.rows[middle:]...),
		duplicates: b.duplicates - b.duplicates/2,
	}
	b.messages, b.bytes, b.duplicates = b.messages/2, b.bytes/2, b.duplicates/2 // about so: they only steer and count
	b.offsets, b.rows, b.end = b.offsets[:middle], b.rows[:middle], end
	all := b.unreadable
	b.unreadable = nil
	for _, message := range all {
		if int64(message.Offset) < end {
			b.unreadable = append(b.unreadable, message)
		} else {
			rest.unreadable = append(rest.unreadable, message)
		}
	}
	return rest
}
