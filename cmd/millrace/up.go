package main

import (
	"github.com/spf13/cobra"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/config"
)

// topicDefaults are the settings with which a process makes the topic; `millrace setup` takes others.
var topicDefaults = broker.Settings{}

func (p *program) up() *cobra.Command {
	var flags processFlags
	var noSetup bool
	command := &cobra.Command{
		Use:     "up",
		GroupID: groupServe,
		Short:   "Run capture, loader and worker in one process",
		Long: `Run everything of Millrace in one process: capture takes events over HTTP, the loader carries them
into ClickHouse, the worker runs exports. What setup creates is created first.

Ctrl-C or SIGTERM drains: requests under way are answered, open blocks are inserted, running chunks
finish or are handed back, within 90 s. A second signal stops at once, and loses nothing either.`,
		Example: `  bin/devstack -- bin/millrace up --config examples/millrace.yaml`,
		Args:    exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.checkLoad(); err != nil {
				return err
			}
			flags.setup = !noSetup
			return p.serve(cmd.Context(), flags, setupParts, func(proc *process) []part {
				return []part{proc.capture(), proc.loader(), proc.worker()}
			}, config.VarClickHouseURL, config.VarClickHouseHTTPURL, config.VarKafkaBrokers)
		},
	}
	flags.addListen(command)
	flags.addLoad(command)
	flags.addTelemetry(p, command)
	flags.addSlots(command)
	command.Flags().BoolVar(&noSetup, "no-setup", false, "create nothing: setup was called before")
	return command
}

func (p *program) ingest() *cobra.Command {
	var flags processFlags
	var captureOnly, loaderOnly bool
	command := &cobra.Command{
		Use:     "ingest",
		GroupID: groupServe,
		Short:   "Take events over HTTP and carry them into ClickHouse",
		Long: `Run capture, which puts events that come over HTTP into Kafka, and the loader, which carries them
from Kafka into ClickHouse. Several may run at once; loaders share the partitions. Temporal is not
needed. The tables and the topic must be there: see millrace setup, or give --setup.

Ctrl-C or SIGTERM drains: requests under way are answered and open blocks are inserted. A second
signal stops at once, and loses nothing either: what was accepted is in Kafka and is read again.`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if captureOnly && loaderOnly {
				return usagef("--capture-only and --loader-only leave nothing to run: give one of them, or neither for both")
			}
			if err := flags.checkLoad(); err != nil {
				return err
			}
			flags.withoutFile = loaderOnly
			needed := []string{config.VarKafkaBrokers}
			if !captureOnly || flags.setup {
				needed = append(needed, config.VarClickHouseURL, config.VarClickHouseHTTPURL)
			}
			return p.serve(cmd.Context(), flags, []string{partTables, partTopic}, func(proc *process) []part {
				switch {
				case captureOnly:
					return []part{proc.capture()}
				case loaderOnly:
					return []part{proc.loader()}
				}
				return []part{proc.capture(), proc.loader()}
			}, needed...)
		},
	}
	flags.addListen(command)
	flags.addLoad(command)
	flags.addTelemetry(p, command)
	command.Flags().BoolVar(&captureOnly, "capture-only", false, "run capture without the loader")
	command.Flags().BoolVar(&loaderOnly, "loader-only", false, "run the loader without capture")
	command.Flags().BoolVar(&flags.setup, "setup", false, "create tables and topic first if they are missing")
	command.AddCommand(p.ingestStatus(), p.ingestRepair(), p.ingestRetire())
	return command
}

func (p *program) worker() *cobra.Command {
	var flags processFlags
	command := &cobra.Command{
		Use:     "worker",
		GroupID: groupServe,
		Short:   "Run the workflows and activities of exports",
		Long: `Run a worker: it polls Temporal's task queues millrace, millrace-live and millrace-bulk and does
what exports need. Several may run at once. Its configuration has the connections, whose secrets
never leave it. A namespace without the search attributes, or missing tables, are refused: see
millrace setup.

Ctrl-C or SIGTERM drains: running chunks finish or are handed back, within 90 s. A second signal
stops at once; then chunks are written again elsewhere after their heartbeat timeout.

With --deployment the worker is a version of a worker deployment of Temporal's, and takes runs only
while that version is current. docs/upgrades.md shows how.`,
		Example: `  millrace worker
  millrace worker --deployment millrace --build-id 1.1`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.checkVersion(); err != nil {
				return err
			}
			return p.serve(cmd.Context(), flags, nil, func(proc *process) []part {
				return []part{proc.worker()}
			}, config.VarClickHouseURL, config.VarClickHouseHTTPURL)
		},
	}
	flags.addTelemetry(p, command)
	flags.addSlots(command)
	flags.addVersion(command)
	return command
}
