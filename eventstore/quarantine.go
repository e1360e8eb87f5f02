package eventstore

import (
	"context"
	"fmt"
)

// Unreadable is a message that no row can be made of.
type Unreadable struct {
	// Offset is its place in the partition.
	Offset uint64
	// Reason says in words what cannot be read.
	Reason string
	// Raw is the message's value, byte for byte.
	Raw []byte
}

// Quarantine records messages of one source that cannot be read. Written twice, also by two loaders, each stays one row.
// After an error some may be there: write them again.
func (s *Store) Quarantine(ctx context.Context, source string, messages []Unreadable) error {
	if len(messages) == 0 {
		return nil
	}
	return wrap("quarantine messages of "+source, s.insertUnreadable(withPlainInsert(ctx), source, messages))
}

func (s *Store) insertUnreadable(ctx context.Context, source string, messages []Unreadable) error {
	batch, err := s.prepare(ctx, "INSERT INTO quarantine (source, source_offset, reason, raw)")
	if err != nil {
		return err
	}
	for _, message := range messages {
		if err := batch.Append(source, message.Offset, message.Reason, string(message.Raw)); err != nil {
			_ = batch.Abort()
			return fmt.Errorf("encode offset %d of %s: %w", message.Offset, source, err)
		}
	}
	return batch.Send()
}

// CountQuarantined counts the messages of one source from offset first to before end that are on record.
func (s *Store) CountQuarantined(ctx context.Context, source string, first, end uint64) (uint64, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	var count uint64
	err := s.ask(ctx, "SELECT uniqExact(source_offset) FROM quarantine WHERE source = ? AND source_offset >= ? AND source_offset < ?",
		[]any{source, first, end}, &count)
	return count, wrap("count quarantined messages of "+source, err)
}
