package workflows

import (
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
)

// changedRun is a published run that is not what it was any more, and in which way.
type changedRun struct {
	run    export.Run
	reason string
}

// heal mends what was found, as far as the input asks for it: what is not what it was is exported again, what runs have left over
// is removed, and then a backfill is begun over what is missing.
func (r *reconciliation) heal(ctx workflow.Context) error {
	if r.task.Revise {
		if err := r.revise(ctx); err != nil {
			return err
		}
	}
	if r.task.Leftovers || r.task.Remove {
		if err := r.removeLeftovers(ctx); err != nil {
			return err
		}
	}
	if r.task.Fill && r.report.Holes != nil {
		return r.fill(ctx)
	}
	return nil
}

// revise exports again what is not what it was, by a redo of what was published before this reconciliation began: so who
// repeats it, or resets it, finds done what it had done.
func (r *reconciliation) revise(ctx workflow.Context) error {
	before := workflow.GetInfo(ctx).WorkflowStartTime.UTC()
	revisions := make([]export.Revision, len(r.changed))
	sideBySide(ctx, len(r.changed), export.RevisedAtOnce, func(ctx workflow.Context, i int) {
		revisions[i] = r.reviseRun(ctx, r.changed[i], before)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, revision := range revisions {
		r.report.Revised(revision)
	}
	r.show(ctx)
	return nil
}

// reviseRun exports one run again.
func (r *reconciliation) reviseRun(ctx workflow.Context, changed changedRun, before time.Time) export.Revision {
	wanted := oneRun{
		definition: r.task.Definition, grid: r.grid, run: changed.run, redo: &export.Redo{Before: before, Reason: changed.reason},
		backfill: workflow.GetInfo(ctx).WorkflowExecution.ID, priority: priorityBackfill, summary: "revision of " + changed.run.Interval.String(),
		step: func(ctx workflow.Context, attempt time.Duration, summary string) workflow.Context {
			return r.step(ctx, attempt, verifyGiveUp, summary)
		},
	}
	wanted.run.Revision = export.FirstRevision
	revision := export.Revision{Run: changed.run, Reason: changed.reason}
	outcome, err := wanted.do(ctx)
	switch {
	case err != nil:
		revision.Kind, revision.Error = endingOf(err)
	case outcome.Status != export.StatusPublished && outcome.Status != export.StatusAlreadyDone:
		revision.Kind, revision.Error = export.KindConfig, string(outcome.Status)+": "+outcome.Note
	case outcome.Status == export.StatusAlreadyDone && outcome.Run.Revision <= changed.run.Revision:
		revision.Kind, revision.Error = export.KindInternal, "by the clock of who published it that was only after this reconciliation began: reconcile again"
	default:
		revision.Revision, revision.Rows = outcome.Run.Revision, outcome.Rows
	}
	return revision
}

// removeLeftovers finds what no published run names, and removes it when that is wanted.
func (r *reconciliation) removeLeftovers(ctx workflow.Context) error {
	r.report.Leftovers = &export.Leftovers{}
	return r.inPieces(func(piece export.Interval) error {
		task := activities.LeftoverTask{
			ReconcileTask: activities.ReconcileTask{Definition: r.task.Definition, Span: piece, Running: r.running()},
			After:         r.task.RemoveAfter, Remove: r.task.Remove,
		}
		var found export.Leftovers
		step := r.step(ctx, planTime, verifyGiveUp, "look for what is left over of "+piece.String())
		if err := workflow.ExecuteActivity(step, steps.RemoveLeftovers, task).Get(ctx, &found); err != nil {
			return err
		}
		r.report.Leftovers.Add(found)
		r.show(ctx)
		return nil
	})
}

// BackfillID is the workflow id of the backfill of an export, of which there is one at a time.
func BackfillID(name string) string { return "backfill-" + name }

// fill begins a backfill over what is missing and what has failed. It goes on when this workflow has ended.
func (r *reconciliation) fill(ctx workflow.Context) error {
	holes := *r.report.Holes
	filling := export.Filling{WorkflowID: BackfillID(r.task.Definition.Name), Span: holes}
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: filling.WorkflowID, TaskQueue: QueueControl, WorkflowIDReusePolicy: reuse,
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary:     "fill " + holes.String(),
	})
	started := workflow.ExecuteChildWorkflow(ctx, NameBackfill, export.Backfill{Definition: r.task.Definition, Start: &holes.Start, End: &holes.End})
	err := started.GetChildWorkflowExecution().Get(ctx, nil)
	var running *temporal.ChildWorkflowExecutionAlreadyStartedError
	if errors.As(err, &running) {
		filling.Note, err = "another backfill of the export is under way, which may be of another range: reconcile again when it has ended", nil
	}
	if err != nil {
		return err
	}
	r.report.Filling = &filling
	r.show(ctx)
	return nil
}
