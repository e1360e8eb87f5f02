package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"

	"github.com/millrace/millrace/export"
)

// SurveyTask is a part of a backfill's range.
type SurveyTask struct {
	Definition export.Definition `json:"definition"`
	Intervals  []export.Interval `json:"intervals"`
	// Redo is the backfill's; nil for most.
	Redo *export.Redo `json:"redo,omitempty"`
}

// Survey is what SurveyIntervals found.
type Survey struct {
	// Published are the indices of the intervals that are published, and are not to be exported again, in order.
	Published []int `json:"published,omitempty"`
}

// surveyAtOnce is how many intervals are looked up side by side.
const surveyAtOnce = 8

// SurveyIntervals looks up at the destination which of some intervals nothing is to be done about. It reads and never writes.
func (s *Steps) SurveyIntervals(ctx context.Context, task SurveyTask) (Survey, error) {
	defer alive(ctx)()
	cells, err := s.overCells(ctx, task.Definition)
	if err != nil {
		return Survey{}, failure(ctx, err)
	}
	published := make([]bool, len(task.Intervals))
	err = atOnce(ctx, len(task.Intervals), func(ctx context.Context, i int) (err error) {
		published[i], err = cells.isDone(ctx, task.Intervals[i], task.Redo)
		return err
	})
	var survey Survey
	for i, is := range published {
		if is {
			survey.Published = append(survey.Published, i)
		}
	}
	return survey, failure(ctx, err)
}

// AwaitTask names a run that somebody else has started.
type AwaitTask struct {
	WorkflowID string `json:"workflow_id"`
}

// awaitAgain is how long a run that is under way is left alone before it is looked at again.
const awaitAgain = 10 * time.Second

// AwaitRun returns once no workflow of that id is running. Until then it gives its slot back with a benign error, which
// shows in the UI, and comes again. How the run ended it does not say: its parent looks by starting its own.
func (s *Steps) AwaitRun(ctx context.Context, task AwaitTask) error {
	described, err := activity.GetClient(ctx).DescribeWorkflowExecution(ctx, task.WorkflowID, "")
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return nil
	}
	if err != nil {
		return failure(ctx, export.Errorf(export.KindInternal, "look at workflow %s: %w", task.WorkflowID, err))
	}
	if described.GetWorkflowExecutionInfo().GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return nil
	}
	return notYet(fmt.Sprintf("workflow %s is under way", task.WorkflowID), export.KindSourceBehind, awaitAgain)
}

// EarliestTask says whose rows are looked for.
type EarliestTask struct {
	Team export.Team `json:"team"`
}

// Earliest is when the first row arrived; At is nil when there is none.
type Earliest struct {
	At *time.Time `json:"at,omitempty"`
}

// FindEarliest finds the arrival time of the earliest row of `events`. It reads and never writes.
func (s *Steps) FindEarliest(ctx context.Context, task EarliestTask) (Earliest, error) {
	defer alive(ctx)()
	at, found, err := s.Events.EarliestArrival(ctx, task.Team)
	if err != nil || !found {
		return Earliest{}, failure(ctx, err)
	}
	return Earliest{At: &at}, nil
}
