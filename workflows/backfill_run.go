package workflows

import (
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
)

// maxAwaited bounds how often the run of one interval is awaited that others have started.
const maxAwaited = 5

// export has one interval exported, and counts how that ended.
func (b *backfill) export(ctx workflow.Context, interval export.Interval) {
	run := export.Run{Export: b.Definition.Name, Interval: interval, Revision: export.FirstRevision}
	outcome, err := b.exportOrAwait(ctx, run)
	switch {
	case err != nil:
		kind, message := endingOf(err)
		b.fail(ctx, interval, kind, message)
	case outcome.Status == export.StatusPublished:
		b.progress.Publish(workflow.Now(ctx).UTC(), outcome.Rows, outcome.Bytes)
	case outcome.Status == export.StatusAlreadyDone:
		b.progress.AlreadyDone++
	default:
		b.fail(ctx, interval, export.KindConfig, string(outcome.Status)+": "+outcome.Note)
	}
}

func (b *backfill) fail(ctx workflow.Context, interval export.Interval, kind export.Kind, message string) {
	b.progress.Fail(export.BackfillFailure{Interval: interval, Kind: kind, Error: message})
	if b.StopAtFailure && ctx.Err() == nil && !b.stopped() {
		b.progress.State = export.BackfillStopping
		b.progress.Note = fmt.Sprintf("the run of %s failed", interval)
	}
}

// exportOrAwait starts the run, under the id that everybody gives it. Where one is under way, that is awaited; what it left
// to be done is done then.
func (b *backfill) exportOrAwait(ctx workflow.Context, run export.Run) (export.Outcome, error) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            b.redo.WorkflowID(run, b.grid),
		TaskQueue:             QueueControl,
		WorkflowIDReusePolicy: reuse,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WaitForCancellation:   true,
		StaticSummary:         "backfill of " + run.Interval.String(),
		Priority:              temporal.Priority{PriorityKey: priorityBackfill, FairnessKey: run.Export},
	})
	input := export.Input{Definition: b.Definition, Start: &run.Start, End: &run.End, Backfill: workflow.GetInfo(ctx).WorkflowExecution.ID, Redo: b.redo}
	var outcome export.Outcome
	for range maxAwaited {
		err := workflow.ExecuteChildWorkflow(ctx, NameExport, input).Get(ctx, &outcome)
		var running *temporal.ChildWorkflowExecutionAlreadyStartedError
		if !errors.As(err, &running) {
			return outcome, err
		}
		awaiting := b.step(ctx, stepTime, "await the run of "+run.Interval.String()+", which somebody else has started")
		options := workflow.GetActivityOptions(awaiting)
		options.ScheduleToCloseTimeout = awaitTime
		task := activities.AwaitTask{WorkflowID: b.redo.WorkflowID(run, b.grid)}
		if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), steps.AwaitRun, task).Get(ctx, nil); err != nil {
			return outcome, err
		}
	}
	return outcome, temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("others have started the run %d times over: see who does by workflow %s", maxAwaited, b.redo.WorkflowID(run, b.grid)), string(export.KindInternal), nil)
}

// endingOf finds kind and sentence in how a run ended that did not succeed.
func endingOf(err error) (export.Kind, string) {
	var failure *temporal.ApplicationError
	var terminated *temporal.TerminatedError
	var timeout *temporal.TimeoutError
	switch {
	case errors.As(err, &failure):
		return export.Kind(failure.Type()), failure.Message()
	case temporal.IsCanceledError(err):
		return export.KindCancelled, "the run was cancelled"
	case errors.As(err, &terminated):
		return export.KindCancelled, "the run was terminated"
	case errors.As(err, &timeout):
		return export.KindInternal, "the run, or the wait for it, took too long"
	}
	return export.KindInternal, err.Error()
}
