package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

const (
	// heartbeat is how long a step may go without a sign of progress.
	heartbeat = 30 * time.Second
	// stepTime bounds one attempt of a small step.
	stepTime = 2 * time.Minute
	// planTime bounds one attempt of counting an interval's rows.
	planTime = 10 * time.Minute
	// chunkTime bounds one attempt of a chunk; a hanging one is found much sooner by its heartbeat.
	chunkTime = 2 * time.Hour
	// tidyTime bounds what is done after a failure, for it must not hold the failure back.
	tidyTime = time.Minute
)

// retries go on for as long as the run may take; what only a user can mend is not retried at all, by the error's own
// word.
var retries = &temporal.RetryPolicy{
	InitialInterval:    time.Second,
	BackoffCoefficient: 2,
	MaximumInterval:    time.Minute,
}

// step gives the options of a small step on the control queue. Its heartbeat tells it when nobody wants it any more.
func (r *exportRun) step(ctx workflow.Context, attempt time.Duration, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              QueueControl,
		StartToCloseTimeout:    attempt,
		ScheduleToCloseTimeout: r.timeLeft(ctx),
		HeartbeatTimeout:       heartbeat, // a killed worker is missed after that, and not at the attempt's end
		RetryPolicy:            retries,
		Summary:                summary,
		Priority:               temporal.Priority{PriorityKey: r.priority, FairnessKey: r.run.Export},
	})
}

// longStep gives the options of a step that may take minutes.
func (r *exportRun) longStep(ctx workflow.Context, summary string) workflow.Context {
	return r.step(ctx, planTime, summary)
}

// chunkStep gives the options of a chunk, on the queue of its run.
func (r *exportRun) chunkStep(ctx workflow.Context, summary string) workflow.Context {
	options := workflow.GetActivityOptions(r.step(ctx, chunkTime, summary))
	options.TaskQueue = r.queue
	options.WaitForCancellation = true
	return workflow.WithActivityOptions(ctx, options)
}

// timeLeft is what remains of give_up_after, counted from the run's start, and never so little that a step could not
// even begin.
func (r *exportRun) timeLeft(ctx workflow.Context) time.Duration {
	left := time.Duration(r.definition.GiveUpAfter) - workflow.Now(ctx).Sub(workflow.GetInfo(ctx).WorkflowStartTime)
	return max(left, tidyTime)
}
