package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
)

// CheckTask is the input of Check.
type CheckTask = activities.CheckTask

// CheckReport is the result of Check.
type CheckReport = activities.CheckReport

// Check tries a connection out, or an export with its connection, from a worker, where its credentials are, and reports step by step. It is tried once:
// who asked is waiting for the answer.
func Check(ctx workflow.Context, task activities.CheckTask) (activities.CheckReport, error) {
	summary := "try out connection " + task.Connection
	if task.Definition != nil {
		summary = "try out export " + task.Definition.Name
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueControl,
		ScheduleToCloseTimeout: 2 * time.Minute,
		HeartbeatTimeout:       heartbeat,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:                summary,
		Priority:               temporal.Priority{PriorityKey: priorityManual},
	})
	var report activities.CheckReport
	err := workflow.ExecuteActivity(ctx, steps.CheckConnection, task).Get(ctx, &report)
	return report, err
}
