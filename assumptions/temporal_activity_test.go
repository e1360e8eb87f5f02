//go:build world

package assumptions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

func activityNamed(name string) activity.RegisterOptions { return activity.RegisterOptions{Name: name} }

// callStep is a workflow that runs the activity "Step" and answers what it answers.
func callStep(ctx workflow.Context) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute, HeartbeatTimeout: 3 * time.Second, WaitForCancellation: true,
	})
	var said string
	err := workflow.ExecuteActivity(ctx, "Step").Get(ctx, &said)
	return said, err
}

func startStep(t *testing.T, c client.Client) client.WorkflowRun {
	t.Helper()
	started, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "step", TaskQueue: queue}, "Call")
	if err != nil {
		t.Fatal(err)
	}
	return started
}

// pending gives the one pending activity of a workflow once it is as the condition says.
func pending(t *testing.T, c client.Client, run client.WorkflowRun, fit func(*workflowpb.PendingActivityInfo) bool) *workflowpb.PendingActivityInfo {
	t.Helper()
	var found *workflowpb.PendingActivityInfo
	eventually(t, func() error {
		description, err := c.DescribeWorkflowExecution(t.Context(), run.GetID(), run.GetRunID())
		if err != nil {
			return err
		}
		if len(description.PendingActivities) != 1 || !fit(description.PendingActivities[0]) {
			return fmt.Errorf("pending activities: %v", description.PendingActivities)
		}
		found = description.PendingActivities[0]
		return nil
	})
	return found
}

func TestTemporalABenignErrorShowsInThePendingActivityAndComesAgainWhenItSays(t *testing.T) {
	c := temporalNamespace(t)
	const delay = 4 * time.Second
	var first atomic.Int64
	work(t, c, map[string]any{"Call": callStep}, map[string]any{"Step": func(ctx context.Context) (string, error) {
		if activity.GetInfo(ctx).Attempt == 1 {
			first.Store(time.Now().UnixNano())
			return "", temporal.NewApplicationErrorWithOptions("watermark 10:58:12, needs 11:00:00", "source_behind", temporal.ApplicationErrorOptions{
				NextRetryDelay: delay, Category: temporal.ApplicationErrorCategoryBenign,
			})
		}
		return time.Since(time.Unix(0, first.Load())).String(), nil
	}})
	run := startStep(t, c)
	waiting := pending(t, c, run, func(p *workflowpb.PendingActivityInfo) bool { return p.GetLastFailure() != nil })
	if got := waiting.GetLastFailure().GetMessage(); got != "watermark 10:58:12, needs 11:00:00" {
		t.Errorf("the pending activity says %q", got)
	}
	if got := waiting.GetLastFailure().GetApplicationFailureInfo(); got.GetType() != "source_behind" || got.GetCategory() != enumspb.APPLICATION_ERROR_CATEGORY_BENIGN {
		t.Errorf("type %q, category %s", got.GetType(), got.GetCategory())
	}
	if waiting.GetState() != enumspb.PENDING_ACTIVITY_STATE_SCHEDULED || waiting.GetAttempt() != 2 {
		t.Errorf("it is %s in attempt %d", waiting.GetState(), waiting.GetAttempt())
	}
	if got := waiting.GetCurrentRetryInterval().AsDuration(); got.Round(100*time.Millisecond) != delay {
		t.Errorf("it comes again after %s", got)
	}
	took, err := time.ParseDuration(outcomeOf[string](t, c, run.GetID(), run.GetRunID()))
	if err != nil || took < delay || took > delay+3*time.Second {
		t.Errorf("it came again after %s (%v), wanted %s", took, err, delay)
	}
	if events := historyTypes(t, c, run); events[enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED] != 1 || events[enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED] != 0 {
		t.Errorf("waiting grew the history: %v", events)
	}
}

func historyTypes(t *testing.T, c client.Client, run client.WorkflowRun) map[enumspb.EventType]int {
	t.Helper()
	events := map[enumspb.EventType]int{}
	history := c.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		if err != nil {
			t.Fatal(err)
		}
		events[event.EventType]++
	}
	return events
}

func TestTemporalACancelReachesAnActivityThroughItsHeartbeat(t *testing.T) {
	c := temporalNamespace(t)
	started, ended := make(chan struct{}), make(chan error, 1)
	work(t, c, map[string]any{"Call": callStep}, map[string]any{"Step": func(ctx context.Context) (string, error) {
		close(started)
		beat := time.NewTicker(100 * time.Millisecond)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				activity.RecordHeartbeat(ctx, "on")
			case <-ctx.Done():
				ended <- context.Cause(ctx)
				return "", ctx.Err()
			}
		}
	}})
	run := startStep(t, c)
	<-started
	if err := c.CancelWorkflow(t.Context(), run.GetID(), run.GetRunID()); err != nil {
		t.Fatal(err)
	}
	// The heartbeat's throttle is most of its timeout of 3 s.
	select {
	case cause := <-ended:
		t.Logf("the activity's context ended with %v", cause)
	case <-time.After(6 * time.Second):
		t.Fatal("the activity was not told within two heartbeat timeouts")
	}
	if err := run.Get(t.Context(), nil); !temporal.IsCanceledError(err) {
		t.Errorf("the workflow ended with %v", err)
	}
}

func TestTemporalATerminatedWorkflowsActivityIsToldByItsHeartbeat(t *testing.T) {
	c := temporalNamespace(t)
	started, ended := make(chan struct{}), make(chan error, 1)
	work(t, c, map[string]any{"Call": callStep}, map[string]any{"Step": func(ctx context.Context) (string, error) {
		close(started)
		beat := time.NewTicker(100 * time.Millisecond)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				activity.RecordHeartbeat(ctx, "on")
			case <-ctx.Done():
				ended <- context.Cause(ctx)
				return "", ctx.Err()
			}
		}
	}})
	run := startStep(t, c)
	<-started
	if err := c.TerminateWorkflow(t.Context(), run.GetID(), run.GetRunID(), "the test says so"); err != nil {
		t.Fatal(err)
	}
	select {
	case cause := <-ended:
		t.Logf("the activity's context ended with %v", cause)
	case <-time.After(6 * time.Second):
		t.Fatal("the activity was not told within two heartbeat timeouts")
	}
}

func TestTemporalAStoppingWorkerTellsItsActivitiesAndTakesTheirAnswer(t *testing.T) {
	c := temporalNamespace(t)
	started := make(chan struct{})
	step := func(ctx context.Context) (string, error) {
		if activity.GetInfo(ctx).Attempt > 1 {
			return "another worker's", nil
		}
		close(started)
		<-activity.GetWorkerStopChannel(ctx)
		if ctx.Err() != nil {
			return "", errors.New("the context ended together with the stop")
		}
		return "", temporal.NewApplicationErrorWithOptions("the worker is stopping", "worker_stopping", temporal.ApplicationErrorOptions{
			NextRetryDelay: time.Second, Category: temporal.ApplicationErrorCategoryBenign,
		})
	}
	first := worker.New(c, queue, worker.Options{WorkerStopTimeout: 20 * time.Second})
	register(first, map[string]any{"Call": callStep}, map[string]any{"Step": step})
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	run := startStep(t, c)
	<-started
	stopped := time.Now()
	first.Stop()
	if took := time.Since(stopped); took > 10*time.Second {
		t.Errorf("stopping took %s, though the activity answered at once", took)
	}
	handed := pending(t, c, run, func(p *workflowpb.PendingActivityInfo) bool { return p.GetLastFailure() != nil })
	if got := handed.GetLastFailure().GetMessage(); got != "the worker is stopping" {
		t.Errorf("what was handed back says %q", got)
	}
	work(t, c, map[string]any{"Call": callStep}, map[string]any{"Step": step})
	if said := outcomeOf[string](t, c, run.GetID(), run.GetRunID()); said != "another worker's" {
		t.Errorf("the next worker answered %q", said)
	}
}

// strict refuses what it does not know, as the input of Export does.
type strict struct{ Name string }

func (s *strict) UnmarshalJSON(data []byte) error {
	var fields map[string]string
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	for name, value := range fields {
		if name != "name" {
			return fmt.Errorf("unknown field %q", name)
		}
		s.Name = value
	}
	return nil
}

func TestTemporalAnInputWithItsOwnJSONComesThroughFromTheUI(t *testing.T) {
	c := temporalNamespace(t)
	work(t, c, map[string]any{
		"Say": func(_ workflow.Context, in strict) (string, error) { return in.Name, nil },
		"Raw": func(_ workflow.Context, in json.RawMessage) (string, error) { return string(in), nil },
	}, nil)
	for name, want := range map[string]string{"Say": "shop-events", "Raw": `{"name": "shop-events"}`} {
		id, run := startAsTheUI(t, c, name, `{"name": "shop-events"}`)
		if got := outcomeOf[string](t, c, id, run); got != want {
			t.Errorf("%s got %q, wanted %q", name, got, want)
		}
	}
}

func TestTemporalAnInputThatDoesNotDecodeFailsTheWorkflow(t *testing.T) {
	c := temporalNamespace(t)
	work(t, c, map[string]any{"Say": func(_ workflow.Context, in strict) (string, error) { return in.Name, nil }}, nil)
	id, run := startAsTheUI(t, c, "Say", `{"name": "shop-events", "evry": "1h"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := c.GetWorkflow(ctx, id, run).Get(ctx, nil)
	var failed *temporal.ApplicationError
	if !errors.As(err, &failed) {
		t.Fatalf("it ended with %v", err)
	}
	const want = `unable to decode the workflow function input payload with error: payload item 0: unable to decode: unknown field "evry", function name: Say`
	if failed.Message() != want {
		t.Errorf("got    %s\nwanted %s", failed.Message(), want)
	}
	// The type is that of a Go error and no kind of ours: who wants a kind decodes by himself.
	if failed.Type() != "wrapError" {
		t.Errorf("its type is %q", failed.Type())
	}
}

// startAsTheUI starts a workflow with JSON text, as the UI and the command line do, past the SDK's encoding.
func startAsTheUI(t *testing.T, c client.Client, name, input string) (id, run string) {
	t.Helper()
	id = strings.ToLower(name)
	answer, err := c.WorkflowService().StartWorkflowExecution(t.Context(), &workflowservice.StartWorkflowExecutionRequest{
		Namespace: namespaceOf[c], WorkflowId: id, RequestId: id,
		WorkflowType: &commonpb.WorkflowType{Name: name}, TaskQueue: &taskqueuepb.TaskQueue{Name: queue},
		Input: jsonPayloads(input),
	})
	if err != nil {
		t.Fatal(err)
	}
	return id, answer.RunId
}
