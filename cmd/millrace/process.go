package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/capture"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/telemetry"
	"github.com/millrace/millrace/worker"
)

// process is what up, ingest and worker share: they stay up, log, and serve metrics.
type process struct {
	env      config.Environment
	config   *config.Config // nil without file
	log      *slog.Logger
	registry *prometheus.Registry
	slots    worker.Slots
	// ungoverned lets backfills take their slots whatever strains.
	ungoverned bool
	load       loader.Config // what flags say of it
	version    worker.Deployment
}

// processFlags are the flags of a process.
type processFlags struct {
	listen        string
	metricsListen string
	setup         bool
	withoutFile   bool // nothing in the configuration's file matters: the loader runs alone
	slots         worker.Slots
	ungoverned    bool
	load          loader.Config
	version       worker.Deployment
}

// addTelemetry adds the flags of every process.
func (f *processFlags) addTelemetry(p *program, command *cobra.Command) {
	command.Flags().StringVar(&p.logLevel, "log-level", "info", "log from this `level` on: debug, info, warn or error")
	command.Flags().StringVar(&f.metricsListen, "metrics-listen", "", "serve /metrics for Prometheus at this `address` (default $MILLRACE_METRICS_LISTEN, or none)")
}

func (f *processFlags) addListen(command *cobra.Command) {
	command.Flags().StringVar(&f.listen, "listen", "", "take events at this `address` (default $MILLRACE_LISTEN, or 127.0.0.1:8000)")
}

// addLoad adds how the loader cuts blocks, and what it keeps.
func (f *processFlags) addLoad(command *cobra.Command) {
	flags := command.Flags()
	flags.IntVar(&f.load.BlockRows, "block-rows", loader.DefaultBlockRows, "cut a block after so many messages; a block is one part of the table events")
	flags.IntVar(&f.load.BlockBytes, "block-bytes", loader.DefaultBlockBytes, "cut a block after so many `bytes` of messages; each partition takes about four times as much memory")
	flags.DurationVar(&f.load.BlockAge, "block-age", loader.DefaultBlockAge, "cut a block so long after its first message, full or not: most of the time until events are seen")
	flags.Int64Var(&f.load.Duplicates, "duplicates", loader.DefaultDuplicates, "drop an event that is there already within so many `offsets` of its partition; the same for all loaders, -1 for none beyond a block")
	flags.DurationVar(&f.load.Timing.SessionTimeout, "session-timeout", broker.DefaultSessionTimeout, "hand a loader's partitions to others after so much silence; brokers allow 6s or more by default")
}

// checkLoad refuses what the loader would refuse, by the names that people gave.
func (f *processFlags) checkLoad() error {
	switch load := f.load; {
	case load.BlockRows < 1:
		return usagef("--block-rows: %d must be at least 1", load.BlockRows)
	case load.BlockBytes < 1:
		return usagef("--block-bytes: %d must be at least 1", load.BlockBytes)
	case load.BlockAge <= 0:
		return usagef("--block-age: %s must be above zero", load.BlockAge)
	case load.Duplicates == 0 || load.Duplicates > loader.DefaultDuplicates:
		return usagef("--duplicates: %d must be from 1 to %d, or -1 for none beyond a block", load.Duplicates, loader.DefaultDuplicates)
	case load.Timing.SessionTimeout < time.Second:
		return usagef("--session-timeout: %s must be at least 1s, and what the brokers allow (group.min.session.timeout.ms)", load.Timing.SessionTimeout)
	}
	return nil
}

func (f *processFlags) addSlots(command *cobra.Command) {
	command.Flags().IntVar(&f.slots.Live, "slots-live", 4, "how many chunks of runs that are due now are written at once")
	command.Flags().IntVar(&f.slots.Bulk, "slots-bulk", 2, "how many chunks of backfills are written at once")
	command.Flags().BoolVar(&f.ungoverned, "ungoverned", false, "let backfills take all their slots, whatever strains ClickHouse, live runs or the destination")
	command.Flags().IntVar(&f.slots.Control, "slots-control", 32, "how many small steps of runs are done at once")
}

// addVersion adds of which version a worker is.
func (f *processFlags) addVersion(command *cobra.Command) {
	command.Flags().StringVar(&f.version.Name, "deployment", "", "be a version of this worker deployment of Temporal's, by its `name`")
	command.Flags().StringVar(&f.version.BuildID, "build-id", "", "the `id` of that version (default what millrace version says)")
}

// checkVersion refuses half a version, and what Temporal would refuse.
func (f *processFlags) checkVersion() error {
	switch version := &f.version; {
	case version.Name == "" && version.BuildID != "":
		return usagef("--build-id: %q is the version of no deployment: give its name with --deployment, or leave both out", version.BuildID)
	case strings.Contains(version.Name, "."), strings.HasPrefix(version.Name, "__"):
		return usagef("--deployment: %q must not have a dot in it, nor begin with __: Temporal writes a version as name.build-id", version.Name)
	case version.Name != "" && version.BuildID == "":
		version.BuildID = telemetry.ReadBuild().Version
	}
	return nil
}

// part is a service of a process: it runs until its context ends, drains, and returns nil.
type part struct {
	name string
	run  func(context.Context) error
}

// serve runs the parts in one process until ctx ends or one of them fails; then all drain.
func (p *program) serve(ctx context.Context, flags processFlags, setup []string, parts func(*process) []part, needed ...string) error {
	log, err := p.log()
	if err != nil {
		return err
	}
	env, err := needs(needed...)
	if err != nil {
		return err
	}
	if flags.listen != "" {
		env.Listen = flags.listen
	}
	if flags.metricsListen != "" {
		env.MetricsListen = flags.metricsListen
	}
	var loaded *config.Config
	if !flags.withoutFile {
		if loaded, err = loadConfig(p.file(env)); err != nil {
			return err
		}
		shown, err := loaded.Redacted()
		if err != nil {
			return err
		}
		log.Debug("configuration is read", "file", p.file(env), "content", shown)
	}
	collectOften()
	build := telemetry.ReadBuild()
	proc := &process{env: env, config: loaded, log: log, registry: telemetry.NewRegistry(build), slots: flags.slots, ungoverned: flags.ungoverned, load: flags.load, version: flags.version}
	log.Info("millrace starts", "version", build.Version)
	if env.MetricsListen != "" {
		metrics, err := telemetry.ServeMetrics(env.MetricsListen, proc.registry)
		if err != nil {
			return explainListen(err, "--metrics-listen or "+config.VarMetricsListen)
		}
		defer metrics.Close()
		log.Info("metrics are served", "url", "http://"+metrics.Address()+"/metrics")
	}
	if flags.setup {
		done, err := setUp(ctx, env, setup, topicDefaults)
		logSetup(log, done)
		if err != nil {
			return err
		}
	}
	err = together(ctx, log, parts(proc))
	if err == nil {
		log.Info("millrace has drained and ends")
	}
	return err
}

// together runs parts side by side until ctx ends or one of them ends; then the others are told to end, and all are
// waited for. The error is that of the parts that failed.
func together(ctx context.Context, log *slog.Logger, parts []part) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type ending struct {
		name string
		err  error
	}
	ended := make(chan ending)
	for _, part := range parts {
		go func() { ended <- ending{part.name, part.run(ctx)} }()
	}
	draining := ctx.Done()
	var failures []error
	for left := len(parts); left > 0; {
		select {
		case <-draining:
			draining = nil
			log.Info("draining: what was accepted is finished; a second signal stops at once")
		case end := <-ended:
			left--
			if end.err == nil && ctx.Err() == nil {
				end.err = errors.New("ended unasked")
			}
			if stopped := ctx.Err() != nil && errors.Is(end.err, context.Canceled); end.err != nil && !stopped {
				log.Error("a part failed, the others drain", "part", end.name, "error", end.err)
				failures = append(failures, fmt.Errorf("%s: %w", end.name, end.err))
			}
			stop()
		}
	}
	return errors.Join(failures...)
}

func (proc *process) capture() part {
	return part{"capture", func(ctx context.Context) error {
		teams := make([]capture.Team, 0, len(proc.config.Teams))
		for _, team := range proc.config.Teams {
			teams = append(teams, capture.Team{ID: team.ID, Name: team.Name, Token: team.Token})
		}
		if len(teams) == 0 {
			return export.Errorf(export.KindConfig, "the configuration has no teams, so nobody could send events: add one, such as teams: [{id: 1, name: shop, token: mr_shop}]")
		}
		return explainListen(capture.Run(ctx, capture.Config{
			Listen:     proc.env.Listen,
			Teams:      teams,
			Broker:     brokerConfig(proc.env),
			Registerer: proc.registry,
			Logger:     proc.log.With("part", "capture"),
		}), "--listen or "+config.VarListen+", such as "+config.VarListen+"=127.0.0.1:8001")
	}}
}

func (proc *process) loader() part {
	return part{"loader", func(ctx context.Context) error {
		store, err := openStore(ctx, proc.env)
		if err != nil {
			return err
		}
		defer store.Close()
		load := proc.load
		load.Store, load.Kafka, load.Group = store, brokerConfig(proc.env), loaderGroup(proc.env)
		load.Log, load.Registerer = proc.log.With("part", "loader"), proc.registry
		return loader.Run(ctx, load)
	}}
}

// loaderGroup keeps the loaders of another topic out of the group of the default one: they would disturb each other
// whenever one comes or goes.
func loaderGroup(env config.Environment) string {
	if env.KafkaTopic == "" || env.KafkaTopic == broker.DefaultTopic {
		return loader.DefaultGroup
	}
	return env.KafkaTopic + ".loader"
}

// collectOften has the garbage collector run when the heap has grown by 30 % instead of doubled, unless GOGC or GOMEMLIMIT
// says otherwise. What loaders and chunks hold are a few large buffers without pointers, which cost the collector next to
// nothing. See docs/decisions/0010.
func collectOften() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(30)
	}
}

func (proc *process) worker() part {
	return part{"worker", func(ctx context.Context) error {
		log := proc.log.With("part", "worker")
		store, err := openStore(ctx, proc.env)
		if err != nil {
			return err
		}
		defer store.Close()
		connected, err := dialTemporal(ctx, proc.env, log)
		if err != nil {
			return err
		}
		defer connected.Close()
		began := time.Now()
		return explainServers(connected.explain(worker.Run(ctx, worker.Config{
			Temporal:  connected.Client,
			Namespace: connected.namespace,
			Steps:     &activities.Steps{Events: store, Connections: proc.config, Log: log},
			Slots:     proc.slots,
			Backfills: worker.Backfills{
				Budget: proc.config.Backfills.Budget(), Reads: proc.config.Backfills.Reads(), Ungoverned: proc.ungoverned,
			},
			Registerer: proc.registry,
			Deployment: proc.version,
			Log:        log,
			Ready: func() {
				log.Info("worker is ready", "after", time.Since(began).Round(time.Millisecond), "connections", proc.config.ConnectionNames())
			},
		})))
	}}
}
