package activities

import (
	"context"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/export"
)

// RunningQuery finds the runs of an export that are under way.
type RunningQuery struct {
	// Query is Temporal's list filter.
	Query string `json:"query"`
	// End and Scheduled are the search attributes with the end of a run's interval, and with the time at which it was due.
	End       string `json:"end"`
	Scheduled string `json:"scheduled"`
	// Progress is the query that asks a run where it stands.
	Progress string `json:"progress,omitempty"`
}

const (
	// listedAtOnce is how many workflows Temporal lists in an answer.
	listedAtOnce = 1000
	// describedAtOnce is how many are asked at a time what they are at.
	describedAtOnce = 8
)

// underWay lists the runs that are under way and whose intervals overlap a range, and what they wait for. Runs show within
// a second or so.
func (r *reconciler) underWay(ctx context.Context) ([]export.UnderWay, error) {
	temporal, name, span, query := activity.GetClient(ctx), r.task.Definition.Name, r.task.Span, r.task.Running
	var found []export.UnderWay
	var runs []*workflowpb.WorkflowExecutionInfo
	var page []byte
	for {
		answer, err := temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: listedAtOnce, Query: query.Query, NextPageToken: page})
		if err != nil {
			return nil, export.Errorf(export.KindInternal, "list the runs of export %q: %w", name, err)
		}
		for _, run := range answer.GetExecutions() {
			interval, known := r.intervalNow(ctx, temporal, run)
			if known && interval.Start.Before(span.End) && span.Start.Before(interval.End) {
				found, runs = append(found, export.UnderWay{Interval: interval}), append(runs, run)
			}
		}
		if page = answer.GetNextPageToken(); len(page) == 0 {
			break
		}
	}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(describedAtOnce)
	for i, run := range runs {
		group.Go(func() (err error) {
			found[i].Waits, err = waitsNow(working, temporal, run)
			return err
		})
	}
	return found, group.Wait()
}

// intervalNow is the interval of a run that is under way. Where intervals of two lengths end together, for the export's was changed,
// the run is asked which is its own; one that nobody has taken up yet counts as the shorter.
func (r *reconciler) intervalNow(ctx context.Context, temporal client.Client, run *workflowpb.WorkflowExecutionInfo) (export.Interval, bool) {
	interval, known := intervalOf(run, r.task.Definition.Name, r.grid, r.task.Running)
	if !known || r.grid.Today().LastEnded(interval.End).Equal(r.grid.LastEnded(interval.End)) {
		return interval, known
	}
	value, err := temporal.QueryWorkflow(ctx, run.GetExecution().GetWorkflowId(), run.GetExecution().GetRunId(), r.task.Running.Progress)
	var progress export.Progress
	if err == nil && r.task.Running.Progress != "" && value.Get(&progress) == nil && !progress.Run.Start.IsZero() {
		interval = progress.Run.Interval
	}
	return interval, true
}

// intervalOf is the interval of a run, by its id where Millrace or a schedule has given it, and else by its attributes, with
// the grid's own length.
func intervalOf(run *workflowpb.WorkflowExecutionInfo, name string, grid export.Grid, query RunningQuery) (export.Interval, bool) {
	rest, ours := strings.CutPrefix(run.GetExecution().GetWorkflowId(), export.WorkflowIDPrefix(name))
	if from, to, both := strings.Cut(rest, "--"); ours && both {
		start, errStart := time.Parse(time.RFC3339, from)
		end, errEnd := time.Parse(time.RFC3339, strings.SplitAfter(to, "Z")[0])
		if errStart == nil && errEnd == nil && start.Before(end) {
			return export.Interval{Start: start.UTC(), End: end.UTC()}, true
		}
	}
	for _, attribute := range []string{query.End, query.Scheduled} {
		var at time.Time
		if payload := run.GetSearchAttributes().GetIndexedFields()[attribute]; payload != nil && converter.GetDefaultDataConverter().FromPayload(payload, &at) == nil {
			return grid.LastEnded(at.UTC()), true
		}
	}
	if at, err := time.Parse(time.RFC3339, strings.SplitAfter(rest, "Z")[0]); ours && err == nil {
		return grid.LastEnded(at.UTC()), true // nobody has taken it up
	}
	return export.Interval{}, false
}

// waitsNow says what a run waits for; empty when it works, or has ended since.
func waitsNow(ctx context.Context, temporal client.Client, run *workflowpb.WorkflowExecutionInfo) (string, error) {
	id := run.GetExecution().GetWorkflowId()
	described, err := temporal.DescribeWorkflowExecution(ctx, id, run.GetExecution().GetRunId())
	if err != nil {
		return "", export.Errorf(export.KindInternal, "look at workflow %s: %w", id, err)
	}
	if described.GetWorkflowExecutionInfo().GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return "", nil
	}
	why := ""
	for _, step := range described.GetPendingActivities() {
		last := step.GetLastFailure()
		if last.GetApplicationFailureInfo().GetType() != string(export.KindSourceBehind) {
			return "", nil // this one works
		}
		why = fmt.Sprintf("%s: %s", id, cutText(last.GetMessage()))
	}
	return why, nil
}
