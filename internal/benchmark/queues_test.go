//go:build bench

package benchmark

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	_ "github.com/millrace/millrace/destinations/s3"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/worker"
	"github.com/millrace/millrace/workflows"
)

// The slots are few, so that what waits is a matter of queues and not of processors; one queue has as many as three.
var (
	queueSlots = worker.Slots{Control: 4, Live: 2, Bulk: 2}
	oneQueue   = worker.Slots{Control: queueSlots.Control + queueSlots.Live + queueSlots.Bulk, Live: 1, Bulk: 1}
)

const (
	// queuesAtOnce is how many runs of a backfill are under way, so that there always are steps that wait.
	queuesAtOnce = 64
	// What waits settles soon, and more live exports make up for shorter phases.
	queuesExports, queuesMinutes, queuesSettling = 12, 2, 30 * time.Second
)

// TestQueuesAndPriorities measures what keeps live runs ahead of a backfill that nothing governs: one task queue for all,
// with priorities and without, three task queues, and three with priorities, which is the product.
func TestQueuesAndPriorities(t *testing.T) {
	b := newLiveBench(t)
	b.exports, b.minutes, b.settling = queuesExports, queuesMinutes, queuesSettling
	fmt.Printf("machine: %d CPUs, %s/%s, %s; ClickHouse %s\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), b.version(t))
	fmt.Printf("live: %d events a second, %d exports every minute; backfill: hours of %d rows, %d runs at once, no governor; %d minutes each; slots: %+v, one queue: %d\n\n",
		eventsPerSecond, b.exports, pastRowsPerHour, queuesAtOnce, b.minutes, queueSlots, oneQueue.Control)
	fmt.Printf("%-26s %6s %14s %14s %14s %16s %14s\n", "", "runs", "latency p50", "latency p95", "watermark p95", "backfill rows/s", "CPU-seconds/s")
	defer b.begin(t)()
	alone := b.phase(t, "live alone", nobody, b.layout(queueSlots, layout{}))
	var ratios []string
	for _, tried := range []struct {
		name  string
		slots worker.Slots
		layout
	}{
		{"one queue", oneQueue, layout{oneQueue: true, equal: true}},
		{"one queue, priorities", oneQueue, layout{oneQueue: true}},
		{"three queues", queueSlots, layout{equal: true}},
		{"three queues, priorities", queueSlots, layout{}},
	} {
		found := b.phase(t, tried.name, queuesAtOnce, b.layout(tried.slots, tried.layout))
		ratios = append(ratios, fmt.Sprintf("  %-26s %11.2f %11.2f", tried.name, found.p50/alone.p50, found.p95/alone.p95))
	}
	fmt.Printf("\n÷ live alone:                latency p50 latency p95\n")
	for _, ratio := range ratios {
		fmt.Println(ratio)
	}
}

// layout has the steps of workflows wait elsewhere than the product has them wait.
type layout struct {
	interceptor.ClientInterceptorBase
	interceptor.WorkerInterceptorBase
	// oneQueue has all wait in the control queue, and equal gives all the same priority.
	oneQueue, equal bool
}

// InterceptWorkflow implements interceptor.WorkerInterceptor.
func (l *layout) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &laidIn{interceptor.WorkflowInboundInterceptorBase{Next: next}, l}
}

type laidIn struct {
	interceptor.WorkflowInboundInterceptorBase
	layout *layout
}

// Init implements interceptor.WorkflowInboundInterceptor.
func (l *laidIn) Init(outbound interceptor.WorkflowOutboundInterceptor) error {
	return l.Next.Init(&laidOut{interceptor.WorkflowOutboundInterceptorBase{Next: outbound}, l.layout})
}

type laidOut struct {
	interceptor.WorkflowOutboundInterceptorBase
	layout *layout
}

// ExecuteActivity implements interceptor.WorkflowOutboundInterceptor.
func (l *laidOut) ExecuteActivity(ctx workflow.Context, activityType string, args ...any) workflow.Future {
	options := workflow.GetActivityOptions(ctx)
	if l.layout.oneQueue {
		options.TaskQueue = workflows.QueueControl
	}
	if l.layout.equal {
		options.Priority = temporal.Priority{PriorityKey: 3, FairnessKey: "all"}
	}
	return l.Next.ExecuteActivity(workflow.WithActivityOptions(ctx, options), activityType, args...)
}

// layout is a worker whose steps wait so. It is in this process, for the product has one layout only.
func (b *liveBench) layout(slots worker.Slots, laid layout) workerOf {
	return func(t *testing.T) (stop func()) {
		t.Helper()
		namespace := testworld.Env(t, "TEMPORAL_NAMESPACE")
		loaded, err := config.Load(b.file)
		if err != nil {
			t.Fatal(err)
		}
		quiet := slog.New(slog.DiscardHandler)
		temporal, err := client.Dial(client.Options{
			HostPort: testworld.Env(t, "TEMPORAL_ADDRESS"), Namespace: namespace,
			Interceptors: []interceptor.ClientInterceptor{&laid}, Logger: log.NewStructuredLogger(quiet),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- worker.Run(ctx, worker.Config{
				Temporal: temporal, Namespace: namespace, Log: quiet, Slots: slots, Backfills: worker.Backfills{Ungoverned: true},
				Steps: &activities.Steps{Events: b.store, Connections: loaded, Log: quiet}, Ready: func() { close(ready) },
			})
		}()
		select {
		case <-ready:
		case err := <-ended:
			t.Fatalf("the worker did not start: %v", err)
		}
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("the worker ended with %v", err)
			}
			temporal.Close()
		}
	}
}
