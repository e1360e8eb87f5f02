package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
)

// changePauses is the change by which failed runs see whether their export is to be paused.
const changePauses = "pauses after failures"

// pauseExport has an export paused whose runs have failed for long enough by nothing but what its user has to mend, and gives
// the pause that the export is under then; nil when it is not paused. The ledger decides, which has this failure by now. Runs that
// people and backfills ask for pause nothing: they say little of what the schedule will start next.
func (r *exportRun) pauseExport(ctx, tidy workflow.Context, kind export.Kind) *export.Pause {
	if !r.scheduled || !kind.PausesExport() || workflow.GetVersion(ctx, changePauses, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	var paused activities.Paused
	if err := workflow.ExecuteActivity(tidy, steps.PauseFailing, activities.PauseTask{Definition: r.definition}).Get(tidy, &paused); err != nil {
		workflow.GetLogger(ctx).Warn("see whether the export is to be paused", "error", err)
	}
	return paused.Pause
}
