package eventstore

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/export"
)

// Recorded is what the ledger has of an interval, over all its revisions.
type Recorded struct {
	export.Interval
	// Published is the latest revision that was published, 0 when none was; Source is its rows as they were proved, nil when
	// that was not computed, and DefinitionHash that of what it was exported by.
	Published      int
	Source         *export.Content
	DefinitionHash string
	// Ended is how the last run ended that was neither published nor closed: StatusFailed, with kind and error, or
	// StatusCancelled; empty when there is none.
	Ended Status
	Kind  export.Kind
	Error string
}

// recordedSQL is what the ledger has of each interval; conditions come between it and recordedEach. recordedColumns are what
// Recorded is read from.
const (
	recordedSQL = "SELECT interval_start, interval_end, maxIf(revision, status = 'published') AS published, " +
		"argMaxIf((source_rows, source_hash, definition_hash), revision, status = 'published') AS proved, " +
		"argMaxIf((status, error_kind, error), (recorded_at, revision), status IN ('failed', 'cancelled')) AS ended FROM ledger FINAL WHERE export = ?"
	recordedEach    = " GROUP BY interval_start, interval_end"
	recordedColumns = "interval_start, interval_end, published, proved.1, proved.2, proved.3, ended.1, ended.2, ended.3"
)

// RecordedWithin reads, by one query, what the ledger has of an export's intervals that overlap a range, by time.
func (s *Store) RecordedWithin(ctx context.Context, name string, span export.Interval) ([]Recorded, error) {
	return s.recorded(ctx, "SELECT "+recordedColumns+" FROM ("+recordedSQL+
		" AND interval_start < "+hour(span.End.Unix())+" AND interval_end > "+hour(span.Start.Unix())+recordedEach+") ORDER BY interval_start, interval_end", name)
}

// PublishedAt reads some of the intervals that the ledger has as published and that lie wholly in a range: those at the given
// places, counted from 0 by time.
func (s *Store) PublishedAt(ctx context.Context, name string, span export.Interval, places []int) ([]Recorded, error) {
	if len(places) == 0 {
		return nil, nil
	}
	texts := make([]string, len(places))
	for i, place := range places {
		texts[i] = strconv.Itoa(place)
	}
	return s.recorded(ctx, "SELECT "+recordedColumns+" FROM (SELECT *, row_number() OVER (ORDER BY interval_start, interval_end) - 1 AS place FROM ("+
		recordedSQL+" AND interval_start >= "+hour(span.Start.Unix())+" AND interval_end <= "+hour(span.End.Unix())+recordedEach+" HAVING published > 0)) WHERE place IN ("+
		strings.Join(texts, ", ")+") ORDER BY interval_start, interval_end", name)
}

func (s *Store) recorded(ctx context.Context, query, name string) ([]Recorded, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	rows, err := s.query(ctx, query, name)
	if err != nil {
		return nil, wrap("read the ledger", err)
	}
	var found []Recorded
	err = eachRow(rows, func() error {
		var one Recorded
		var published uint32
		var sourceRows uint64
		var sourceHash, ended, kind string
		if err := rows.Scan(&one.Start, &one.End, &published, &sourceRows, &sourceHash, &one.DefinitionHash, &ended, &kind, &one.Error); err != nil {
			return err
		}
		one.Published, one.Ended, one.Kind = int(published), Status(ended), export.Kind(kind)
		var err error
		if one.Source, err = contentOf(sourceRows, sourceHash); err != nil {
			return err
		}
		found = append(found, one)
		return nil
	})
	return found, wrap("read the ledger", err)
}

// Began tells when an export began, the start of the first interval that the ledger has as published, and where the last
// interval ends of which it has anything; both are zero when it has none.
func (s *Store) Began(ctx context.Context, name string) (first, last time.Time, err error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	err = s.ask(ctx, "SELECT minIf(interval_start, status = 'published'), max(interval_end) FROM ledger FINAL WHERE export = ?", []any{name}, &first, &last)
	return orZero(first), orZero(last), wrap("find the beginning of "+name+" in the ledger", err)
}
