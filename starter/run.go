package starter

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// Started is a run that was started, or was running already.
type Started struct {
	Run        export.Run `json:"run"`
	WorkflowID string     `json:"workflow_id"`
	RunID      string     `json:"run_id"`
	// Joined says that it was under way already; of a backfill only.
	Joined bool `json:"joined,omitempty"`
}

// Intervals cuts a range into the intervals of an export's grid, oldest first, for runs that Start starts.
func Intervals(definition export.Definition, span export.Interval) ([]export.Interval, error) {
	grid, err := definition.Grid()
	if err != nil {
		return nil, err
	}
	if err := span.Validate(); err != nil {
		return nil, err
	}
	if err := hasEnded(grid, span.End); err != nil {
		return nil, err
	}
	return grid.Split(span)
}

// hasEnded refuses the end of a range that is in the future.
func hasEnded(grid export.Grid, end time.Time) error {
	if now := time.Now(); end.After(now) {
		return export.Errorf(export.KindConfig, "end %s is in the future, it is %s now: the last whole interval that has ended is %s",
			end.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), grid.LastEnded(now))
	}
	return nil
}

// Start starts the run of one interval under the id that the schedule would give it. A run that is under way already
// is joined; one that has ended is started again, and finds by itself whether there is anything to do.
func (s *Starter) Start(ctx context.Context, definition export.Definition, interval export.Interval) (Started, error) {
	return s.Redo(ctx, definition, interval, nil)
}

// Redo is Start for an interval that may be published: what redo asks for is exported again, by a run of its own, which is joined
// by who asks for the same. A nil redo is Start.
func (s *Starter) Redo(ctx context.Context, definition export.Definition, interval export.Interval, redo *export.Redo) (Started, error) {
	grid, err := definition.Grid()
	if err != nil {
		return Started{}, err
	}
	run := export.Run{Export: definition.Name, Interval: interval, Revision: export.FirstRevision}
	input := export.Input{Definition: definition, Start: &interval.Start, End: &interval.End, Redo: redo}
	started, err := s.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       redo.WorkflowID(run, grid),
		TaskQueue:                workflows.QueueControl,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:            summary(definition),
	}, workflows.NameExport, input)
	if err != nil {
		return Started{}, fmt.Errorf("start %s: %w", run, err)
	}
	return Started{Run: run, WorkflowID: started.GetID(), RunID: started.GetRunID()}, nil
}

// progressEvery is how often a followed run is asked where it stands.
const progressEvery = time.Second

// Follow waits until a run has ended and tells its progress on the way; told may be nil. A failed run's error has the
// kind and the sentence that the workflow ended with. Ending ctx stops following and leaves the run alone.
func (s *Starter) Follow(ctx context.Context, started Started, told func(export.Progress)) (export.Outcome, error) {
	type ending struct {
		outcome export.Outcome
		err     error
	}
	ended := make(chan ending, 1)
	go func() {
		var end ending
		end.err = s.Temporal.GetWorkflow(ctx, started.WorkflowID, started.RunID).Get(ctx, &end.outcome)
		ended <- end
	}()
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case end := <-ended:
			return end.outcome, PlainFailure(end.err)
		case <-ticker.C:
			if told == nil {
				continue
			}
			var progress export.Progress
			// A run that no worker has picked up yet cannot answer; the next tick asks again.
			if value, err := s.Temporal.QueryWorkflow(ctx, started.WorkflowID, started.RunID, workflows.QueryProgress); err == nil && value.Get(&progress) == nil {
				told(progress)
			}
		}
	}
}

// PlainFailure takes a failure of a workflow or of a step out of Temporal's wrapping.
func PlainFailure(err error) error {
	if kind, message, told := workflows.Ended(err); told {
		return export.Errorf(kind, "%s", message)
	}
	return err
}

// Verify has workers read the published intervals of a range again, and waits for the report. One that is under way for
// the same range is joined. Ending ctx stops waiting and leaves it alone.
func (s *Starter) Verify(ctx context.Context, definition export.Definition, span export.Interval) (export.VerifyReport, error) {
	var report export.VerifyReport
	run, err := s.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       "verify-" + definition.Name + "-" + span.Key(),
		TaskQueue:                workflows.QueueControl,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:            fmt.Sprintf("verify %s, %s", definition.Name, span),
	}, workflows.NameVerify, export.VerifyTask{Definition: definition, Span: span})
	if err != nil {
		return report, fmt.Errorf("start to verify %s %s: %w", definition.Name, span, err)
	}
	if err := run.Get(ctx, &report); err != nil {
		return report, PlainFailure(err)
	}
	return report, nil
}

// Check has a worker try out a connection, or an export with its connection, and waits for the report.
func (s *Starter) Check(ctx context.Context, task workflows.CheckTask) (workflows.CheckReport, error) {
	var report workflows.CheckReport
	id, what, local := "check-"+task.Connection, fmt.Sprintf("connection %q", task.Connection), task.Connection
	if task.Definition != nil {
		id, what, local = "check-export-"+task.Definition.Name, fmt.Sprintf("export %q", task.Definition.Name), "--export "+task.Definition.Name
	}
	run, err := s.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       id,
		TaskQueue:                workflows.QueueControl,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowExecutionTimeout: 2 * time.Minute,
		StaticSummary:            "try out " + what,
	}, workflows.NameCheck, task)
	if err != nil {
		return report, fmt.Errorf("start the check of %s: %w", what, err)
	}
	if err := run.Get(ctx, &report); err != nil {
		var timeout *temporal.TimeoutError
		if errors.As(err, &timeout) {
			return report, export.Errorf(export.KindInternal, "no worker took up the check within 2 minutes: start one with `millrace worker`, or check from here with `millrace check %s --local`", local)
		}
		return report, PlainFailure(err)
	}
	return report, nil
}
