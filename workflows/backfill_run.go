package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/export"
)

// export has one interval exported, and counts how that ended.
func (b *backfill) export(ctx workflow.Context, interval export.Interval) {
	run := export.Run{Export: b.Definition.Name, Interval: interval, Revision: export.FirstRevision}
	wanted := oneRun{definition: b.Definition, grid: b.grid, run: run, redo: b.redo, backfill: workflow.GetInfo(ctx).WorkflowExecution.ID, priority: priorityBackfill, summary: "backfill of " + interval.String(), step: b.step}
	outcome, err := wanted.do(ctx)
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
