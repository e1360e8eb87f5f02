package eventstore

import (
	"context"
	"strings"

	"github.com/millrace/millrace/export"
)

// Failing tells how the latest runs of an export have ended, by ClickHouse's clock: since when by nothing but failures of kinds
// that pause an export. A run that was published, or that failed otherwise, ends such a time; one that people cancelled, and a
// revision that was closed, say nothing about it. A run that failed again counts by its last failure.
func (s *Store) Failing(ctx context.Context, name string) (export.Failing, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	var kinds []string
	for _, kind := range export.Kinds() {
		if kind.PausesExport() {
			kinds = append(kinds, quoteText(string(kind)))
		}
	}
	pauses := "status = 'failed' AND error_kind IN (" + strings.Join(kinds, ", ") + ")"
	var failing export.Failing
	var runs uint64
	var kind string
	err := s.ask(ctx, "WITH (SELECT max(if(status = 'published', published_at, recorded_at)) FROM ledger FINAL WHERE export = ? AND status IN ('published', 'failed') AND NOT ("+pauses+")) AS turned "+
		"SELECT count(), min(recorded_at), min(started_at), argMax(error_kind, recorded_at) FROM ledger FINAL WHERE export = ? AND "+pauses+" AND recorded_at > turned",
		[]any{name, name}, &runs, &failing.Since, &failing.Began, &kind)
	failing.Since, failing.Began, failing.Runs, failing.Kind = orZero(failing.Since), orZero(failing.Began), int(runs), export.Kind(kind)
	return failing, wrap("read in the ledger how the runs of "+name+" have ended", err)
}
