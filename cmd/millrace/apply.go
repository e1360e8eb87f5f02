package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/telemetry"
	"github.com/millrace/millrace/starter"
)

func (p *program) apply() *cobra.Command {
	var file string
	var yes, dryRun bool
	command := &cobra.Command{
		Use:     "apply [-f FILE]",
		GroupID: groupWork,
		Short:   "Make schedules of the exports in a file; shows a diff and asks",
		Long: `Make the exports of a file into Temporal Schedules: what is new is created, what differs is updated,
and what is the same is not touched. The differences are shown first, and asked about. A schedule
that the file does not name is left alone. A paused schedule stays paused. A section reconcile of
the file gives each export a second schedule, which reconciles it once a day.

Temporal counts the times of an update from the update on. So where the new times have had something
due since the last of the old ones, apply starts it; what was done already costs nothing. What falls
due while a schedule is paused is started by nobody: millrace resume NAME --fill fills it.`,
		Example: `  millrace apply -f millrace.yaml
  millrace apply -f millrace.yaml --dry-run
  millrace apply -f millrace.yaml --yes --json`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if yes && dryRun {
				return usagef("--yes and --dry-run contradict each other: give one of them")
			}
			env, err := config.ReadEnvironment()
			if err != nil {
				return err
			}
			if file == "" {
				file = p.file(env)
			}
			if p.json && !yes && !dryRun {
				return usagef("--json cannot ask: give --yes to apply, or --dry-run to look only")
			}
			loaded, err := loadConfig(file)
			if err != nil {
				return err
			}
			return p.withStarter(cmd.Context(), func(_ *temporal, s *starter.Starter) error {
				return p.applyConfig(cmd.Context(), s, loaded, yes, dryRun)
			})
		},
	}
	command.Flags().StringVarP(&file, "file", "f", "", "the `file` with the exports (default that of --config)")
	command.Flags().BoolVarP(&yes, "yes", "y", false, "apply without asking")
	command.Flags().BoolVar(&dryRun, "dry-run", false, "show the differences and change nothing")
	return command
}

func (p *program) applyConfig(ctx context.Context, s *starter.Starter, loaded *config.Config, yes, dryRun bool) error {
	changes, err := s.Diff(ctx, loaded.Exports)
	if err != nil {
		return err
	}
	nightly, err := s.DiffNightly(ctx, loaded.Exports, loaded.Reconcile)
	if err != nil {
		return err
	}
	changes = append(changes, nightly...)
	if changes == nil {
		changes = []starter.Change{} // in JSON a list, also when it is empty
	}
	var due []int
	for i, change := range changes {
		if slices.Contains([]starter.Action{starter.ActionCreate, starter.ActionUpdate, starter.ActionDelete}, change.Action) {
			due = append(due, i)
		}
	}
	if !p.json {
		printChanges(p.out, changes)
	}
	if !dryRun && len(due) > 0 {
		if !yes {
			if err := p.ask(fmt.Sprintf("Apply %s? [y/N] ", plural(len(due), "change")), "--yes to apply, or --dry-run to look only"); err != nil {
				return err
			}
		}
		for _, i := range due {
			if i >= len(changes)-len(nightly) {
				err = s.ApplyNightly(ctx, changes[i])
			} else {
				changes[i], err = s.Apply(ctx, changes[i])
			}
			if err != nil {
				return fmt.Errorf("%w: changes before it are applied; call `millrace apply` again for the rest", err)
			}
			if !p.json {
				printApplied(p.out, changes[i])
			}
		}
	}
	if p.json {
		return p.printJSON(changes)
	}
	return nil
}

func printChanges(w io.Writer, changes []starter.Change) {
	mark := map[starter.Action]string{
		starter.ActionCreate: "+", starter.ActionUpdate: "~", starter.ActionNone: "=", starter.ActionIgnore: "?", starter.ActionDelete: "-",
	}
	width := telemetry.Columns(w)
	for _, change := range changes {
		fmt.Fprintf(w, "%s %s  %s\n", mark[change.Action], change.Export, change.Action)
		for _, field := range change.Fields {
			switch {
			case field.From == "":
				printHanging(w, width, "    + ", field.Field+": "+field.To)
			case field.To == "":
				printHanging(w, width, "    - ", field.Field+": "+field.From)
			default:
				printHanging(w, width, "    ~ ", fmt.Sprintf("%s: %s -> %s", field.Field, field.From, field.To))
			}
		}
	}
	if len(changes) == 0 {
		fmt.Fprintln(w, "There are no exports, neither in the file nor as schedules.")
	}
}

func printApplied(w io.Writer, change starter.Change) {
	done := "created"
	switch change.Action {
	case starter.ActionUpdate:
		done = "updated"
	case starter.ActionDelete:
		done = "deleted"
	}
	fmt.Fprintf(w, "%s %s", done, change.Export)
	if change.FilledFrom != nil && slices.ContainsFunc(change.Fields, func(f starter.FieldChange) bool { return f.Field == "schedule.times" }) {
		fmt.Fprintf(w, ", and what its times have had due since %s started", clock(*change.FilledFrom))
	}
	fmt.Fprintln(w)
}

// ask waits for a yes. Without a terminal there is nobody to ask, and the error says what to give instead.
func (p *program) ask(question, instead string) error {
	if !telemetry.IsTerminal(p.err) || !isTerminalInput(p.in) {
		return usagef("nothing was changed, for there is no terminal to ask at: give %s", instead)
	}
	fmt.Fprint(p.err, question)
	answer, err := bufio.NewReader(p.in).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return negative{"nothing was changed"}
}

func isTerminalInput(r io.Reader) bool {
	w, isFile := r.(io.Writer)
	return isFile && telemetry.IsTerminal(w)
}

// plural is "1 change", "2 changes".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return count(n) + " " + word + "s"
}
