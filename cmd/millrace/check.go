package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/telemetry"
	"github.com/millrace/millrace/starter"
)

// checked is the answer of check.
type checked struct {
	activities.CheckReport
	// Warnings are of schedules that export to the connection in a way that loses intervals.
	Warnings []string `json:"warnings,omitempty"`
}

func (p *program) check() *cobra.Command {
	var local bool
	var name string
	command := &cobra.Command{
		Use:     "check [CONNECTION]",
		GroupID: groupWork,
		Short:   "Try out a connection, or an export with its model, step by step",
		Long: `Try out, step by step, whether exports to a connection would succeed, and leave nothing behind. A
worker does it, in a small workflow, because the credentials and the network that count are the
worker's. With --local it is done here, by the configuration and the environment of this process,
and needs no Temporal.

With --export NAME an export is tried out instead: whether ClickHouse can run its model's query,
whether the columns are there, how the last interval would be cut into chunks and how much of the
tables is read for that, and then its connection. The export is taken from millrace.yaml, so that
it can be tried before it is applied, or, when it is not there, from its schedule.

Checking a connection also warns of schedules that use it and lose intervals, such as those that
the Temporal UI made with its default overlap policy. Exit code 3 says that a step failed.`,
		Example: `  millrace check lake
  millrace check lake --local
  millrace check --export shop-events`,
		Args: atMostOne("the name of a connection"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeConnections(args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && name == "":
				return usagef("name a connection, or an export with --export: see `millrace check --help`")
			case len(args) == 1 && name != "":
				return usagef("connection %q and --export %s are both given: an export is checked with its own connection", args[0], name)
			case name != "" && local:
				return p.checkExportLocal(cmd.Context(), name)
			case local:
				return p.hintExport(p.checkLocal(cmd.Context(), activities.CheckTask{Connection: args[0]}, nil), args[0], func() bool {
					loaded, err := p.loaded()
					if err == nil {
						_, err = loaded.Export(args[0])
					}
					return err == nil
				})
			}
			return p.withStarter(cmd.Context(), func(_ *temporal, s *starter.Starter) error {
				if name != "" {
					return p.checkExport(cmd.Context(), s, name)
				}
				return p.hintExport(p.checkByWorker(cmd.Context(), s, args[0]), args[0], func() bool {
					_, err := s.Definition(cmd.Context(), args[0])
					return err == nil
				})
			})
		},
	}
	command.Flags().BoolVar(&local, "local", false, "check from this process instead of from a worker")
	command.Flags().StringVar(&name, "export", "", "check this export and its model")
	return command
}

// hintExport says of a connection that does not work, when an export has its name, how that is checked.
func (p *program) hintExport(err error, name string, isExport func() bool) error {
	var no negative
	if errors.As(err, &no) && isExport() {
		return negative{fmt.Sprintf("%s; an export has that name, and is checked by: millrace check --export %s", no.text, name)}
	}
	return err
}

func (p *program) checkLocal(ctx context.Context, task activities.CheckTask, events *eventstore.Store) error {
	loaded, err := p.loaded()
	if err != nil {
		return err
	}
	report, err := (&activities.Steps{Events: events, Connections: loaded, Log: quiet()}).CheckConnection(ctx, task)
	if err != nil {
		return err
	}
	return p.printChecked(checked{CheckReport: report})
}

func (p *program) loaded() (*config.Config, error) {
	env, err := config.ReadEnvironment()
	if err != nil {
		return nil, err
	}
	return loadConfig(p.file(env))
}

func (p *program) checkExportLocal(ctx context.Context, name string) error {
	loaded, err := p.loaded()
	if err != nil {
		return err
	}
	definition, err := loaded.Export(name)
	if err != nil {
		return err
	}
	env, err := config.ReadEnvironment()
	if err != nil {
		return err
	}
	if err := env.Need(config.VarClickHouseURL, config.VarClickHouseHTTPURL); err != nil {
		return err
	}
	store, err := openStore(ctx, env)
	if err != nil {
		return err
	}
	defer store.Close()
	return p.checkLocal(ctx, activities.CheckTask{Connection: definition.Connection, Definition: &definition}, store)
}

// checkExport goes by the file, when there is one that has the export, and else by the schedule.
func (p *program) checkExport(ctx context.Context, s *starter.Starter, name string) error {
	loaded, err := p.loaded()
	if err == nil {
		var definition export.Definition
		if definition, err = loaded.Export(name); err == nil {
			return p.checkDefinition(ctx, s, definition)
		}
	}
	definition, missing := s.Definition(ctx, name)
	if missing != nil {
		return errors.Join(err, missing)
	}
	return p.checkDefinition(ctx, s, definition)
}

func (p *program) checkDefinition(ctx context.Context, s *starter.Starter, definition export.Definition) error {
	report, err := s.Check(ctx, activities.CheckTask{Connection: definition.Connection, Definition: &definition})
	if err != nil {
		return err
	}
	return p.printChecked(checked{CheckReport: report})
}

func (p *program) checkByWorker(ctx context.Context, s *starter.Starter, connection string) error {
	report, err := s.Check(ctx, activities.CheckTask{Connection: connection})
	if err != nil {
		return err
	}
	answer := checked{CheckReport: report}
	exports, err := s.Exports(ctx, 1)
	if err != nil {
		return err
	}
	for _, export := range exports {
		if export.Definition.Connection != connection {
			continue
		}
		for _, warning := range export.Warnings {
			answer.Warnings = append(answer.Warnings, fmt.Sprintf("export %s: %s", export.Definition.Name, warning))
		}
	}
	return p.printChecked(answer)
}

func (p *program) printChecked(answer checked) error {
	if p.json {
		if err := p.printJSON(answer); err != nil {
			return err
		}
	} else {
		printSteps(p.out, telemetry.Columns(p.out), answer)
		for _, warning := range answer.Warnings {
			printWrapped(p.err, "warning: "+warning)
		}
	}
	if !answer.OK {
		if answer.Export != "" {
			return negative{fmt.Sprintf("export %q does not work yet", answer.Export)}
		}
		return negative{fmt.Sprintf("connection %q does not work yet", answer.Connection)}
	}
	return nil
}

// printSteps prints a line for each step; what to do about a failed one stands below it, uncut. On a terminal of width columns lines
// are wrapped; 0 is for none.
func printSteps(w io.Writer, width int, answer checked) {
	for _, step := range answer.Steps {
		switch {
		case step.Error != "":
			printHanging(w, width, "FAILED  ", step.Name)
			printHanging(w, width, "        ", step.Error)
		case step.Detail != "":
			printHanging(w, width, "ok      ", step.Name+": "+step.Detail)
		default:
			printHanging(w, width, "ok      ", step.Name)
		}
	}
}
