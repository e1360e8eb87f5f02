package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/starter"
)

// What an export waits for is told with its error and with when it is tried again, and a backfill with where it stands.
func TestWhatIsUnderWay(t *testing.T) {
	began := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	next := began.Add(12 * time.Minute)
	waits := starter.Waits{Since: began, Step: "FindPublished", Attempt: 1204, Kind: export.KindDestinationUnavailable, Error: "the connection was refused", Next: &next}
	asking := waits
	asking.Next = nil
	for name, test := range map[string]struct {
		status starter.ExportStatus
		want   []string
	}{
		"nothing": {},
		"a run that waits": {starter.ExportStatus{Waits: &waits}, []string{
			"shop: a run has waited since 2026-11-26T10:00:00Z: destination_unavailable: the connection was refused (attempt 1,204 of FindPublished, the next at 2026-11-26T10:12:00Z)",
		}},
		"a run that is at it, and a backfill": {
			starter.ExportStatus{Waits: &asking, Backfill: &starter.BackfillStatus{WorkflowID: "backfill-shop", Progress: &export.BackfillProgress{
				State: export.BackfillPaused, Span: export.Interval{Start: began.Add(-20 * time.Hour), End: began}, Intervals: 20, Published: 5, Running: 2, Parallel: 4, Rows: 1234, Note: "lunch",
			}}}, []string{
				"shop: a run has waited since 2026-11-26T10:00:00Z: destination_unavailable: the connection was refused (attempt 1,204 of FindPublished, which is under way)",
				"shop: a backfill of 2026-11-25T14:00:00Z–2026-11-26T10:00:00Z is under way: paused · 5 of 20 intervals done · 2 running of 4 · 1,234 rows · lunch",
			},
		},
		"a backfill without a worker": {starter.ExportStatus{Backfill: &starter.BackfillStatus{WorkflowID: "backfill-shop"}}, []string{
			"shop: a backfill is under way: workflow backfill-shop; no worker tells where it stands",
		}},
	} {
		test.status.Definition.Name = "shop"
		if diff := cmp.Diff(test.want, underWay(test.status)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
