package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/starter"
)

func (p *program) estimate() *cobra.Command {
	var start, end string
	var sample, local bool
	command := &cobra.Command{
		Use:     "estimate NAME [--start TIME --end TIME]",
		GroupID: groupWork,
		Short:   "Tell what the runs of a range would read and write, and write nothing",
		Long: `Tell what the runs of a range would read and write: rows, bytes, chunks and files, what ClickHouse
reads for them, how long they may take, and which types the columns have at the destination. Without
a range it is of the last interval that has ended. Both ends must be boundaries of the export's
grid. An interval that is not complete yet is estimated by the rows that it has so far.

Rows are counted, and chunks are planned by the planner of the runs. Bytes are learned by encoding
some of the rows, or all when they are few, and throwing the result away. The time is that of recent
runs in the ledger. Nothing is written: not at the destination, and not in the ledger. A worker does
it, in a small workflow. With --local it is done here, by the configuration and the environment of
this process, and needs no Temporal. The export is taken from its schedule, or, while it has none,
from millrace.yaml; with --local always from there.

--sample shows ten rows as well. It is off unless asked for, because rows may be about people, and
what a workflow answers stays in Temporal's history: in clear, unless MILLRACE_CODEC_KEYS is set for
workers. With --local no row goes there. Values are cut after 120 letters.`,
		Example: `  millrace estimate shop-events
  millrace estimate shop-events --start 2026-11-01T00:00:00Z --end 2026-11-23T00:00:00Z --json`,
		Args: exactly(1, "the name of an export"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeExports(cmd.Context(), args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var span export.Interval
			var err error
			if start != "" || end != "" {
				if span, err = parseSpan(start, end); err != nil {
					return err
				}
			}
			if local {
				return p.estimateLocal(cmd.Context(), args[0], span, sample)
			}
			return p.withStarter(cmd.Context(), func(_ *temporal, s *starter.Starter) error {
				definition, err := p.appliedOrNot(cmd.Context(), s, args[0])
				if err != nil {
					return err
				}
				return p.estimateByWorker(cmd.Context(), s, estimateTask(definition, span, sample), 1)
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&start, "start", "", "start of the range, an RFC 3339 `time`")
	flags.StringVar(&end, "end", "", "end of the range, an RFC 3339 `time`")
	flags.BoolVar(&sample, "sample", false, "show ten rows as well")
	flags.BoolVar(&local, "local", false, "estimate from this process instead of from a worker")
	return command
}

// appliedOrNot goes by the export's schedule, or by the file where it has none yet.
func (p *program) appliedOrNot(ctx context.Context, s *starter.Starter, name string) (export.Definition, error) {
	definition, err := s.Definition(ctx, name)
	if err == nil || export.KindOf(err) != export.KindConfig {
		return definition, err
	}
	loaded, missing := p.loaded()
	if missing == nil {
		definition, missing = loaded.Export(name)
	}
	if missing != nil {
		return definition, err
	}
	if !p.json {
		fmt.Fprintf(p.err, "note: export %q is not applied yet, so it is estimated as the file has it\n", name)
	}
	return definition, nil
}

// estimateTask is of a range of which either end may be zero, which leaves it to the worker.
func estimateTask(definition export.Definition, span export.Interval, sample bool) export.EstimateTask {
	task := export.EstimateTask{Definition: definition.WithDefaults(), Sample: sample}
	if !span.Start.IsZero() {
		task.Start = &span.Start
	}
	if !span.End.IsZero() {
		task.End = &span.End
	}
	return task
}

func (p *program) estimateByWorker(ctx context.Context, s *starter.Starter, task export.EstimateTask, parallel int) error {
	estimate, err := s.Estimate(ctx, task)
	if err != nil {
		return err
	}
	if err := p.printEstimate(task.Definition, estimate, parallel); err != nil {
		return err
	}
	if !p.json && task.Sample && os.Getenv(config.VarCodecKeys) == "" {
		fmt.Fprintf(p.err, "note: %s is not set here: if it is not set for the workers either, the rows of the sample stay in Temporal's history in clear, until its retention ends\n", config.VarCodecKeys)
	}
	return nil
}

func (p *program) estimateLocal(ctx context.Context, name string, span export.Interval, sample bool) error {
	loaded, err := p.loaded()
	if err != nil {
		return err
	}
	definition, err := loaded.Export(name)
	if err != nil {
		return err
	}
	task := estimateTask(definition, span, sample)
	if err := starter.ValidateEstimate(task); err != nil {
		return err
	}
	env, err := needs(config.VarClickHouseURL, config.VarClickHouseHTTPURL)
	if err != nil {
		return err
	}
	return withStore(ctx, env, func(store *eventstore.Store) error {
		estimate, err := (&activities.Steps{Events: store, Connections: loaded, Log: quiet()}).EstimateRuns(ctx, task)
		if err != nil {
			return starter.PlainFailure(err)
		}
		return p.printEstimate(task.Definition, estimate, 1)
	})
}
