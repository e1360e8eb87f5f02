//go:build world

package promises

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// removeAtOnce has a worker remove what is left over of the first hour, however young it is. A reconciliation removes nothing
// that is younger than an hour, so a workflow of the test's own asks for the step.
func (t *thread) removeAtOnce(definition export.Definition, remove bool) (found export.Leftovers) {
	t.Helper()
	const name, queue = "Removing", "removing"
	own := sdk.New(t.Client, queue, sdk.Options{})
	own.RegisterWorkflowWithOptions(func(ctx workflow.Context, task activities.LeftoverTask) (found export.Leftovers, err error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{TaskQueue: workflows.QueueBulk, StartToCloseTimeout: patience, HeartbeatTimeout: patience})
		err = workflow.ExecuteActivity(ctx, "RemoveLeftovers", task).Get(ctx, &found)
		return found, err
	}, workflow.RegisterOptions{Name: name})
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	defer own.Stop()
	run, err := t.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: queue}, name, activities.LeftoverTask{
		ReconcileTask: activities.ReconcileTask{Definition: definition, Span: hour(0), Running: activities.RunningQuery{
			Query: workflows.RunsOf(definition.Name) + ` AND ExecutionStatus = "Running"`, End: workflows.AttributeIntervalEnd.GetName(), Scheduled: "TemporalScheduledStartTime",
		}},
		After: export.Duration(-time.Minute), Remove: remove,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Get(t.Context(), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// What a closed revision has left is removed, and nothing else: not the files of the revision that stands for it, nor of one whose
// place was taken.
func TestWhatAClosedRevisionHasLeftIsRemoved(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	definition := tampered("left", export.ProofReadback)
	t.tamper.do(t.zombie(zombieFiles["a row changed"]), nil, nil)
	t.closedAndNext(definition, t.sourceContent())
	t.tamper.do(nil, nil, nil)
	if _, outcome := t.redo(definition, hour(0), redoNow("the test says so")); outcome.Run.Revision != 3 {
		t.Fatalf("done again it ended with %+v", outcome)
	}
	before := t.objects()
	var left []string
	for key := range before {
		if strings.HasSuffix(key, ".parquet") && strings.Contains(key, "/r0001-") {
			left = append(left, key)
		}
	}
	if len(left) == 0 {
		t.Fatal("the closed revision has left nothing, so this shows nothing")
	}
	if found := t.removeAtOnce(definition, false); found.Found != len(left) || found.Removed+found.Closed != 0 || !maps.Equal(t.objects(), before) {
		t.Errorf("asked about, it is %+v", found)
	}
	if found := t.removeAtOnce(definition, true); found.Found != len(left) || found.Removed != len(left) || found.Closed != 0 {
		t.Errorf("removed, it is %+v", found)
	}
	for _, key := range left {
		delete(before, key)
	}
	if after := t.objects(); !maps.Equal(after, before) {
		t.Errorf("there are %v, want %v", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
	}
	if report, err := t.starter.Verify(t.Context(), definition, hour(0)); err != nil || !report.Whole() || report.Intervals[0].Run.Revision != 3 {
		t.Errorf("verified is %+v, %v", report, err)
	}
	if found := t.removeAtOnce(definition, true); found.Found != 0 {
		t.Errorf("again, it is %+v", found)
	}
}
