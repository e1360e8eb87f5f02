package workflows

import (
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
)

// maxAwaited bounds how often the run of one interval is awaited that others have started.
const maxAwaited = 5

// oneRun is a run that another workflow wants done.
type oneRun struct {
	definition export.Definition
	grid       export.Grid
	run        export.Run
	// redo asks for the next revision of what is published; nil for most.
	redo *export.Redo
	// backfill is the workflow id of what it gives way for, such as a backfill; empty for one that gives way to nobody. priority is
	// its priority.
	backfill string
	priority int
	// summary is shown beside the run.
	summary string
	// step gives the options of a small step of the workflow that wants it.
	step func(ctx workflow.Context, attempt time.Duration, summary string) workflow.Context
}

// do starts the run, under the id that everybody gives it. Where one is under way, that is awaited; what it left to be done is
// done then.
func (o oneRun) do(ctx workflow.Context) (export.Outcome, error) {
	id := o.redo.WorkflowID(o.run, o.grid)
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            id,
		TaskQueue:             QueueControl,
		WorkflowIDReusePolicy: reuse,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WaitForCancellation:   true,
		StaticSummary:         o.summary,
		Priority:              temporal.Priority{PriorityKey: o.priority, FairnessKey: o.run.Export},
	})
	input := export.Input{Definition: o.definition, Start: &o.run.Start, End: &o.run.End, Backfill: o.backfill, Redo: o.redo}
	var outcome export.Outcome
	for range maxAwaited {
		err := workflow.ExecuteChildWorkflow(ctx, NameExport, input).Get(ctx, &outcome)
		var running *temporal.ChildWorkflowExecutionAlreadyStartedError
		if !errors.As(err, &running) {
			return outcome, err
		}
		awaiting := o.step(ctx, stepTime, "await the run of "+o.run.Interval.String()+", which somebody else has started")
		options := workflow.GetActivityOptions(awaiting)
		options.ScheduleToCloseTimeout = awaitTime
		if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), steps.AwaitRun, activities.AwaitTask{WorkflowID: id}).Get(ctx, nil); err != nil {
			return outcome, err
		}
	}
	return outcome, temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("others have started the run %d times over: see who does by workflow %s", maxAwaited, id), string(export.KindInternal), nil)
}

// reuse lets a run be started again whose id was used before: it finds by itself whether there is anything to do.
const reuse = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
