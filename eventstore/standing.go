package eventstore

import (
	"context"
	"time"
)

// Standing is what the server knows of a block, as whoever repairs it must know.
type Standing struct {
	// Running tells that the server works at a query of the block's token. It may still bring the rows in.
	Running bool
	// Rows of the block's source have the block's arrival time. A block is one part, so these are all or none.
	Rows uint64
	// Age is how long the arrival time was past, by ClickHouse's clock, when the rows were counted.
	Age time.Duration
}

// StandingOf first looks whether the server still runs an insert of the token, and then counts the rows and reads the
// clock in one query. The order matters: an insert that is not running any more has brought its rows in before they are
// counted, or never will.
//
// It asks the server that it is connected to: with several servers behind one address, an insert that another one runs is
// not seen.
func (s *Store) StandingOf(ctx context.Context, source string, arrival time.Time, token string) (Standing, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	var running uint64
	if err := s.ask(ctx, "SELECT count() FROM system.processes WHERE query_id = ?", []any{token}, &running); err != nil {
		return Standing{}, wrap("look for a running insert of "+token, err)
	}
	// ClickHouse does not infer the hour from inserted_at: say both.
	const count = `SELECT count(), toUnixTimestamp64Micro(now64(6)) FROM events
WHERE toStartOfHour(inserted_at) = toStartOfHour(fromUnixTimestamp64Micro(?, 'UTC')) AND inserted_at = fromUnixTimestamp64Micro(?, 'UTC') AND source = ?`
	var rows uint64
	var now int64
	if err := s.ask(ctx, count, []any{arrival.UnixMicro(), arrival.UnixMicro(), source}, &rows, &now); err != nil {
		return Standing{}, wrap("count the rows of "+token, err)
	}
	return Standing{Running: running > 0, Rows: rows, Age: time.UnixMicro(now).Sub(arrival)}, nil
}
