package starter

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// ExportStatus is how an export stands, by its schedule.
type ExportStatus struct {
	Definition export.Definition `json:"definition"`
	Paused     bool              `json:"paused"`
	// Note is why, in the words of who paused it. PausedBy and PausedSince are known of a pause by `millrace pause`, and empty of
	// one by Temporal's own tools.
	Note        string     `json:"note,omitempty"`
	PausedBy    string     `json:"paused_by,omitempty"`
	PausedSince *time.Time `json:"paused_since,omitempty"`
	// Next is when the next run is due, nil when none is.
	Next *time.Time `json:"next,omitempty"`
	// Running is how many runs are under way, those included that no worker has taken up yet.
	Running int `json:"running"`
	// Waits is what the run that has been under way for longest waits for, or fails at over and over; nil when none does.
	Waits *Waits `json:"waits,omitempty"`
	// Backfill is the export's backfill, nil when none is under way.
	Backfill *BackfillStatus `json:"backfill,omitempty"`
	// LeftOut counts the starts that the schedule has left out.
	LeftOut LeftOut `json:"left_out"`
	// Warnings say in which way the schedule loses, or has lost, intervals.
	Warnings []string `json:"warnings,omitempty"`
	// Latest is the latest run of the latest interval; nil when there was no run yet.
	Latest *RunStatus `json:"latest,omitempty"`
	// Last are the latest runs, by start. While a backfill is under way these are mostly its own.
	Last []RunStatus `json:"last"`
}

// LeftOut is what a schedule has left out since it was made, by Temporal's own counters. Each start is an interval that the schedule
// never comes back to.
type LeftOut struct {
	// MissedCatchupWindow were due while Temporal was down for longer than the catch-up window.
	MissedCatchupWindow int64 `json:"missed_catchup_window"`
	// OverlapSkipped were due while a run was going, and the overlap policy did not wait.
	OverlapSkipped int64 `json:"overlap_skipped"`
	// BufferDropped were due while a thousand waited for their turn already; of schedules that hold back.
	BufferDropped int64 `json:"buffer_dropped"`
}

// RunStatus is one execution of a run, as Temporal has it.
type RunStatus struct {
	WorkflowID string      `json:"workflow_id"`
	RunID      string      `json:"run_id"`
	Status     string      `json:"status"`
	End        time.Time   `json:"end"`
	Started    time.Time   `json:"started"`
	Closed     *time.Time  `json:"closed,omitempty"`
	ErrorKind  export.Kind `json:"error_kind,omitempty"`
}

// Exports tells how every export stands, by name, with at most limit runs each.
func (s *Starter) Exports(ctx context.Context, limit int) ([]ExportStatus, error) {
	names, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	found := make([]*ExportStatus, len(names))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(exportsAtOnce)
	for i, name := range names {
		group.Go(func() error {
			status, err := s.Export(asking, name, limit)
			switch {
			case notFound(err): // deleted: the list lags behind by a moment
			case err != nil:
				return err
			default:
				found[i] = &status
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	statuses := make([]ExportStatus, 0, len(names))
	for _, status := range found {
		if status != nil {
			statuses = append(statuses, *status)
		}
	}
	return statuses, nil
}

// exportsAtOnce is of how many exports Temporal is asked side by side: of each it is asked a handful of things.
const exportsAtOnce = 8

// Export tells how one export stands, with at most limit of its runs.
func (s *Starter) Export(ctx context.Context, name string, limit int) (ExportStatus, error) {
	description, err := s.Temporal.ScheduleClient().GetHandle(ctx, name).Describe(ctx)
	if err != nil {
		return ExportStatus{}, fmt.Errorf("read schedule %q: %w", name, err)
	}
	status := ExportStatus{Paused: description.Schedule.State.Paused, Note: description.Schedule.State.Note}
	if status.Paused {
		pause := export.ParsePause(status.Note)
		status.Note, status.PausedBy = pause.Note, pause.By
		if !pause.Since.IsZero() {
			status.PausedSince = &pause.Since
		}
	}
	input, err := s.input(description.Schedule)
	if err != nil {
		status.Definition.Name = name
		status.Warnings = append(status.Warnings, fmt.Sprintf("its input cannot be read: %v", err))
	} else {
		status.Definition = input.Definition
	}
	if len(description.Info.NextActionTimes) > 0 && !status.Paused {
		status.Next = &description.Info.NextActionTimes[0]
	}
	dropped, err := s.dropped(ctx, name, description.Schedule.Policy.Overlap)
	if err != nil {
		return status, err
	}
	status.LeftOut = LeftOut{int64(description.Info.NumActionsMissedCatchupWindow), int64(description.Info.NumActionsSkippedOverlap), dropped}
	status.Warnings = append(status.Warnings, warnings(name, description, status.LeftOut)...)
	switch found, err := s.found(ctx, name); {
	case err != nil:
		return status, err
	case found != "":
		status.Warnings = append(status.Warnings, found)
	}
	// A schedule itself only counts the runs that its overlap policy has to look after: with AllowAll, none.
	running, err := s.Temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Query: workflows.RunsOf(name) + ` AND ExecutionStatus = "Running"`,
	})
	if err != nil {
		return status, fmt.Errorf("count the running runs of export %q: %w", name, err)
	}
	status.Running = int(running.GetCount())
	if status.Last, err = s.Runs(ctx, name, limit); err != nil {
		return status, err
	}
	if status.Latest, err = s.latestInterval(ctx, status); err != nil {
		return status, err
	}
	if status.Running > 0 {
		if status.Waits, err = s.waits(ctx, name); err != nil {
			return status, err
		}
	}
	status.Backfill, err = s.backfillStatus(ctx, name)
	return status, err
}

// recentIntervals is how many intervals back the run of the latest interval is looked for, among so many runs: those of a backfill
// are not there, unless it has come to the present. Where there is none, it is looked for among the latest starts.
const recentIntervals, recentRuns = 3, 100

// latestInterval is the latest run of the latest interval that has one.
func (s *Starter) latestInterval(ctx context.Context, status ExportStatus) (*RunStatus, error) {
	var runs []RunStatus
	grid, err := status.Definition.Grid()
	if err == nil { // of a schedule that somebody made by hand it may be anything
		since := time.Now().Add(-recentIntervals * grid.Every()).UTC().Format(time.RFC3339)
		recent := fmt.Sprintf(" AND (%s > %q OR TemporalScheduledStartTime > %q)", workflows.AttributeIntervalEnd.GetName(), since, since)
		if runs, err = s.listRuns(ctx, status.Definition.Name, recent, recentRuns); err != nil {
			return nil, err
		}
	}
	if len(runs) == 0 {
		if runs, err = s.Runs(ctx, status.Definition.Name, recentRuns); err != nil {
			return nil, err
		}
	}
	var latest *RunStatus
	for i := range runs { // the latest start is the first
		if latest == nil || runs[i].End.After(latest.End) {
			latest = &runs[i]
		}
	}
	return latest, nil
}

// dropped is how many starts a schedule has dropped because it held back too many, of one that holds back at all.
func (s *Starter) dropped(ctx context.Context, name string, policy enumspb.ScheduleOverlapPolicy) (int64, error) {
	if s.Namespace == "" || policy != enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL {
		return 0, nil
	}
	described, err := s.Temporal.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: s.Namespace, ScheduleId: name})
	if err != nil {
		return 0, fmt.Errorf("read the counters of schedule %q: %w", name, err)
	}
	return described.GetInfo().GetBufferDropped(), nil
}

// warnings names what makes a schedule lose intervals, and what it lost.
func warnings(name string, description *client.ScheduleDescription, left LeftOut) []string {
	var found []string
	switch policy := description.Schedule.Policy.Overlap; policy {
	case enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL, enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL:
	default:
		found = append(found, fmt.Sprintf("overlap policy %s loses an interval whenever a run is late: set AllowAll with `millrace apply`, or with `temporal schedule update`", policy))
	}
	if window := description.Schedule.Policy.CatchupWindow; window < 24*time.Hour {
		found = append(found, fmt.Sprintf("catch-up window %s loses what is due while Temporal is down for longer: `millrace apply` sets a year", window))
	}
	if description.Schedule.Policy.PauseOnFailure {
		found = append(found, "it pauses after a failed run: later intervals then wait for somebody to resume it")
	}
	for _, lost := range []struct {
		count int64
		why   string
	}{
		{left.MissedCatchupWindow, "lost, for Temporal was down longer than the catch-up window"},
		{left.OverlapSkipped, "skipped, for a run was still going"},
		{left.BufferDropped, "dropped, for a thousand waited already"},
	} {
		if lost.count > 0 {
			found = append(found, fmt.Sprintf("%d starts were %s: `millrace reconcile %s --fill` finds and fills what is missing", lost.count, lost.why, name))
		}
	}
	return found
}

// Runs lists the latest executions of an export's runs, by start, as Temporal's visibility knows them; it may lag by
// a second. The ledger knows published runs for longer.
func (s *Starter) Runs(ctx context.Context, name string, limit int) ([]RunStatus, error) {
	return s.listRuns(ctx, name, "", limit)
}

// listRuns lists those of an export's runs that a further condition leaves.
func (s *Starter) listRuns(ctx context.Context, name, and string, limit int) ([]RunStatus, error) {
	answer, err := s.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: int32(limit),
		Query:    workflows.RunsOf(name) + and,
	})
	if err != nil {
		return nil, fmt.Errorf("list the runs of export %q: %w", name, err)
	}
	runs := make([]RunStatus, 0, len(answer.Executions))
	for _, execution := range answer.Executions {
		run := RunStatus{
			WorkflowID: execution.Execution.WorkflowId, RunID: execution.Execution.RunId,
			Status: execution.Status.String(), Started: execution.StartTime.AsTime(),
		}
		if execution.CloseTime != nil {
			closed := execution.CloseTime.AsTime()
			run.Closed = &closed
		}
		fields := execution.GetSearchAttributes().GetIndexedFields()
		if payload := fields[workflows.AttributeIntervalEnd.GetName()]; payload != nil {
			_ = s.converter().FromPayload(payload, &run.End) // a time the server wrote; zero shows as unknown
		}
		if payload := fields["TemporalScheduledStartTime"]; payload != nil && run.End.IsZero() {
			_ = s.converter().FromPayload(payload, &run.End) // what the schedule meant; the run itself will say
		}
		if payload := fields[workflows.AttributeErrorKind.GetName()]; payload != nil {
			_ = s.converter().FromPayload(payload, &run.ErrorKind)
		}
		runs = append(runs, run)
	}
	return runs, nil
}
