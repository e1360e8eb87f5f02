// Package worker runs the workflows and activities of Millrace: it wires them to their task queues, starts them, and
// drains them. Register adds Millrace to a worker that a company runs already.
package worker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/internal/governor"
	"github.com/millrace/millrace/internal/namespace"
	"github.com/millrace/millrace/workflows"
)

// Slots is how much a worker does at once. A chunk takes about 40 MiB of memory while it is written.
type Slots struct {
	// Control bounds the small steps of runs; 32 when 0.
	Control int
	// Live bounds the chunks of runs that are due now; 4 when 0.
	Live int
	// Bulk bounds the chunks of backfills; 2 when 0.
	Bulk int
}

func (s Slots) withDefaults() Slots {
	if s.Control == 0 {
		s.Control = 32
	}
	if s.Live == 0 {
		s.Live = 4
	}
	if s.Bulk == 0 {
		s.Bulk = 2
	}
	return s
}

// Deployment is the version that a worker is of, for Temporal's worker deployment versioning. The zero Deployment is of none:
// the worker takes whatever comes.
type Deployment struct {
	// Name is that of the deployment: all workers that replace each other have the same.
	Name string
	// BuildID tells its versions apart. Who is current is told to Temporal, and not to the worker.
	BuildID string
}

func (d Deployment) options() sdk.DeploymentOptions {
	if d == (Deployment{}) {
		return sdk.DeploymentOptions{}
	}
	return sdk.DeploymentOptions{UseVersioning: true, Version: sdk.WorkerDeploymentVersion{DeploymentName: d.Name, BuildID: d.BuildID}}
}

// Backfills is how the runs of the past give way to live ones.
type Backfills struct {
	// Budget is what they may take at most.
	Budget governor.Budget
	// Reads are settings of ClickHouse for what they read.
	Reads map[string]string
	// Ungoverned has them take all their slots whatever strains; the budget holds all the same.
	Ungoverned bool
}

// Config is what a worker needs.
type Config struct {
	// Temporal is the client, connected to Namespace.
	Temporal client.Client
	// Namespace is the client's namespace, for messages and checks.
	Namespace string
	// Steps are the activities.
	Steps *activities.Steps
	// Slots is how much is done at once.
	Slots Slots
	// Backfills is how the runs of the past give way; by the governor's rule when zero.
	Backfills Backfills
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
	// Deployment is the version that the worker is of; of none by default.
	Deployment Deployment
	// Log takes progress; nil means slog.Default.
	Log *slog.Logger
	// Ready is called once all task queues are polled; it may be nil.
	Ready func()
}

// stopTimeout is how long a stopping worker lets its activities finish: a chunk takes 60 s of it at most, see
// activities.WriteChunk.
const stopTimeout = 90 * time.Second

// heartbeatThrottle keeps the server from hearing of every part that was uploaded.
const heartbeatThrottle = 5 * time.Second

// Register adds the workflows and activities of Millrace, under their stable names, to a worker. A company that runs
// a worker of its own calls it once for each of the task queues millrace, millrace-live and millrace-bulk. With worker
// deployment versioning the three are of the same version, and runs go over to the version that becomes current. Steps with
// Outages want those workers to have the interceptor of it.
func Register(registry sdk.Registry, steps *activities.Steps) {
	for name, story := range map[string]any{
		workflows.NameExport: workflows.Export, workflows.NameBackfill: workflows.Backfill,
		workflows.NameCheck: workflows.Check, workflows.NameVerify: workflows.Verify, workflows.NameEstimate: workflows.Estimate,
		workflows.NameReconcile: workflows.Reconcile,
	} {
		// Histories of every release replay, so a run may go over to a new build: see docs/decisions/0019-worker-versions.md.
		registry.RegisterWorkflowWithOptions(story, workflow.RegisterOptions{Name: name, VersioningBehavior: workflow.VersioningBehaviorAutoUpgrade})
	}
	registerSteps(registry, steps)
}

func registerSteps(registry sdk.ActivityRegistry, steps *activities.Steps) {
	registry.RegisterActivityWithOptions(steps, activity.RegisterOptions{})
}

// Run works until ctx ends, and then drains: no new task is taken, running chunks finish or are handed back, for 90 s
// at most. It refuses to start while the namespace or the event store is not set up.
func Run(ctx context.Context, config Config) error {
	if err := namespace.Check(ctx, config.Temporal, config.Namespace, workflows.SearchAttributes()); err != nil {
		return err
	}
	if err := config.Steps.Events.CheckSchema(ctx); err != nil {
		return err
	}
	log := config.Log
	if log == nil {
		log = slog.Default()
	}
	slots := config.Slots.withDefaults()
	looks := strains{events: config.Steps.Events, temporal: config.Temporal, namespace: config.Namespace}
	governs, err := governor.New(governor.Config{
		Most: slots.Bulk, Measure: looks.measure, Budget: config.Backfills.Budget, Off: config.Backfills.Ungoverned, Log: log, Registerer: config.Registerer,
	})
	if err != nil {
		return err
	}
	reads, err := bulkReads(ctx, config)
	if err != nil {
		return err
	}
	watch, err := newSchedulesWatch(config, log)
	if err != nil {
		return err
	}
	steps := *config.Steps
	steps.Bulk = activities.Bulk{Queue: workflows.QueueBulk, Governor: governs, Reads: reads}
	if steps.Findings == nil {
		if steps.Findings, err = activities.NewFindings(config.Registerer); err != nil {
			return err
		}
	}
	if steps.Outages == nil {
		steps.Outages = &activities.Outages{}
	}
	config.Steps = &steps
	looking, stopLooking := context.WithCancel(context.Background())
	var looked sync.WaitGroup
	looked.Go(func() { governs.Run(looking) })
	looked.Go(func() { watch.run(looking) })
	defer looked.Wait()
	defer stopLooking()
	broken := make(chan error, 3)
	var started []sdk.Worker
	defer func() { stopAll(started) }()
	for _, queue := range []struct {
		name  string
		slots int
	}{{workflows.QueueControl, slots.Control}, {workflows.QueueLive, slots.Live}, {workflows.QueueBulk, slots.Bulk}} {
		worker := newWorker(config, queue.name, queue.slots, broken)
		if err := worker.Start(); err != nil {
			return fmt.Errorf("poll task queue %q of namespace %q: %w", queue.name, config.Namespace, err)
		}
		started = append(started, worker)
	}
	log.Info("worker polls its task queues", "namespace", config.Namespace,
		workflows.QueueControl, slots.Control, workflows.QueueLive, slots.Live, workflows.QueueBulk, slots.Bulk)
	if config.Deployment != (Deployment{}) {
		log.Info("worker takes runs while its version is current", "deployment", config.Deployment.Name, "build_id", config.Deployment.BuildID)
	}
	if config.Ready != nil {
		config.Ready()
	}
	select {
	case <-ctx.Done():
		log.Info("worker drains: running chunks finish or are handed back", "at_most", stopTimeout)
		return nil
	case err := <-broken:
		return fmt.Errorf("poll task queues of namespace %q: %w", config.Namespace, err)
	}
}

// bulkReads are the settings for what backfills read: half of the threads that the server gives a query, unless the user says
// otherwise.
func bulkReads(ctx context.Context, config Config) (map[string]string, error) {
	reads := maps.Clone(config.Backfills.Reads)
	if reads == nil {
		reads = map[string]string{}
	}
	if _, said := reads["max_threads"]; said || config.Backfills.Ungoverned {
		return reads, nil
	}
	found, err := config.Steps.Events.Strain(ctx)
	if err != nil {
		return nil, err
	}
	reads["max_threads"] = strconv.FormatUint(max(1, found.Threads/2), 10)
	return reads, nil
}

func newWorker(config Config, queue string, slots int, broken chan<- error) sdk.Worker {
	worker := sdk.New(config.Temporal, queue, sdk.Options{
		MaxConcurrentActivityExecutionSize: slots,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		DefaultHeartbeatThrottleInterval:   heartbeatThrottle,
		WorkerStopTimeout:                  stopTimeout,
		DeploymentOptions:                  config.Deployment.options(),
		Interceptors:                       []interceptor.WorkerInterceptor{config.Steps.Outages.Interceptor()},
		// Workflows live on the control queue alone; the others have chunks and nothing else.
		DisableWorkflowWorker: queue != workflows.QueueControl,
		OnFatalError:          func(err error) { broken <- err },
	})
	if queue == workflows.QueueControl {
		Register(worker, config.Steps)
	} else {
		registerSteps(worker, config.Steps)
	}
	return worker
}

// stopAll stops side by side, so that the bound of one is the bound of all.
func stopAll(workers []sdk.Worker) {
	var all sync.WaitGroup
	for _, worker := range workers {
		all.Go(worker.Stop)
	}
	all.Wait()
}
