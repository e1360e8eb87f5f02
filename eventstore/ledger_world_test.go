//go:build world

package eventstore_test

import (
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
