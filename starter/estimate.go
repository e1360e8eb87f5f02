package starter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// estimatePatience is how long an estimate may take, the wait for a worker included.
const estimatePatience = 20 * time.Minute

// Estimate has a worker tell what the runs of a range would read and write, and waits for the answer. Nothing is written
// anywhere. Each call has an estimate of its own. Ending ctx cancels it; so does waiting in vain for a worker.
func (s *Starter) Estimate(ctx context.Context, task export.EstimateTask) (export.Estimate, error) {
	var estimate export.Estimate
	task.Definition = task.Definition.WithDefaults()
	if err := ValidateEstimate(task); err != nil {
		return estimate, err
	}
	run, err := s.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       "estimate-" + task.Definition.Name + "-" + uuid.NewString()[:8],
		TaskQueue:                workflows.QueueControl,
		WorkflowExecutionTimeout: estimatePatience,
		StaticSummary:            fmt.Sprintf("estimate %s, %s", task.Definition.Name, task.Range()),
	}, workflows.NameEstimate, task)
	if err != nil {
		return estimate, fmt.Errorf("start the estimate of %s %s: %w", task.Definition.Name, task.Range(), err)
	}
	waiting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	idle := time.AfterFunc(takeUpPatience, func() {
		if s.isIdle(waiting, run) {
			stop(errIdle)
		}
	})
	defer idle.Stop()
	err = run.Get(waiting, &estimate)
	var late *temporal.TimeoutError
	switch {
	case waiting.Err() == nil && errors.As(err, &late):
		return estimate, export.Errorf(export.KindInternal, "the estimate of %s %s did not end in time, or its worker was killed: try again, or give a shorter range", task.Definition.Name, task.Range())
	case waiting.Err() == nil:
		return estimate, PlainFailure(err)
	}
	// Nobody waits for it any more.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelPatience)
	defer cancel()
	if err := s.Temporal.CancelWorkflow(ending, run.GetID(), run.GetRunID()); err != nil {
		return estimate, fmt.Errorf("cancel the estimate of %s %s: %w", task.Definition.Name, task.Range(), err)
	}
	return estimate, context.Cause(waiting)
}

// takeUpPatience is how long a worker may take to take an estimate up.
const takeUpPatience = time.Minute

var errIdle = export.Errorf(export.KindInternal, "no worker took up the estimate within %s: start one with `millrace worker`, or estimate from here with `millrace estimate NAME --local`", takeUpPatience)

// isIdle tells whether no worker has taken up a workflow: all that it has is its start and a task for a worker.
func (s *Starter) isIdle(ctx context.Context, run client.WorkflowRun) bool {
	description, err := s.Temporal.DescribeWorkflowExecution(ctx, run.GetID(), run.GetRunID())
	return err == nil && description.GetWorkflowExecutionInfo().GetHistoryLength() <= 2
}

// cancelPatience is how long a cancel may take when nobody waits for its effect.
const cancelPatience = 5 * time.Second

// ValidateEstimate says what is wrong with an estimate's task whose definition has its defaults, or nil: also that its range has not ended, which a run would
// refuse.
func ValidateEstimate(task export.EstimateTask) error {
	if err := task.Validate(); err != nil || task.End == nil {
		return err
	}
	grid, err := task.Definition.Grid()
	if err != nil {
		return err
	}
	return hasEnded(grid, *task.End)
}
