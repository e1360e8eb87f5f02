//go:build world

package assumptions

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/internal/testworld/testtemporal"
)

// trial is a schedule and what it starts. Several may be tried at once in one namespace.
type trial struct {
	t         *testing.T
	client    client.Client
	namespace string
	id        string
	handle    client.ScheduleHandle
}

// untilReleased is a workflow that goes on until it is sent the signal released, or cancelled.
const untilReleased, released = "UntilReleased", "released"

func waitForRelease(ctx workflow.Context) error {
	workflow.NewSelector(ctx).
		AddReceive(workflow.GetSignalChannel(ctx, released), func(channel workflow.ReceiveChannel, _ bool) { channel.Receive(ctx, nil) }).
		AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) {}).
		Select(ctx)
	return ctx.Err()
}

// try makes the schedule. Its id is of no other trial.
func (s trial) try(t *testing.T, options client.ScheduleOptions) *trial {
	t.Helper()
	s.t, s.id = t, testworld.Name(t)
	options.ID = s.id
	options.Action = &client.ScheduleWorkflowAction{ID: s.id, Workflow: untilReleased, TaskQueue: queue}
	var err error
	if s.handle, err = s.client.ScheduleClient().Create(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.handle.Delete(testtemporal.Cleanup(t)) })
	return &s
}

// backfill has the schedule start what it would have had due from one time to another, by its own overlap policy.
func (s *trial) backfill(from, to time.Time) {
	s.t.Helper()
	if err := s.handle.Backfill(s.t.Context(), client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{{Start: from, End: to}}}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *trial) trigger() {
	s.t.Helper()
	if err := s.handle.Trigger(s.t.Context(), client.ScheduleTriggerOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// info is what the server counts; some of it the SDK does not show.
func (s *trial) info() *schedulepb.ScheduleInfo {
	s.t.Helper()
	described, err := s.client.WorkflowService().DescribeSchedule(s.t.Context(), &workflowservice.DescribeScheduleRequest{Namespace: s.namespace, ScheduleId: s.id})
	if err != nil {
		s.t.Fatal(err)
	}
	return described.GetInfo()
}

// executions are the workflows that the schedule has started, the latest first, as far as they are visible; running ones only
// if so.
func (s *trial) executions(running bool) []execution {
	s.t.Helper()
	query := fmt.Sprintf("TemporalScheduledById = %q", s.id)
	if running {
		query += ` AND ExecutionStatus = "Running"`
	}
	answer, err := s.client.ListWorkflow(s.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000, Query: query})
	if err != nil {
		s.t.Fatal(err)
	}
	var found []execution
	for _, e := range answer.Executions {
		found = append(found, execution{id: e.Execution.WorkflowId, run: e.Execution.RunId, status: e.Status})
	}
	return found
}

// nominals are the nominal times of what was started, ascending, once that is at least as much as wanted.
func (s *trial) nominals(wanted int) []time.Time {
	s.t.Helper()
	var found []time.Time
	s.eventually(func() error {
		found = nil
		for _, e := range s.executions(false) {
			found = append(found, nominal(s.t, "nightly"+strings.TrimPrefix(e.id, s.id)))
		}
		if len(found) < wanted {
			return fmt.Errorf("%d of %d were started", len(found), wanted)
		}
		return nil
	})
	slices.SortFunc(found, time.Time.Compare)
	return found
}

func (s *trial) eventually(condition func() error) {
	s.t.Helper()
	testworld.Eventually(s.t, time.Minute, condition)
}

// until waits for a moment of the clock: schedules go by no other.
func (s *trial) until(at time.Time) {
	s.t.Helper()
	s.eventually(func() error {
		if now := time.Now(); !now.After(at) {
			return fmt.Errorf("it is %s, not yet %s", now, at)
		}
		return nil
	})
}

// release ends all that runs, again and again, until the schedule holds nothing back and all that it started is seen.
func (s *trial) release() {
	s.t.Helper()
	s.eventually(func() error {
		running := s.executions(true)
		for _, e := range running {
			_ = s.client.SignalWorkflow(s.t.Context(), e.id, e.run, released, nil) // it may have ended since it was listed
		}
		info := s.info()
		if seen := len(s.executions(false)); info.GetBufferSize() > 0 || len(running) > 0 || int64(seen) != info.GetActionCount() {
			return fmt.Errorf("%d run, %d are held back, %d of %d are seen", len(running), info.GetBufferSize(), seen, info.GetActionCount())
		}
		return nil
	})
}

// counted is what the server counted of what it did not start: the names that rose, and how far.
func (s *trial) counted() (names, figures string) {
	s.t.Helper()
	info := s.info()
	var risen, numbers []string
	for _, counter := range []struct {
		name  string
		count int64
	}{
		{"MissedCatchupWindow", info.GetMissedCatchupWindow()}, {"SkippedOverlap", info.GetOverlapSkipped()}, {"BufferDropped", info.GetBufferDropped()},
	} {
		if counter.count > 0 {
			risen, numbers = append(risen, "`"+counter.name+"`"), append(numbers, fmt.Sprintf("`%s` %d", counter.name, counter.count))
		}
	}
	return cmp.Or(strings.Join(risen, ", "), "nothing"), cmp.Or(strings.Join(numbers, ", "), "nothing")
}
