//go:build world

package eventstore_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
)

func ledgerRow(name string, end time.Time) eventstore.LedgerRow {
	return eventstore.LedgerRow{
		Run:    export.Run{Export: name, Interval: export.Interval{Start: end.Add(-time.Hour), End: end}, Revision: 1},
		Status: eventstore.StatusPublished, Team: export.Team{ID: 7}, Model: "events", Connection: "lake", Destination: "s3",
		DefinitionHash: "d", PlanHash: "p", Closing: export.Closing{Rule: export.RuleWatermark, Watermark: end.Format(time.RFC3339Nano)},
		Rows: 10, Bytes: 20, Files: 2, Proof: export.ProofStream, Manifest: "events/_millrace/x/manifest.json",
		WorkflowID: name + "-x", RunID: "r", StartedAt: end.Add(time.Minute), PublishedAt: end.Add(2 * time.Minute), Attempts: 3,
		Source: &export.Content{Rows: 10, Hash: 1<<63 + 5}, Stored: &export.Content{Rows: 10, Hash: 7}, Durations: map[string]int64{"waiting": 12, "writing": 345},
	}
}

func TestLedgerKeepsOneRowForEachRun(t *testing.T) {
	store := eventstoretest.New(t)
	end := time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC)
	record := func(row eventstore.LedgerRow) {
		t.Helper()
		if err := store.RecordRun(t.Context(), row); err != nil {
			t.Fatalf("RecordRun: %v", err)
		}
	}
	expect := func(filter eventstore.RunFilter, want ...eventstore.LedgerRow) {
		t.Helper()
		got, err := store.Runs(t.Context(), filter)
		if err != nil {
			t.Fatalf("Runs: %v", err)
		}
		for _, row := range got {
			if age := time.Since(row.RecordedAt); age < -time.Minute || age > time.Hour {
				t.Errorf("recorded at %s", row.RecordedAt)
			}
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(eventstore.LedgerRow{}, "RecordedAt"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("Runs(%+v) (-want +got):\n%s", filter, diff)
		}
	}
	expect(eventstore.RunFilter{})

	published := ledgerRow("shop-events", end)
	record(published)
	record(published)
	expect(eventstore.RunFilter{}, published)

	failed := published
	failed.Source, failed.Stored, failed.Durations = nil, nil, nil
	failed.Status, failed.PublishedAt, failed.ErrorKind, failed.Error = eventstore.StatusFailed, time.Time{}, export.KindQuota, "the bucket is full"
	record(failed)
	expect(eventstore.RunFilter{}, published)

	earlier := failed
	earlier.Run.Interval = export.Interval{Start: end.Add(-2 * time.Hour), End: end.Add(-time.Hour)}
	record(earlier)
	other := ledgerRow("other", end)
	other.Team = export.Team{All: true}
	record(other)
	revised := published
	revised.Run.Revision = 2
	record(revised)
	expect(eventstore.RunFilter{}, other, revised, published, earlier)
	expect(eventstore.RunFilter{Export: "shop-events"}, revised, published, earlier)
	expect(eventstore.RunFilter{Export: "shop-events", Since: end}, revised, published)
	expect(eventstore.RunFilter{Limit: 1}, other)
	expect(eventstore.RunFilter{Export: "shop-events", Interval: earlier.Run.Interval}, earlier)

	succeeded := earlier
	succeeded.Source = &export.Content{} // nothing at all has a hash, too
	succeeded.Status, succeeded.ErrorKind, succeeded.Error, succeeded.PublishedAt = eventstore.StatusPublished, "", "", end
	record(succeeded)
	eventstoretest.Exec(t, "OPTIMIZE TABLE `"+store.Database()+"`.ledger FINAL")
	expect(eventstore.RunFilter{Export: "shop-events"}, revised, published, succeeded)
}

// What failed is what is to be repeated: the last run of an interval counts, and never a revision that was closed.
func TestFailedRunsAreThoseThatNobodyHasPublished(t *testing.T) {
	store := eventstoretest.New(t)
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	type told struct {
		hour     int
		revision int
	}
	record := func(name string, hour, revision int, status eventstore.Status) {
		t.Helper()
		row := ledgerRow(name, day.Add(time.Duration(hour)*time.Hour))
		row.Run.Revision, row.Status = revision, status
		if status != eventstore.StatusPublished {
			row.PublishedAt, row.ErrorKind, row.Error = time.Time{}, export.KindQuota, "the bucket is full"
		}
		if err := store.RecordRun(t.Context(), row); err != nil {
			t.Fatalf("RecordRun: %v", err)
		}
	}
	for hour, statuses := range map[int][]eventstore.Status{
		1: {eventstore.StatusFailed},
		2: {eventstore.StatusFailed, eventstore.StatusPublished},
		3: {eventstore.StatusPublished, eventstore.StatusFailed},
		4: {eventstore.StatusFailed, eventstore.StatusCancelled},
		5: {eventstore.StatusCancelled, eventstore.StatusFailed},
		6: {eventstore.StatusPublished},
	} {
		for _, status := range statuses {
			record("shop-events", hour, 1, status)
		}
	}
	// A revision that was closed is not the end of the interval; the next one is.
	record("shop-events", 7, 1, eventstore.StatusClosed)
	record("shop-events", 7, 2, eventstore.StatusFailed)
	record("shop-events", 8, 1, eventstore.StatusFailed)
	record("shop-events", 8, 2, eventstore.StatusPublished)
	record("shop-events", 9, 1, eventstore.StatusFailed)
	record("shop-events", 9, 2, eventstore.StatusClosed)
	record("shop-events", 9, 3, eventstore.StatusSuperseded)
	record("other", 2, 1, eventstore.StatusFailed)

	for _, test := range []struct {
		filter eventstore.RunFilter
		want   []told
	}{
		{eventstore.RunFilter{Export: "shop-events"}, []told{{9, 1}, {7, 2}, {5, 1}, {1, 1}}},
		{eventstore.RunFilter{Export: "shop-events", Within: export.Interval{Start: day.Add(4 * time.Hour), End: day.Add(7 * time.Hour)}}, []told{{7, 2}, {5, 1}}},
		{eventstore.RunFilter{Export: "shop-events", Within: export.Interval{Start: day.Add(time.Hour)}}, []told{{9, 1}, {7, 2}, {5, 1}}},
		{eventstore.RunFilter{Export: "shop-events", Within: export.Interval{End: day.Add(time.Hour)}}, []told{{1, 1}}},
		{eventstore.RunFilter{Export: "shop-events", Limit: 1}, []told{{9, 1}}},
		{eventstore.RunFilter{}, []told{{9, 1}, {7, 2}, {5, 1}, {2, 1}, {1, 1}}},
	} {
		test.filter.Failed = true
		rows, err := store.Runs(t.Context(), test.filter)
		if err != nil {
			t.Fatalf("Runs: %v", err)
		}
		var got []told
		for _, row := range rows {
			if row.Status != eventstore.StatusFailed || row.Error != "the bucket is full" {
				t.Errorf("%s is %s: %s", row.Run, row.Status, row.Error)
			}
			got = append(got, told{int(row.Run.End.Sub(day) / time.Hour), row.Run.Revision})
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("Runs(%+v) are %v, want %v", test.filter, got, test.want)
		}
	}
}
