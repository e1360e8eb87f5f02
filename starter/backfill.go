package starter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// BackfillID is the workflow id of the backfill of an export, of which there is one at a time.
func BackfillID(name string) string { return workflows.BackfillID(name) }

// StartBackfill starts a backfill. One of the same export and range that is under way is joined; one of another range is
// not disturbed, and the error says how to go on.
func (s *Starter) StartBackfill(ctx context.Context, backfill export.Backfill) (Started, error) {
	backfill = backfill.WithDefaults()
	if err := backfill.Validate(); err != nil {
		return Started{}, err
	}
	if now := time.Now(); backfill.End != nil && backfill.End.After(now) {
		return Started{}, export.Errorf(export.KindConfig, "end %s is in the future, it is %s now: leave it out to go on until the present", backfill.End.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	id := BackfillID(backfill.Definition.Name)
	run, err := s.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       id,
		TaskQueue:                                workflows.QueueControl,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            "backfill of " + summary(backfill.Definition),
	}, workflows.NameBackfill, backfill)
	var running *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &running) {
		return s.joinBackfill(ctx, id, backfill)
	}
	if err != nil {
		return Started{}, fmt.Errorf("start the backfill of %s: %w", backfill.Definition.Name, err)
	}
	return Started{WorkflowID: run.GetID(), RunID: run.GetRunID()}, nil
}

// joinBackfill joins a backfill that is under way when it is the same.
func (s *Starter) joinBackfill(ctx context.Context, id string, wanted export.Backfill) (Started, error) {
	history := s.Temporal.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !history.HasNext() {
		return Started{}, fmt.Errorf("read how the backfill %s was started: it has no history", id)
	}
	event, err := history.Next()
	if err != nil {
		return Started{}, fmt.Errorf("read how the backfill %s was started: %w", id, err)
	}
	attributes := event.GetWorkflowExecutionStartedEventAttributes()
	var input json.RawMessage
	if err := s.converter().FromPayloads(attributes.GetInput(), &input); err != nil {
		return Started{}, fmt.Errorf("read how the backfill %s was started: %w", id, err)
	}
	under, err := export.ParseBackfill(input)
	if err != nil {
		return Started{}, fmt.Errorf("read how the backfill %s was started: %w", id, err)
	}
	if !sameBackfill(under, wanted) {
		return Started{}, export.Errorf(export.KindConfig, "%w", &OtherBackfillError{Export: wanted.Definition.Name, WorkflowID: id, Range: rangeOf(under)})
	}
	return Started{WorkflowID: id, RunID: attributes.GetOriginalExecutionRunId(), Joined: true}, nil
}

// OtherBackfillError says that a backfill of another range, or with other flags, is under way.
type OtherBackfillError struct {
	Export     string
	WorkflowID string
	// Range is that of the one under way, in words.
	Range string
}

// Error says what to do about it.
func (e *OtherBackfillError) Error() string {
	return fmt.Sprintf("another backfill of export %q is under way, as workflow %[2]s, %[3]s: it is of another range, or has other flags. See it by `millrace backfill %[1]s --follow`; wait for it, or end it by `millrace backfill %[1]s --cancel`", e.Export, e.WorkflowID, e.Range)
}

// rangeOf is a backfill's range in words, also where it has an open end.
func rangeOf(backfill export.Backfill) string {
	from, to := "the earliest row", "the present"
	if backfill.Start != nil {
		from = backfill.Start.UTC().Format(time.RFC3339)
	}
	if backfill.End != nil {
		to = backfill.End.UTC().Format(time.RFC3339)
	}
	return "from " + from + " to " + to
}

// sameBackfill tells whether two backfills have the same to do. How many runs are under way at once is not part of it; of two redos,
// who comes later joins the one that is at it.
func sameBackfill(a, b export.Backfill) bool {
	same := func(a, b *time.Time) bool { return a == nil && b == nil || a != nil && b != nil && a.Equal(*b) }
	return a.Definition.Hash() == b.Definition.Hash() && a.Definition.Every == b.Definition.Every && a.Definition.Offset == b.Definition.Offset &&
		a.Definition.TimeZone == b.Definition.TimeZone && same(a.Start, b.Start) && same(a.End, b.End) && a.Step == b.Step && a.NewestFirst == b.NewestFirst && a.StopAtFailure == b.StopAtFailure && a.Redoes() == b.Redoes()
}

// FollowBackfill waits until the backfill of an export has ended, over all its executions, and tells its progress on the
// way; told may be nil. The last progress is returned beside the error of one that failed or was cancelled. Ending ctx
// stops following and leaves it alone.
func (s *Starter) FollowBackfill(ctx context.Context, name string, told func(export.BackfillProgress)) (export.BackfillProgress, error) {
	type ending struct {
		progress export.BackfillProgress
		err      error
	}
	ended := make(chan ending, 1)
	go func() {
		var end ending
		end.err = s.Temporal.GetWorkflow(ctx, BackfillID(name), "").Get(ctx, &end.progress)
		ended <- end
	}()
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	var last export.BackfillProgress
	for {
		select {
		case end := <-ended:
			if end.err == nil {
				return end.progress, nil
			}
			return progressOf(end.err, last), s.noBackfill(name, plainBackfillFailure(end.err))
		case <-ticker.C:
			// An execution that no worker has picked up yet cannot answer; the next tick asks again.
			if progress, err := s.BackfillProgress(ctx, name); err == nil {
				last = progress
				if told != nil {
					told(progress)
				}
			}
		}
	}
}

// progressOf is what a backfill said of itself when it ended otherwise than well.
func progressOf(err error, last export.BackfillProgress) export.BackfillProgress {
	var failed *temporal.ApplicationError
	var cancelled *temporal.CanceledError
	progress := last
	switch {
	case errors.As(err, &failed) && failed.HasDetails():
		if failed.Details(&progress) != nil {
			return last
		}
	case errors.As(err, &cancelled) && cancelled.HasDetails():
		if cancelled.Details(&progress) != nil {
			return last
		}
	}
	return progress
}

func plainBackfillFailure(err error) error {
	if temporal.IsCanceledError(err) {
		return export.Errorf(export.KindCancelled, "the backfill was cancelled")
	}
	var terminated *temporal.TerminatedError
	if errors.As(err, &terminated) {
		return export.Errorf(export.KindCancelled, "the backfill was terminated; its runs go on")
	}
	return PlainFailure(err)
}

// BackfillProgress asks the last backfill of an export where it stands, or stood at its end.
func (s *Starter) BackfillProgress(ctx context.Context, name string) (export.BackfillProgress, error) {
	var progress export.BackfillProgress
	value, err := s.Temporal.QueryWorkflow(ctx, BackfillID(name), "", workflows.QueryProgress)
	if err != nil {
		return progress, s.noBackfill(name, fmt.Errorf("ask the backfill of %s: %w", name, err))
	}
	return progress, value.Get(&progress)
}

// ControlBackfill has the backfill of an export that is under way take a wish: one of the updates of package workflows. The
// answer is where it stands after it; a wish that is refused is an error of kind config.
func (s *Starter) ControlBackfill(ctx context.Context, name, update string, wish workflows.Wish) (export.BackfillProgress, error) {
	var progress export.BackfillProgress
	handle, err := s.Temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: BackfillID(name), UpdateName: update, Args: []any{wish}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, &progress)
	}
	var refused *temporal.ApplicationError
	if errors.As(err, &refused) {
		return progress, export.Errorf(export.KindConfig, "%s", refused.Message())
	}
	return progress, s.noBackfill(name, err)
}

// noBackfill explains that there is none.
func (s *Starter) noBackfill(name string, err error) error {
	if err != nil && notFound(err) {
		return export.Errorf(export.KindConfig, "no backfill of export %q is under way: start one by `millrace backfill %s --start TIME --end TIME`", name, name)
	}
	return err
}
