package workflows

import (
	"encoding/json"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/export"
)

// estimateTime bounds an estimate, which counts the rows of its range and encodes some of them. One that hangs is missed much
// sooner by its heartbeat.
const estimateTime = 15 * time.Minute

// Estimate tells what the runs of a range would read and write, by the planner of the runs themselves. It writes nowhere. It
// is tried once: who asked is waiting for the answer.
//
// The input is the JSON of an export.EstimateTask, read here and not by the SDK, as that of Export.
func Estimate(ctx workflow.Context, input json.RawMessage) (export.Estimate, error) {
	var estimate export.Estimate
	task, err := export.ParseEstimate(input)
	if err != nil {
		return estimate, temporal.NewNonRetryableApplicationError(err.Error(), string(export.KindOf(err)), nil)
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueControl,
		ScheduleToCloseTimeout: estimateTime,
		HeartbeatTimeout:       heartbeat,
		WaitForCancellation:    true,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:                "estimate " + task.Range(),
		Priority:               temporal.Priority{PriorityKey: priorityManual, FairnessKey: task.Definition.Name},
	})
	err = workflow.ExecuteActivity(ctx, steps.EstimateRuns, task).Get(ctx, &estimate)
	return estimate, err
}
