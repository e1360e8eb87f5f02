package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// outageInput is a run of an hour, as a hand types it.
const outageInput = `{"name":"shop-events","team":1,"connection":"lake","every":"1h","start":"2026-03-01T00:00:00Z","end":"2026-03-01T01:00:00Z","s3":{"prefix":"events"}}`

// unbounded keeps the test environment from ending a step after ten attempts, which it does to those without a bound.
type unbounded struct {
	interceptor.WorkerInterceptorBase
}

func (*unbounded) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &unboundedInbound{interceptor.WorkflowInboundInterceptorBase{Next: next}}
}

type unboundedInbound struct {
	interceptor.WorkflowInboundInterceptorBase
}

func (i *unboundedInbound) Init(next interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&unboundedOutbound{interceptor.WorkflowOutboundInterceptorBase{Next: next}})
}

type unboundedOutbound struct {
	interceptor.WorkflowOutboundInterceptorBase
}

func (o *unboundedOutbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	options := workflow.GetActivityOptions(ctx)
	policy := *options.RetryPolicy
	policy.MaximumAttempts = math.MaxInt32
	options.RetryPolicy = &policy
	return o.Next.ExecuteActivity(workflow.WithActivityOptions(ctx, options), name, args...)
}

// A run tries a destination that is away again for as long as give_up_after says, by itself at most once a minute, and goes on
// when it is back. The days pass as fast as they can, with the retries as they really are.
func TestARunOutlivesADayOfOutage(t *testing.T) {
	began := time.Date(2026, 3, 1, 1, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		away  time.Duration
		ended time.Duration // at most, after the beginning
		kind  export.Kind   // of its failure
	}{
		"a day":     {24 * time.Hour, 24*time.Hour + time.Minute, ""},
		"four days": {96 * time.Hour, 72*time.Hour + time.Minute, export.KindDestinationUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
			env := suite.NewTestWorkflowEnvironment()
			env.SetStartTime(began)
			env.SetTestTimeout(time.Minute)
			env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&unbounded{}}})
			var hours [100]int
			register := func(name string, step any) {
				env.RegisterActivityWithOptions(step, activity.RegisterOptions{Name: name})
			}
			register("FindPublished", func(context.Context, activities.RunTask) (activities.Found, error) {
				passed := env.Now().Sub(began)
				hours[passed/time.Hour]++
				if passed < test.away {
					return activities.Found{}, temporal.NewApplicationErrorWithOptions("the connection was refused", string(export.KindDestinationUnavailable), temporal.ApplicationErrorOptions{})
				}
				return activities.Found{Published: &export.Publication{}}, nil
			})
			recorded := ""
			register("RecordRun", func(context.Context, activities.RunTask) error { return nil })
			register("RecordFailure", func(_ context.Context, task activities.FailedTask) error {
				recorded = task.Message
				return nil
			})
			env.ExecuteWorkflow(workflows.Export, json.RawMessage(outageInput))
			if took := env.Now().Sub(began); !env.IsWorkflowCompleted() || took > test.ended || took < test.ended-2*time.Minute {
				t.Errorf("it ended after %s", took)
			}
			err := env.GetWorkflowError()
			var failed *temporal.ApplicationError
			switch {
			case test.kind == "" && err != nil:
				t.Errorf("it ended with %v", err)
			case test.kind != "" && (!errors.As(err, &failed) || failed.Type() != string(test.kind) || !strings.Contains(recorded, "the connection was refused")):
				t.Errorf("it ended with %v, and the ledger says %q", err, recorded)
			}
			for hour, tries := range hours[:min(test.away, test.ended)/time.Hour] {
				if most := 60; hour > 0 && (tries > most || tries < most-2) || tries > most+7 {
					t.Errorf("in hour %d it was tried %d times", hour, tries)
				}
			}
		})
	}
}
