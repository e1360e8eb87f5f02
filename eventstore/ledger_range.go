package eventstore

import (
	"context"

	"github.com/millrace/millrace/export"
)

// PublishedWithin counts the intervals of an export that the ledger has as published and that lie wholly in a range, with the
// rows and bytes of their latest revisions.
func (s *Store) PublishedWithin(ctx context.Context, name string, span export.Interval) (export.PublishedRuns, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	var runs uint64
	var found export.PublishedRuns
	err := s.ask(ctx, "SELECT count(), sum(latest.1), sum(latest.2) FROM (SELECT argMax((rows, bytes), revision) AS latest FROM ledger FINAL "+
		"WHERE export = ? AND status = 'published' AND interval_start >= "+hour(span.Start.Unix())+" AND interval_end <= "+hour(span.End.Unix())+
		" GROUP BY interval_start, interval_end)", []any{name}, &runs, &found.Rows, &found.Bytes)
	found.Runs = int(runs)
	return found, wrap("count what the ledger has as published", err)
}
