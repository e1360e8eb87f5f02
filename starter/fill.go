package starter

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millrace/millrace/internal/schedules"
)

// fill has a schedule start what its times have had due from a moment on, and looks whether it has begun: of several requests at
// its next turn a schedule takes up the last, and forgets the others, though it answered each. A Starter without a namespace
// cannot look.
func (s *Starter) fill(ctx context.Context, name string, from time.Time, overlap enumspb.ScheduleOverlapPolicy) error {
	handle := s.Temporal.ScheduleClient().GetHandle(ctx, name)
	for range schedules.Tries {
		until := time.Now()
		before, err := s.firstStarts(ctx, name, from, until)
		if err != nil {
			return err
		}
		if err := handle.Backfill(ctx, client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{{Start: from, End: until, Overlap: overlap}}}); err != nil {
			return fmt.Errorf("ask schedule %q to start what was due since %s: %w", name, from.UTC().Format(time.RFC3339), err)
		}
		if len(before) == 0 {
			return nil // there is nothing to be seen
		}
		if begun, err := s.hasBegun(ctx, name, before, overlap); begun || err != nil {
			return err
		}
	}
	return fmt.Errorf("schedule %q has taken up none of %d requests to start what its times have had due since %s: start it by `millrace backfill %s --start TIME --end TIME`",
		name, schedules.Tries, from.UTC().Format(time.RFC3339), name)
}

// seenStarts is how many of the starts that a fill begins with are looked at: it begins with the first ones, at ten a second.
const seenStarts = 10

// firstStarts has, by the ids of the workflows that a fill starts first, the latest execution that there was before; empty
// where there was none. Those that run are left out: a start would be refused.
func (s *Starter) firstStarts(ctx context.Context, name string, from, until time.Time) (map[string]string, error) {
	before := map[string]string{}
	if s.Namespace == "" {
		return before, nil
	}
	answer, err := s.Temporal.WorkflowService().ListScheduleMatchingTimes(ctx, &workflowservice.ListScheduleMatchingTimesRequest{
		// It leaves its start out, and a backfill takes it in.
		Namespace: s.Namespace, ScheduleId: name, StartTime: timestamppb.New(from.Add(-time.Second)), EndTime: timestamppb.New(until),
	})
	if err != nil {
		return nil, fmt.Errorf("ask what schedule %q has had due: %w", name, err)
	}
	for _, at := range answer.StartTime[:min(seenStarts, len(answer.StartTime))] {
		if at.AsTime().Before(from) {
			continue
		}
		id := name + "-" + at.AsTime().Format(time.RFC3339)
		run, running, err := s.latest(ctx, id)
		if err != nil {
			return nil, err
		}
		if !running {
			before[id] = run
		}
	}
	return before, nil
}

// latest is the latest execution of a workflow id; empty when there is none.
func (s *Starter) latest(ctx context.Context, id string) (run string, running bool, err error) {
	described, err := s.Temporal.DescribeWorkflowExecution(ctx, id, "")
	if notFound(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("look for workflow %q: %w", id, err)
	}
	info := described.GetWorkflowExecutionInfo()
	return info.GetExecution().GetRunId(), info.GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

// hasBegun waits for a while until one of the first starts is there that was not before, or is held back behind others.
func (s *Starter) hasBegun(ctx context.Context, name string, before map[string]string, overlap enumspb.ScheduleOverlapPolicy) (bool, error) {
	return schedules.TakenUp(ctx, func() (bool, error) {
		for id, was := range before {
			if run, _, err := s.latest(ctx, id); err != nil || run != was {
				return err == nil, err
			}
		}
		if overlap != enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL {
			return false, nil
		}
		described, err := s.Temporal.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: s.Namespace, ScheduleId: name})
		if err != nil {
			return false, fmt.Errorf("read the counters of schedule %q: %w", name, err)
		}
		return described.GetInfo().GetBufferSize() > 0, nil
	})
}

// awaitUpdate waits until a schedule has taken up an update: what is asked of it then goes by its new times.
func (s *Starter) awaitUpdate(ctx context.Context, name string, before client.ScheduleDescription) error {
	done, err := s.described(ctx, name, func(now *client.ScheduleDescription) bool {
		return !now.Info.LastUpdateAt.Equal(before.Info.LastUpdateAt)
	})
	if err == nil && !done {
		err = fmt.Errorf("schedule %q has not taken up its update within %s: call `millrace apply` again", name, schedules.TakenUpWithin)
	}
	return err
}

// described waits for a while until a schedule is as is wanted.
func (s *Starter) described(ctx context.Context, name string, holds func(*client.ScheduleDescription) bool) (bool, error) {
	return schedules.TakenUp(ctx, func() (bool, error) {
		now, err := s.Temporal.ScheduleClient().GetHandle(ctx, name).Describe(ctx)
		if err != nil {
			return false, fmt.Errorf("read schedule %q: %w", name, err)
		}
		return holds(now), nil
	})
}
