package starter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// Deleted is what Delete has done.
type Deleted struct {
	Definition export.Definition `json:"definition"`
	// Cancelled is how many runs were under way and were cancelled, Running how many of them have not ended yet: without a
	// worker they cannot.
	Cancelled int `json:"cancelled"`
	Running   int `json:"running"`
	// Backfill tells that the export's backfill was under way and was cancelled.
	Backfill bool `json:"backfill"`
}

// cancelWithin is how long Delete waits for cancelled runs to end.
const cancelWithin = 20 * time.Second

// Delete takes an export's schedules away, that of each night too, and cancels its runs and its backfill. What was exported stays, and so does the ledger:
// an export of the same name that is made later finds its intervals published. The schedule goes last, so that Delete may be
// called again when it was killed or has failed.
func (s *Starter) Delete(ctx context.Context, name, by string) (Deleted, error) {
	definition, err := s.Definition(ctx, name)
	if err != nil {
		return Deleted{}, err
	}
	deleted := Deleted{Definition: definition}
	// Nothing new may start while the runs are cancelled.
	if _, _, err := s.Pause(ctx, name, export.Pause{Note: "is being deleted", By: by, Since: time.Now()}); err != nil {
		return deleted, err
	}
	// Temporal takes the cancellation of an ended workflow, too, and then it was not under way.
	if _, deleted.Backfill, err = s.latest(ctx, BackfillID(name)); err != nil {
		return deleted, err
	}
	if deleted.Backfill {
		if err := s.Temporal.CancelWorkflow(ctx, BackfillID(name), ""); notFound(err) {
			deleted.Backfill = false // it has just ended
		} else if err != nil {
			return deleted, fmt.Errorf("cancel the backfill of %s: %w", name, err)
		}
	}
	if deleted.Cancelled, deleted.Running, err = s.cancelRuns(ctx, name); err != nil {
		return deleted, err
	}
	if err := s.Temporal.ScheduleClient().GetHandle(ctx, NightlyID(name)).Delete(ctx); err != nil && !notFound(err) {
		return deleted, fmt.Errorf("delete schedule %q: %w", NightlyID(name), err)
	}
	if err := s.Temporal.ScheduleClient().GetHandle(ctx, name).Delete(ctx); err != nil && !notFound(err) {
		return deleted, fmt.Errorf("delete schedule %q: %w", name, err)
	}
	return deleted, nil
}

// cancelRuns cancels whatever runs of an export are under way, until none is or it has taken too long.
func (s *Starter) cancelRuns(ctx context.Context, name string) (cancelled, running int, err error) {
	type execution struct{ id, run string }
	asked := map[execution]bool{}
	look := time.NewTicker(250 * time.Millisecond)
	defer look.Stop()
	enough := time.After(cancelWithin)
	for {
		answer, err := s.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000, Query: workflows.RunsOf(name) + ` AND ExecutionStatus = "Running"`})
		if err != nil {
			return len(asked), running, fmt.Errorf("list the running runs of export %q: %w", name, err)
		}
		running = len(answer.Executions)
		for _, found := range answer.Executions {
			one := execution{found.Execution.WorkflowId, found.Execution.RunId}
			if asked[one] {
				continue
			}
			// It may have ended since it was listed.
			if err := s.Temporal.CancelWorkflow(ctx, one.id, one.run); err != nil && !notFound(err) {
				return len(asked), running, fmt.Errorf("cancel run %s: %w", one.id, err)
			}
			asked[one] = true
		}
		if running == 0 {
			return len(asked), 0, nil
		}
		select {
		case <-look.C:
		case <-enough:
			return len(asked), running, nil
		case <-ctx.Done():
			return len(asked), running, errors.Join(ctx.Err(), fmt.Errorf("%d runs of export %q have not ended yet", running, name))
		}
	}
}
