package starter

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// Waits is what a run under way waits for, or fails at over and over.
type Waits struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	// Since is when the run began.
	Since time.Time `json:"since"`
	// Step is the activity that is pending, and Attempt how often it was tried.
	Step    string `json:"step"`
	Attempt int    `json:"attempt"`
	// Kind and Error are how its last attempt ended. Of source_behind nothing has failed, and Error says what is waited for.
	Kind  export.Kind `json:"error_kind"`
	Error string      `json:"error"`
	// Next is when it is tried next; nil when it is being tried, or waits for a worker.
	Next *time.Time `json:"next,omitempty"`
}

// runsListed is how many runs Temporal lists in an answer.
const runsListed = 1000

// waits tells of the run of an export that has been under way for longest, when a step of it is tried again.
func (s *Starter) waits(ctx context.Context, name string) (*Waits, error) {
	var oldest *workflowpb.WorkflowExecutionInfo
	var page []byte
	for {
		answer, err := s.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			PageSize: runsListed, NextPageToken: page, Query: workflows.RunsOf(name) + ` AND ExecutionStatus = "Running"`,
		})
		if err != nil {
			return nil, fmt.Errorf("list the running runs of export %q: %w", name, err)
		}
		for _, run := range answer.GetExecutions() {
			if oldest == nil || run.GetStartTime().AsTime().Before(oldest.GetStartTime().AsTime()) {
				oldest = run
			}
		}
		if page = answer.GetNextPageToken(); len(page) == 0 {
			break
		}
	}
	if oldest == nil {
		return nil, nil // it has ended since it was counted
	}
	id, run := oldest.GetExecution().GetWorkflowId(), oldest.GetExecution().GetRunId()
	described, err := s.Temporal.DescribeWorkflowExecution(ctx, id, run)
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at workflow %s: %w", id, err)
	}
	return s.waitsOf(described), nil
}

func (s *Starter) waitsOf(described *workflowservice.DescribeWorkflowExecutionResponse) *Waits {
	info := described.GetWorkflowExecutionInfo()
	for _, step := range described.GetPendingActivities() {
		if step.GetLastFailure() == nil {
			continue
		}
		kind, message := s.failureOf(step.GetLastFailure())
		found := Waits{
			WorkflowID: info.GetExecution().GetWorkflowId(), RunID: info.GetExecution().GetRunId(), Since: info.GetStartTime().AsTime(),
			Step: step.GetActivityType().GetName(), Attempt: int(step.GetAttempt()), Kind: kind, Error: message,
		}
		if next := step.GetNextAttemptScheduleTime(); step.GetState() == enumspb.PENDING_ACTIVITY_STATE_SCHEDULED && next != nil {
			at := next.AsTime()
			found.Next = &at
		}
		return &found
	}
	return nil
}

// failureOf reads a failure that the server shows, decrypted where it can be.
func (s *Starter) failureOf(failure *failurepb.Failure) (export.Kind, string) {
	err := temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{DataConverter: s.converter()}).FailureToError(failure)
	var failed *temporal.ApplicationError
	if errors.As(err, &failed) {
		return export.Kind(failed.Type()), failed.Message()
	}
	return export.KindInternal, err.Error()
}

// BackfillStatus is a backfill that is under way.
type BackfillStatus struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	// Progress is where it stands; nil when no worker could tell.
	Progress *export.BackfillProgress `json:"progress,omitempty"`
}

// queryPatience is how long the status of an export waits for a worker to tell where its backfill stands.
const queryPatience = 3 * time.Second

// backfillStatus tells of the backfill of an export, nil when none is under way.
func (s *Starter) backfillStatus(ctx context.Context, name string) (*BackfillStatus, error) {
	run, running, err := s.latest(ctx, BackfillID(name))
	if err != nil || !running {
		return nil, err
	}
	status := BackfillStatus{WorkflowID: BackfillID(name), RunID: run}
	asking, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	if progress, err := s.BackfillProgress(asking, name); err == nil {
		status.Progress = &progress
	}
	return &status, nil
}
