package starter

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// Reconcile is FollowReconcile for who is not told on the way.
func (s *Starter) Reconcile(ctx context.Context, task export.ReconcileTask) (export.ReconcileReport, error) {
	return s.FollowReconcile(ctx, task, func(export.ReconcileReport) {})
}

// FollowReconcile has workers tell where every interval of an export stands, and compare published runs with what ClickHouse and
// the destination have now; see workflows.Reconcile. Each call has a workflow of its own. Once a second told gets what was found
// so far. Ending ctx cancels it; so does waiting in vain for a worker.
func (s *Starter) FollowReconcile(ctx context.Context, task export.ReconcileTask, told func(export.ReconcileReport)) (export.ReconcileReport, error) {
	var report export.ReconcileReport
	task = task.WithDefaults()
	if err := task.Validate(); err != nil {
		return report, err
	}
	name := task.Definition.Name
	run, err := s.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:            "reconcile-" + name + "-" + uuid.NewString()[:8],
		TaskQueue:     workflows.QueueControl,
		StaticSummary: "reconcile " + summary(task.Definition),
	}, workflows.NameReconcile, task)
	if err != nil {
		return report, fmt.Errorf("start to reconcile %s: %w", name, err)
	}
	waiting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	idle := time.AfterFunc(takeUpPatience, func() {
		if s.isIdle(waiting, run) {
			stop(export.Errorf(export.KindInternal, "no worker took up the reconciliation of %s within %s: start one with `millrace worker`", name, takeUpPatience))
		}
	})
	defer idle.Stop()
	ended := make(chan error, 1)
	go func() { ended <- run.Get(waiting, &report) }()
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for going := true; going; {
		select {
		case err = <-ended:
			going = false
		case <-ticker.C:
			// One that no worker has picked up yet cannot answer; the next tick asks again.
			var sofar export.ReconcileReport
			if answer, err := s.Temporal.QueryWorkflow(waiting, run.GetID(), run.GetRunID(), workflows.QueryProgress); err == nil && answer.Get(&sofar) == nil {
				told(sofar)
			}
		}
	}
	if waiting.Err() == nil {
		return report, PlainFailure(err)
	}
	// Nobody waits for it any more.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelPatience)
	defer cancel()
	if err := s.Temporal.CancelWorkflow(ending, run.GetID(), run.GetRunID()); err != nil {
		return report, fmt.Errorf("cancel the reconciliation of %s: %w", name, err)
	}
	return report, context.Cause(waiting)
}
