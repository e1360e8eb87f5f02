package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/starter"
)

func (p *program) delete() *cobra.Command {
	var yes bool
	command := &cobra.Command{
		Use:     "delete NAME",
		GroupID: groupWork,
		Short:   "Delete an export's schedule and cancel its runs; leaves the data, and asks",
		Long: `Delete the schedule of an export, after its runs and its backfill were cancelled. What was exported
is left as it is, and so is the ledger: an export of the same name that is applied later finds its
intervals published. Where everything lies is said at the end.

Take the export out of millrace.yaml as well, or the next apply creates it again. Called again after
it was stopped half way, it goes on.`,
		Example: `  millrace delete shop-events
  millrace delete shop-events --yes --json`,
		Args: exactly(1, "the name of an export"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeExports(cmd.Context(), args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if p.json && !yes {
				return usagef("--json cannot ask: give --yes")
			}
			return p.withStarter(cmd.Context(), func(_ *temporal, s *starter.Starter) error {
				return p.deleteExport(cmd.Context(), s, args[0], yes)
			})
		},
	}
	command.Flags().BoolVarP(&yes, "yes", "y", false, "delete without asking")
	return command
}

func (p *program) deleteExport(ctx context.Context, s *starter.Starter, name string, yes bool) error {
	definition, err := s.Definition(ctx, name)
	if err != nil {
		return err
	}
	if !yes {
		status, err := s.Export(ctx, name, 1)
		if err != nil {
			return err
		}
		printWrapped(p.out, fmt.Sprintf("%s: every %s, team %s, to %s; %s under way", name, definition.Every, definition.Team, placeOf(definition), are(status.Running, "run")))
		for _, line := range underWay(starter.ExportStatus{Definition: definition, Backfill: status.Backfill}) {
			printWrapped(p.out, line)
		}
		if err := p.ask(fmt.Sprintf("Cancel what runs, and delete the schedule of %s? [y/N] ", name), "--yes to delete"); err != nil {
			return err
		}
	}
	deleted, err := s.Delete(ctx, name, operator())
	if err != nil {
		return fmt.Errorf("%w: call `millrace delete %s` again for the rest", err, name)
	}
	if p.json {
		return p.printJSON(deleted)
	}
	p.printDeleted(deleted)
	return nil
}

func (p *program) printDeleted(deleted starter.Deleted) {
	name := deleted.Definition.Name
	fmt.Fprintf(p.out, "%s is deleted; %s cancelled\n", name, are(deleted.Cancelled, "run"))
	if deleted.Backfill {
		fmt.Fprintln(p.out, "its backfill is cancelled")
	}
	if deleted.Running > 0 {
		fmt.Fprintf(p.out, "%s not ended yet: a worker has to do that, is one up?\n", have(deleted.Running, "run"))
	}
	fmt.Fprintf(p.out, "left: what was exported, at %s\n", placeOf(deleted.Definition))
	fmt.Fprintf(p.out, "left: the ledger, which `millrace runs %s` lists\n", name)
	fmt.Fprintf(p.out, "left: the export in your file, if it is there: take it out, or `millrace apply` creates it again\n")
}

// have is "1 run has", "2 runs have".
func have(n int, word string) string {
	if n == 1 {
		return plural(n, word) + " has"
	}
	return plural(n, word) + " have"
}

// placeOf says where an export writes, as far as its settings have it in words that every destination uses for that.
func placeOf(definition export.Definition) string {
	place := definition.Destination + ":" + definition.Connection
	var settings map[string]any
	if json.Unmarshal(definition.Settings, &settings) != nil {
		return place
	}
	var parts []string
	for _, name := range []string{"prefix", "schema", "table"} {
		if value, given := settings[name].(string); given && value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	if len(parts) == 0 {
		return place
	}
	return place + ", " + strings.Join(parts, ", ")
}
