package loader

import (
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/event"
)

// block is what is collected of a partition: messages of a contiguous range of offsets, from the one after the last
// block to the last that was added. Its rows are a function of these messages alone.
type block struct {
	messages int // readable and unreadable ones
	bytes    int // of their values
	offsets  []uint64
	rows     []event.Row
	due      <-chan time.Time // when it is old enough; nil while it is empty
}

// add takes a message up. The error says why it cannot be read; then it counts for the range, and gives no row.
func (b *block) add(message *sarama.ConsumerMessage, age time.Duration) error {
	if b.messages == 0 {
		b.due = time.After(age)
	}
	b.messages++
	b.bytes += len(message.Value)
	row, err := event.ParseMessage(message.Value)
	if err != nil {
		return err
	}
	b.offsets = append(b.offsets, uint64(message.Offset))
	b.rows = append(b.rows, row)
	return nil
}

// reset empties the block and keeps its memory for the next. Nobody else holds its rows by then: an insert that was left
// behind without an answer ends the claim, and its block with it.
func (b *block) reset() {
	clear(b.rows) // lets go of the events' texts
	*b = block{offsets: b.offsets[:0], rows: b.rows[:0]}
}

// last is the offset of the last row.
func (b *block) last() uint64 { return b.offsets[len(b.offsets)-1] }
