//go:build world

package promises

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

// Every step of a run says what it is, which export it is of, and how urgent: what was asked for by hand before all else, and
// the past after the present.
func TestEveryStepHasItsSummaryAndItsUrgency(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.load(2, 1)
	t.work()
	definition := hourly("shop-events", 1)
	t.apply(definition)

	byHand := t.run(definition, hour(0))
	t.steps(byHand.WorkflowID, byHand.RunID, 1, 8)
	var plan export.Plan
	value, err := t.Client.QueryWorkflow(t.Context(), byHand.WorkflowID, byHand.RunID, workflows.QueryPlan)
	if err != nil || value.Get(&plan) != nil || plan.Rows != 1 || plan.Run.Export != "shop-events" {
		t.Errorf("its plan is %+v, %v", plan, err)
	}
	if err := t.Client.ScheduleClient().GetHandle(t.Context(), "shop-events").Backfill(t.Context(), client.ScheduleBackfillOptions{
		Backfill: []client.ScheduleBackfill{{Start: hour(1).End, End: hour(1).End, Overlap: allowAll}},
	}); err != nil {
		t.Fatal(err)
	}
	t.outcomes("shop-events", 2)
	t.steps("shop-events-"+clockOf(hour(1)), "", 4, 8)
	t.steps(t.estimate(estimateOf(definition, hour(1), false)).WorkflowID, "", 1, 1)

	// Those that tidy up after a failure, too.
	t.tamper.do(nil, nil, damaged)
	failing := tampered("shop-events", export.ProofReadback)
	failing.Settings = json.RawMessage(`{"prefix": "failing", "format": "jsoneachrow", "compression": "none"}`)
	failed := t.run(failing, hour(0))
	t.steps(failed.WorkflowID, failed.RunID, 1, 8)
	if _, err := t.starter.Verify(t.Context(), definition, hour(1)); err != nil {
		t.Error(err)
	}
	t.steps("verify-shop-events-"+hour(1).Key(), "", 3, 1)
	if progress, err := t.backfill(hours(definition, 3)); err != nil || progress.Published != 1 {
		t.Errorf("the backfill ended with %+v, %v", progress, err)
	}
	t.steps(starter.BackfillID("shop-events"), "", 4, 1)
}

// estimateOf asks for an estimate of a range.
func estimateOf(definition export.Definition, span export.Interval, sample bool) export.EstimateTask {
	return export.EstimateTask{Definition: definition, Start: &span.Start, End: &span.End, Sample: sample}
}

// estimate starts an estimate as a hand would, and waits until it has ended.
func (t *thread) estimate(task export.EstimateTask) starter.Started {
	t.Helper()
	run, err := t.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "estimate-" + uuid.NewString(), TaskQueue: workflows.QueueControl},
		workflows.NameEstimate, task)
	if err != nil {
		t.Fatal(err)
	}
	started := starter.Started{WorkflowID: run.GetID(), RunID: run.GetRunID()}
	t.ends(started)
	return started
}

// steps holds the activities of a workflow, at least so many, against how urgent it is.
func (t *thread) steps(id, run string, urgency int32, least int) {
	t.Helper()
	found := 0
	for _, event := range t.stored(starter.Started{WorkflowID: id, RunID: run}).Events {
		scheduled := event.GetActivityTaskScheduledEventAttributes()
		if scheduled == nil {
			continue
		}
		found++
		var summary string
		if err := converter.GetDefaultDataConverter().FromPayload(event.GetUserMetadata().GetSummary(), &summary); err != nil || summary == "" {
			t.Errorf("%s: step %s has the summary %q, %v", id, scheduled.ActivityType.Name, summary, err)
		}
		if given := scheduled.Priority; given.GetPriorityKey() != urgency || given.GetFairnessKey() != "shop-events" {
			t.Errorf("%s: step %s has the priority %v, want %d", id, scheduled.ActivityType.Name, given, urgency)
		}
	}
	if found < least {
		t.Errorf("%s has %d steps", id, found)
	}
}
