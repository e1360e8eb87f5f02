//go:build world

package eventstore_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
)

// Of each interval that overlaps a range the ledger tells the last published revision, and else how the last run ended.
func TestWhatTheLedgerHasOfIntervals(t *testing.T) {
	store := eventstoretest.New(t)
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	hours := func(from, to int) export.Interval {
		return export.Interval{Start: day.Add(time.Duration(from) * time.Hour), End: day.Add(time.Duration(to) * time.Hour)}
	}
	record := func(interval export.Interval, revision int, status eventstore.Status, hash uint64) {
		t.Helper()
		row := ledgerRow("shop-events", interval.End)
		row.Run.Interval, row.Run.Revision, row.Status, row.Source = interval, revision, status, nil
		switch status {
		case eventstore.StatusPublished:
			row.Source = &export.Content{Rows: 10, Hash: hash}
		case eventstore.StatusFailed:
			row.ErrorKind, row.Error = export.KindAuth, "no entry"
		}
		if err := store.RecordRun(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
	if first, last, err := store.Began(t.Context(), "shop-events"); err != nil || !first.IsZero() || !last.IsZero() {
		t.Errorf("an export that never ran began at %s, ended at %s, %v", first, last, err)
	}
	record(hours(1, 2), 1, eventstore.StatusFailed, 0)
	record(hours(2, 3), 1, eventstore.StatusClosed, 0)
	record(hours(2, 3), 2, eventstore.StatusPublished, 22)
	record(hours(3, 4), 1, eventstore.StatusPublished, 31)
	record(hours(3, 4), 2, eventstore.StatusPublished, 32)
	record(hours(3, 4), 3, eventstore.StatusFailed, 0)
	record(hours(4, 5), 1, eventstore.StatusFailed, 0)
	record(hours(4, 5), 2, eventstore.StatusCancelled, 0)
	record(hours(4, 5), 3, eventstore.StatusClosed, 0)
	record(hours(0, 24), 1, eventstore.StatusPublished, 24)
	record(hours(24, 25), 1, eventstore.StatusSuperseded, 0)

	proved := func(interval export.Interval, revision int, hash uint64) eventstore.Recorded {
		return eventstore.Recorded{Interval: interval, Published: revision, Source: &export.Content{Rows: 10, Hash: hash}, DefinitionHash: "d"}
	}
	both := proved(hours(3, 4), 2, 32)
	both.Ended, both.Kind, both.Error = eventstore.StatusFailed, export.KindAuth, "no entry"
	want := []eventstore.Recorded{proved(hours(0, 24), 1, 24), proved(hours(2, 3), 2, 22), both, {Interval: hours(4, 5), Ended: eventstore.StatusCancelled}}
	got, err := store.RecordedWithin(t.Context(), "shop-events", hours(2, 5))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	got, err = store.PublishedAt(t.Context(), "shop-events", hours(1, 24), []int{1, 7})
	if diff := cmp.Diff([]eventstore.Recorded{both}, got); err != nil || diff != "" {
		t.Errorf("in a place: %v (-want +got):\n%s", err, diff)
	}
	if first, last, err := store.Began(t.Context(), "shop-events"); err != nil || !first.Equal(day) || !last.Equal(hours(24, 25).End) {
		t.Errorf("it began at %s, ended at %s, %v", first, last, err)
	}
}
