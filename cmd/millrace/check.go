package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/internal/config"
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
	command := &cobra.Command{
		Use:     "check CONNECTION",
		GroupID: groupWork,
		Short:   "Try out a connection, step by step",
		Long: `Try out, step by step, whether exports to a connection would succeed, and leave nothing behind. A
worker does it, in a small workflow, because the credentials and the network that count are the
worker's. With --local it is done here, by the configuration and the environment of this process,
and needs no Temporal.

It also warns of schedules that use the connection and lose intervals, such as those that the
Temporal UI made with its default overlap policy. Exit code 3 says that a step failed.`,
		Example: `  millrace check lake
  millrace check lake --local`,
		Args: exactly(1, "the name of a connection"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeConnections(args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if local {
				return p.checkLocal(cmd.Context(), args[0])
			}
			return p.withStarter(cmd.Context(), func(_ *temporal, s *starter.Starter) error {
				return p.checkByWorker(cmd.Context(), s, args[0])
			})
		},
	}
	command.Flags().BoolVar(&local, "local", false, "check from this process instead of from a worker")
	return command
}

func (p *program) checkLocal(ctx context.Context, connection string) error {
	env, err := config.ReadEnvironment()
	if err != nil {
		return err
	}
	loaded, err := loadConfig(p.file(env))
	if err != nil {
		return err
	}
	report, err := (&activities.Steps{Connections: loaded, Log: quiet()}).CheckConnection(ctx, activities.CheckTask{Connection: connection})
	if err != nil {
		return err
	}
	return p.printChecked(checked{CheckReport: report})
}

func (p *program) checkByWorker(ctx context.Context, s *starter.Starter, connection string) error {
	report, err := s.Check(ctx, connection)
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
		printSteps(p.out, answer)
		for _, warning := range answer.Warnings {
			fmt.Fprintf(p.err, "warning: %s\n", warning)
		}
	}
	if !answer.OK {
		return negative{fmt.Sprintf("connection %q does not work yet", answer.Connection)}
	}
	return nil
}

// printSteps prints a line for each step; what to do about a failed one stands below it, uncut.
func printSteps(w io.Writer, answer checked) {
	for _, step := range answer.Steps {
		switch {
		case step.Error != "":
			fmt.Fprintf(w, "FAILED  %s\n        %s\n", step.Name, step.Error)
		case step.Detail != "":
			fmt.Fprintf(w, "ok      %s: %s\n", step.Name, step.Detail)
		default:
			fmt.Fprintf(w, "ok      %s\n", step.Name)
		}
	}
}
