//go:build world

package assumptions

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/internal/testworld/testtemporal"
)

const (
	allowAll = enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
	skip     = enumspb.SCHEDULE_OVERLAP_POLICY_SKIP
)

// scheduleOf makes a schedule whose workflows begin with "nightly".
func scheduleOf(t *testing.T, c client.Client, options client.ScheduleOptions) client.ScheduleHandle {
	t.Helper()
	options.ID = "nightly"
	if options.Action == nil {
		options.Action = &client.ScheduleWorkflowAction{ID: "nightly", Workflow: "Start", TaskQueue: queue, StaticSummary: "said by the schedule"}
	}
	handle, err := c.ScheduleClient().Create(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	// Its own workflow must not fire into a namespace of a test that has ended.
	t.Cleanup(func() { _ = handle.Delete(testtemporal.Cleanup(t)) })
	return handle
}

func every(length time.Duration) client.ScheduleSpec {
	return client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: length}}}
}

// nominal reads the time that a schedule appended to the id of a workflow.
func nominal(t *testing.T, id string) time.Time {
	t.Helper()
	suffix, found := strings.CutPrefix(id, "nightly-")
	at, err := time.Parse(time.RFC3339, suffix)
	if !found || err != nil || suffix != at.UTC().Format(time.RFC3339) || at.Nanosecond() != 0 {
		t.Fatalf("id %q is not nightly-<RFC 3339, UTC, seconds>: %v", id, err)
	}
	return at.UTC()
}

func TestTemporalScheduledStartsHaveTheirNominalTimeInIDAndAttribute(t *testing.T) {
	c := temporalNamespace(t)
	work(t, c, map[string]any{"Start": sayStart}, nil)
	scheduleOf(t, c, client.ScheduleOptions{Spec: every(3 * time.Second), Overlap: allowAll})
	for _, e := range executions(t, c, 2) {
		at := nominal(t, e.id)
		if at.Unix()%3 != 0 {
			t.Errorf("%s is not on the grid of the interval spec, which counts from the Unix epoch", e.id)
		}
		if said := outcomeOf[time.Time](t, c, e.id, e.run); !said.Equal(at) {
			t.Errorf("%s sees TemporalScheduledStartTime %s", e.id, said)
		}
	}
}

func TestTemporalATriggersNominalTimeIsItsMoment(t *testing.T) {
	c := temporalNamespace(t)
	work(t, c, map[string]any{"Start": sayStart}, nil)
	handle := scheduleOf(t, c, client.ScheduleOptions{Spec: every(24 * time.Hour), Overlap: allowAll, Paused: true})
	before := time.Now().UTC().Truncate(time.Second)
	if err := handle.Trigger(t.Context(), client.ScheduleTriggerOptions{Overlap: allowAll}); err != nil {
		t.Fatal(err)
	}
	started := executions(t, c, 1)[0]
	at := nominal(t, started.id)
	if at.Before(before) || at.After(time.Now()) {
		t.Errorf("%s was triggered between %s and now", started.id, before)
	}
	if said := outcomeOf[time.Time](t, c, started.id, started.run); !said.Truncate(time.Second).Equal(at) {
		t.Errorf("%s sees TemporalScheduledStartTime %s", started.id, said)
	}
}

func TestTemporalABackfillTakesBothEndsOfItsRangeAlsoWhilePaused(t *testing.T) {
	c := temporalNamespace(t)
	work(t, c, map[string]any{"Start": sayStart}, nil)
	handle := scheduleOf(t, c, client.ScheduleOptions{Spec: every(time.Hour), Overlap: allowAll, Paused: true})
	from := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	if err := handle.Backfill(t.Context(), client.ScheduleBackfillOptions{
		Backfill: []client.ScheduleBackfill{{Start: from, End: from.Add(23 * time.Hour), Overlap: allowAll}},
	}); err != nil {
		t.Fatal(err)
	}
	// More than ten are started over several seconds; none may be lost or doubled on the way.
	var got, want []string
	for _, e := range executions(t, c, 24) {
		at := nominal(t, e.id)
		if said := outcomeOf[time.Time](t, c, e.id, e.run); !said.Equal(at) {
			t.Errorf("%s sees TemporalScheduledStartTime %s", e.id, said)
		}
		got = append(got, at.Format(time.RFC3339))
	}
	for i := range 24 {
		want = append(want, from.Add(time.Duration(i)*time.Hour).Format(time.RFC3339))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("started were %v\nwanted %v", got, want)
	}
}

func TestTemporalABackfillStartsAnIDAgainThatHasEnded(t *testing.T) {
	c := temporalNamespace(t)
	work(t, c, map[string]any{"Start": sayStart}, nil)
	handle := scheduleOf(t, c, client.ScheduleOptions{Spec: every(time.Hour), Overlap: allowAll, Paused: true})
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for again := range 2 {
		if err := handle.Backfill(t.Context(), client.ScheduleBackfillOptions{
			Backfill: []client.ScheduleBackfill{{Start: at, End: at, Overlap: allowAll}},
		}); err != nil {
			t.Fatal(err)
		}
		for _, e := range executions(t, c, again+1) {
			outcomeOf[time.Time](t, c, e.id, e.run)
		}
	}
	found := executions(t, c, 2)
	if found[0].id != found[1].id || found[0].run == found[1].run {
		t.Errorf("wanted one id twice: %v", found)
	}
}

func TestTemporalAScheduledStartRefusesAnIDThatWasUsed(t *testing.T) {
	c := temporalNamespace(t)
	work(t, c, map[string]any{"Start": sayStart}, nil)
	// The ids of the next starts are taken by hand before the schedule comes to them.
	begin := time.Now().UTC().Truncate(2 * time.Second)
	taken := map[string]string{}
	for i := 1; i <= 4; i++ {
		id := "nightly-" + begin.Add(time.Duration(2*i)*time.Second).Format(time.RFC3339)
		started, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: queue}, "Start")
		if err != nil {
			t.Fatal(err)
		}
		taken[id] = started.GetRunID()
		outcomeOf[time.Time](t, c, id, started.GetRunID())
	}
	scheduleOf(t, c, client.ScheduleOptions{Spec: every(2 * time.Second), Overlap: allowAll})
	last := begin.Add(10 * time.Second)
	var found []execution
	eventually(t, func() error {
		found = executions(t, c, 5)
		if !slices.ContainsFunc(found, func(e execution) bool { return !nominal(t, e.id).Before(last) }) {
			return fmt.Errorf("the schedule has not come to %s", last)
		}
		return nil
	})
	for _, e := range found {
		if run, was := taken[e.id]; was && run != e.run {
			t.Errorf("%s was started again by the schedule", e.id)
		}
	}
}

func TestTemporalAManualStartJoinsAnIDThatRunsAndRepeatsOneThatEnded(t *testing.T) {
	c := temporalNamespace(t)
	work(t, c, map[string]any{"Wait": func(ctx workflow.Context) error {
		workflow.GetSignalChannel(ctx, "end").Receive(ctx, nil)
		return nil
	}}, nil)
	start := func() client.WorkflowRun {
		started, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: "same", TaskQueue: queue,
			WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
			WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		}, "Wait")
		if err != nil {
			t.Fatal(err)
		}
		return started
	}
	first, joined := start(), start()
	if first.GetRunID() != joined.GetRunID() {
		t.Errorf("a second start made run %s beside %s", joined.GetRunID(), first.GetRunID())
	}
	if err := c.SignalWorkflow(t.Context(), "same", "", "end", nil); err != nil {
		t.Fatal(err)
	}
	if err := first.Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if again := start(); again.GetRunID() == first.GetRunID() {
		t.Error("the ended one was not started again")
	}
}

func TestTemporalTheSummaryOfASchedulesActionArrivesOnItsWorkflows(t *testing.T) {
	c := temporalNamespace(t)
	handle := scheduleOf(t, c, client.ScheduleOptions{Spec: every(24 * time.Hour), Paused: true})
	if err := handle.Trigger(t.Context(), client.ScheduleTriggerOptions{Overlap: allowAll}); err != nil {
		t.Fatal(err)
	}
	started := executions(t, c, 1)[0]
	description, err := c.DescribeWorkflow(t.Context(), started.id, started.run)
	if err != nil {
		t.Fatal(err)
	}
	summary, err := description.GetStaticSummary()
	if err != nil || summary != "said by the schedule" {
		t.Errorf("the workflow's summary is %q (%v)", summary, err)
	}
}
