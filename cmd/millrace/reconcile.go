package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/telemetry"
	"github.com/millrace/millrace/starter"
)

// reconcileFlags are the flags of reconcile.
type reconcileFlags struct {
	start, end string
	sample     int
	all        bool
	fill       bool
	revise     bool
	leftovers  bool
	remove     bool
	after      string
}

func (p *program) reconcile() *cobra.Command {
	var flags reconcileFlags
	command := &cobra.Command{
		Use:     "reconcile NAME [--start TIME] [--end TIME]",
		GroupID: groupWork,
		Short:   "Tell where every interval stands, and compare published runs with what there is now",
		Long: `Tell of every interval since the export began whether it is proved, running, waiting, paused, failed
or missing, by the ledger, the runs that are under way, and the schedule. What the ledger does not
know is looked up at the destination: a run that is published there is written into the ledger
again, from its manifest, and nothing else is written unless you ask for it.

Some published runs are also compared: their rows in ClickHouse, counted and hashed again, with what
the ledger says (drift), and what lies at the destination with its manifest (altered, removed). Ten
are, spread over the range and others every day, unless --sample or --all says otherwise. Workers do
it, in a workflow, after live runs.

Without --start it begins with the first published run in the ledger, without --end it ends with the
last interval that has ended. Both must be boundaries of the export's grid.

--fill starts a backfill from the first to the last interval that is missing or has failed. It skips
what is published.

--revise exports again, as the next revision, each run that was found not to be what it was, and
waits for it. Readers see the former revision until then. What was found of it is kept as the reason
in the plan, the manifest and the ledger.

--leftovers counts finished files that no manifest of a published revision names and nobody is at
work on: of revisions that were closed, and of plans that were given up. --remove removes them,
after it has closed their revision, so that nobody can publish it later. Both leave alone what is
younger than --remove-after. In a database what is left over are staging tables.

Of a long range it takes minutes; how far it is shows on a terminal, and in the current details of
its workflow. Ctrl-C cancels it, unlike a run or a backfill; a backfill that --fill has started goes
on.

Exit code 3 says that an interval is missing or has failed, or that a run is not what it was and was
not healed. The answer names the commands that mend it.`,
		Example: `  millrace reconcile shop-events
  millrace reconcile shop-events --start 2026-11-01T00:00:00Z --end 2026-11-23T00:00:00Z --all
  millrace reconcile shop-events --fill --all --revise`,
		Args: exactly(1, "the name of an export"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeExports(cmd.Context(), args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.contradict(cmd.Flags().Changed); err != nil {
				return err
			}
			return p.reconcileExport(cmd.Context(), args[0], flags)
		},
	}
	set := command.Flags()
	set.StringVar(&flags.start, "start", "", "start of the range, an RFC 3339 `time`; the first published run when left out")
	set.StringVar(&flags.end, "end", "", "end of the range, an RFC 3339 `time`; the last interval that has ended when left out")
	set.IntVar(&flags.sample, "sample", export.DefaultCompared, fmt.Sprintf("how many published runs are compared, up to %d; 0 compares none", export.MaxCompared))
	set.BoolVar(&flags.all, "all", false, fmt.Sprintf("compare all published runs of the range, up to %d", export.MaxCompared))
	set.BoolVar(&flags.fill, "fill", false, "start a backfill over what is missing and what has failed")
	set.BoolVar(&flags.revise, "revise", false, "export again, as the next revision, what is not what it was")
	set.BoolVar(&flags.leftovers, "leftovers", false, "count finished files that no manifest names")
	set.BoolVar(&flags.remove, "remove", false, "remove them")
	set.StringVar(&flags.after, "remove-after", export.DefaultRemoveAfter.String(), "how old they must be, at least 1h")
	return command
}

// contradict says which flags make no sense together, given those that were given.
func (f reconcileFlags) contradict(given func(string) bool) error {
	switch {
	case f.all && given("sample"):
		return usagef("--all compares all published runs, and --sample %d so many: give one of them", f.sample)
	case f.revise && f.sample == 0 && !f.all:
		return usagef("--revise exports again what is found not to be what it was, and --sample 0 compares nothing: give --all, or a greater --sample")
	case given("remove-after") && !f.leftovers && !f.remove:
		return usagef("--remove-after says how old leftovers must be: give --leftovers or --remove with it")
	}
	return nil
}

// ofCancelled adds to a signal that the reconciliation does not go on without the command, as a run or a backfill does.
func ofCancelled(err error) error {
	var signal stopped
	if !errors.As(err, &signal) {
		return err
	}
	return fmt.Errorf("%w: the reconciliation is cancelled; what it has written into the ledger and exported again stays", err)
}

func (p *program) reconcileExport(ctx context.Context, name string, flags reconcileFlags) error {
	within, err := parseBounds(flags.start, flags.end)
	if err != nil {
		return err
	}
	return p.withStarter(ctx, func(_ *temporal, s *starter.Starter) error {
		definition, err := s.Definition(ctx, name)
		if err != nil {
			return err
		}
		task := export.ReconcileTask{Definition: definition, Sample: &flags.sample, All: flags.all, Fill: flags.fill, Revise: flags.revise, Leftovers: flags.leftovers, Remove: flags.remove}
		if task.RemoveAfter, err = export.ParseDuration(flags.after); err != nil {
			return usagef("--remove-after: %s", err)
		}
		if !within.Start.IsZero() {
			task.Start = &within.Start
		}
		if !within.End.IsZero() {
			task.End = &within.End
		}
		report, err := p.followReconcile(ctx, s, task)
		if err != nil {
			return ofCancelled(err)
		}
		if p.json {
			if err := p.printJSON(report); err != nil {
				return err
			}
			return reconciledWell(report)
		}
		p.printReconciled(task, report)
		p.printRemedies(task, report)
		return reconciledWell(report)
	})
}

// followReconcile shows on a terminal how far it is, on a line that changes. Elsewhere nothing is shown before the end.
func (p *program) followReconcile(ctx context.Context, s *starter.Starter, task export.ReconcileTask) (export.ReconcileReport, error) {
	width := telemetry.Columns(p.err)
	if width == 0 || p.json {
		return s.Reconcile(ctx, task)
	}
	defer fmt.Fprint(p.err, "\r\x1b[K")
	return s.FollowReconcile(ctx, task, func(sofar export.ReconcileReport) {
		fmt.Fprintf(p.err, "\r\x1b[K%s", cut(reconcileLine(sofar), width))
	})
}

// reconcileLine says in a line how far a reconciliation is.
func reconcileLine(sofar export.ReconcileReport) string {
	seen := 0
	for _, count := range sofar.States {
		seen += count
	}
	line := fmt.Sprintf("looked at %s of %s", count(seen), plural(sofar.Intervals, "interval"))
	if holes := sofar.States[export.StateMissing] + sofar.States[export.StateFailed]; holes > 0 {
		line += fmt.Sprintf(" · %s missing or failed", count(holes))
	}
	if sofar.Compared > 0 {
		line += fmt.Sprintf(" · %s compared", plural(sofar.Compared, "run"))
	}
	if sofar.ChangedRuns > 0 {
		line += fmt.Sprintf(" · %s not what they were, %s healed", count(sofar.ChangedRuns), count(sofar.Healed))
	}
	return line
}
