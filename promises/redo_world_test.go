//go:build world

package promises

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/starter"
)

// redo starts a redo of an interval and waits until it has ended, well.
func (t *thread) redo(definition export.Definition, interval export.Interval, redo *export.Redo) (starter.Started, export.Outcome) {
	t.Helper()
	started, err := t.starter.Redo(t.Context(), definition, interval, redo)
	if err != nil {
		t.Fatal(err)
	}
	return started, t.outcome(started.WorkflowID, started.RunID)
}

// redoNow is a redo of what is published at this moment.
func redoNow(reason string) *export.Redo {
	return &export.Redo{Before: time.Now().UTC().Truncate(time.Millisecond), Reason: reason}
}

// late adds a row to an hour that is closed, as only somebody can who drops the constraint.
func (t *thread) late(h int) {
	t.Helper()
	row, _ := block(hour(h).Start.Add(59*time.Minute), 1, 1, `{"late": true}`)
	eventstoretest.LoadPast(t.T, t.events, row)
}

// resetToBegin resets a run to where it has done nothing yet.
func (t *thread) resetToBegin(started starter.Started) starter.Started {
	t.Helper()
	events := t.Client.GetWorkflowHistory(t.Context(), started.WorkflowID, started.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		if event.GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			continue
		}
		reset, err := t.Client.ResetWorkflowExecution(t.Context(), &workflowservice.ResetWorkflowExecutionRequest{
			Namespace: t.Name, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: started.WorkflowID, RunId: started.RunID},
			Reason: "test", RequestId: uuid.NewString(), WorkflowTaskFinishEventId: event.GetEventId(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return starter.Started{WorkflowID: started.WorkflowID, RunID: reset.GetRunId()}
	}
	t.Fatal("no worker has taken it up")
	return starter.Started{}
}

// A published interval is exported again when that is asked for, as the next revision and once, whoever repeats the asking.
func TestARedoTakesThePlaceOfWhatIsPublished(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	const n = 3
	t.load(n, 1)
	t.work()
	definition := hourly("again", 1)
	for h := range n {
		t.run(definition, hour(h))
	}
	t.late(0)
	if outcome := t.outcome(t.run(definition, hour(0)).WorkflowID, ""); outcome.Status != export.StatusAlreadyDone || outcome.Run.Revision != 1 {
		t.Errorf("a plain run ends with %+v", outcome)
	}
	before := t.objects()
	redo := redoNow("a row came late")
	first, outcome := t.redo(definition, hour(0), redo)
	if outcome.Status != export.StatusPublished || outcome.Run.Revision != 2 || outcome.Rows != 2 || outcome.RedoBefore == nil || !outcome.RedoBefore.Equal(redo.Before) {
		t.Fatalf("the redo ends with %+v", outcome)
	}
	t.history("redone", first)
	for key, tag := range before {
		if t.objects()[key] != tag {
			t.Errorf("%s of the former revision was changed", key)
		}
	}
	manifest := t.manifest(t.markKey(definition.Name, 2))
	if manifest.Replaces == nil || *manifest.Replaces != (export.Replacement{Revision: 1, Before: redo.Before, Reason: redo.Reason}) {
		t.Errorf("the manifest says that it replaces %+v", manifest.Replaces)
	}
	rows, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: definition.Name, Interval: hour(0)})
	if err != nil || len(rows) != 2 || rows[0].Run.Revision != 2 || rows[0].Reason != redo.Reason || rows[1].Status != eventstore.StatusPublished || rows[1].Reason != "" {
		t.Errorf("the ledger has %+v, %v", rows, err)
	}

	// Again, from the beginning, without a redo, and by the same one under another name: nothing is written.
	before = t.objects()
	again, outcome := t.redo(definition, hour(0), redo)
	if outcome.Status != export.StatusAlreadyDone || outcome.Run.Revision != 2 {
		t.Errorf("the same redo ends with %+v", outcome)
	}
	t.history("redone already", again)
	reset := t.resetToBegin(first)
	if outcome := t.outcome(reset.WorkflowID, reset.RunID); outcome.Status != export.StatusAlreadyDone || outcome.Run.Revision != 2 {
		t.Errorf("the redo, from its beginning, ends with %+v", outcome)
	}
	if outcome := t.outcome(t.run(definition, hour(0)).WorkflowID, ""); outcome.Status != export.StatusAlreadyDone || outcome.Run.Revision != 2 {
		t.Errorf("a plain run ends with %+v", outcome)
	}
	if after := t.objects(); len(after) != len(before) {
		t.Errorf("%d objects became %d", len(before), len(after))
	}
	report, err := t.starter.Verify(t.Context(), definition, hour(0))
	if err != nil || !report.Whole() || report.Intervals[0].Run.Revision != 2 || report.Intervals[0].Rows != 2 {
		t.Errorf("verified is %+v, %v", report, err)
	}

	// Two who ask at nearly the same time have one revision between them.
	one, other := redoNow("one asks"), redoNow("another asks")
	other.Before = other.Before.Add(time.Millisecond)
	var both []starter.Started
	for _, redo := range []*export.Redo{one, other} {
		started, err := t.starter.Redo(t.Context(), definition, hour(1), redo)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, started)
	}
	var statuses []export.Status
	for _, started := range both {
		outcome := t.outcome(started.WorkflowID, started.RunID)
		statuses = append(statuses, outcome.Status)
		if outcome.Run.Revision != 2 {
			t.Errorf("%s ends with %+v", started.WorkflowID, outcome)
		}
	}
	if !slices.Contains(statuses, export.StatusPublished) || !slices.Contains(statuses, export.StatusAlreadyDone) {
		t.Errorf("two redos end as %v", statuses)
	}

	// A backfill does so with a range, once, and what it had done is found done by who repeats it.
	t.late(2)
	wanted := hours(definition, n)
	wanted.Redo, wanted.RedoReason = true, "all of it"
	progress, err := t.backfill(wanted)
	if err != nil || progress.Published != n || progress.AlreadyDone != 0 || progress.Rows != 2+2+4 {
		t.Errorf("the backfill ended with %+v, %v", progress, err)
	}
	t.history("backfilled as a redo", starter.Started{WorkflowID: starter.BackfillID(definition.Name)})
	rows, err = t.events.Runs(t.Context(), eventstore.RunFilter{Export: definition.Name, Interval: hour(2)})
	if err != nil || len(rows) != 2 || rows[0].Run.Revision != 2 || rows[0].Reason != wanted.RedoReason {
		t.Errorf("the ledger has %+v, %v", rows, err)
	}
	made := t.manifest(strings.Replace(t.markKey(definition.Name, 2), hour(0).Key(), hour(2).Key(), 1))
	wanted.RedoBefore = &made.Replaces.Before
	if progress, err := t.backfill(wanted); err != nil || progress.Published != 0 || progress.AlreadyDone != n {
		t.Errorf("the backfill, by the same instant, ended with %+v, %v", progress, err)
	}

	// An interval that nobody has published is run as ever.
	if _, outcome := t.redo(definition, hour(n), redoNow("too early")); outcome.Status != export.StatusPublished || outcome.Run.Revision != 1 {
		t.Errorf("a redo of what is not published ends with %+v", outcome)
	}
	future := &export.Redo{Before: time.Now().Add(time.Hour)}
	started, err := t.starter.Redo(t.Context(), definition, hour(0), future)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := t.starter.Follow(t.Context(), started, nil); export.KindOf(err) != export.KindConfig {
		t.Errorf("a redo of the future ends with %v", err)
	}
}

// readHighest are the rows that a reader finds who takes the highest published revision of each interval.
func (t *thread) readHighest(name string) (rows []map[string]any, revisions map[string]int) {
	t.Helper()
	highest := map[string]export.Manifest{}
	for _, mark := range ending(t.objects(), "/manifest.json") {
		manifest := t.manifest(mark)
		if key := manifest.Run.Interval.Key(); manifest.Run.Export == name && manifest.PlanHash != "" && manifest.Run.Revision > highest[key].Run.Revision {
			highest[key] = manifest
		}
	}
	revisions = map[string]int{}
	for key, manifest := range highest {
		revisions[key] = manifest.Run.Revision
		for _, receipt := range manifest.Receipts {
			for line := range strings.Lines(string(t.read("events/" + receipt.Location))) {
				var row map[string]any
				if err := json.Unmarshal([]byte(line), &row); err != nil {
					t.Fatal(err)
				}
				rows = append(rows, row)
			}
		}
	}
	return rows, revisions
}

// Hours that longer runs have are done again with these, each of them once, whoever asks hour by hour; and readers have each row
// once.
func TestARedoOfWhatLongerRunsHave(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	const n = 12
	ids := t.load(n, 1)[1]
	t.work()
	definition := hourly("overlapping", 1)
	for _, own := range []int{3, 4} {
		t.run(definition, hour(own))
	}
	t.run(definition, span(0, n-1))
	row, late := block(hour(6).Start.Add(59*time.Minute), 1, 1, `{"late": true}`)
	eventstoretest.LoadPast(t.T, t.events, row)
	wanted := hours(definition, n)
	wanted.Redo = true
	progress, err := t.backfill(wanted)
	if err != nil || progress.Published != 4 || progress.AlreadyDone != n-4 {
		t.Errorf("the backfill ended with %+v, %v", progress, err)
	}
	rows, revisions := t.readHighest(definition.Name)
	t.once("done again", uuids(rows), append(ids, late...))
	want := map[string]int{span(0, 2).Key(): 2, hour(3).Key(): 2, hour(4).Key(): 2, span(5, n-1).Key(): 2}
	if !maps.Equal(revisions, want) {
		t.Errorf("published are %v, want %v", revisions, want)
	}
	if report := t.reconcile(definition, n); !report.Whole() || report.States[export.StateProved] != n {
		t.Errorf("reconciled it is %+v", report)
	}
}

// In a table the rows of the next revision take the place of the former one's, where these can be told from others; elsewhere
// nothing is written.
func TestARedoInATable(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.load(1, 1)
	t.work()
	for i, test := range []struct{ name, mode, more string }{
		{"redo-appended", "append", `, "run_column": "millrace_run"}`},
		{"redo-merged", "merge", "}"},
		{"redo-refused", "append", "}"},
	} {
		w := newWarehouse(t)
		definition := w.into(test.name, 1, test.mode)
		definition.Settings = json.RawMessage(strings.TrimSuffix(string(definition.Settings), "}") + test.more)
		first := t.run(definition, hour(0))
		rows := t.outcome(first.WorkflowID, first.RunID).Rows
		t.late(0)
		started, err := t.starter.Redo(t.Context(), definition, hour(0), redoNow("a row came late"))
		if err != nil {
			t.Fatal(err)
		}
		outcome, err := t.starter.Follow(t.Context(), started, nil)
		switch {
		case i == 2:
			if export.KindOf(err) != export.KindConfig || !strings.Contains(err.Error(), "run_column") {
				t.Errorf("%s: it ends with %+v, %v", test.name, outcome, err)
			}
			t.history("redone in vain", started)
		case err != nil || outcome.Status != export.StatusPublished || outcome.Run.Revision != 2 || outcome.Rows != rows+1:
			t.Errorf("%s: it ends with %+v, %v", test.name, outcome, err)
		default:
			rows++
		}
		if got := w.list(t, "SELECT count(*) || ' rows, ' || count(DISTINCT uuid) FROM %s.events"); got[0] != fmt.Sprintf("%d rows, %[1]d", rows) {
			t.Errorf("%s: there are %s, want %d", test.name, got, rows)
		}
		if i == 0 {
			t.healsTable(w, definition, rows)
		}
		report, err := t.starter.Verify(t.Context(), definition, hour(0))
		if err != nil || !report.Whole() || report.Intervals[0].Run.Revision < 1 {
			t.Errorf("%s: verified is %+v, %v", test.name, report, err)
		}
	}
}
