package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/export"
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

Exit code 3 says that an interval is missing or has failed, or that a run is not what it was and was
not healed.`,
		Example: `  millrace reconcile shop-events
  millrace reconcile shop-events --start 2026-11-01T00:00:00Z --end 2026-11-23T00:00:00Z --all
  millrace reconcile shop-events --fill --all --revise`,
		Args: exactly(1, "the name of an export"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeExports(cmd.Context(), args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return p.reconcileExport(cmd.Context(), args[0], flags) },
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
	command.MarkFlagsMutuallyExclusive("sample", "all")
	return command
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
		report, err := s.Reconcile(ctx, task)
		if err != nil {
			return err
		}
		if !p.json {
			p.printReconciled(report)
		}
		return p.answerReconciled(report)
	})
}

// answerReconciled says what is being done about it, and answers no when something is not as it should be.
func (p *program) answerReconciled(answer export.ReconcileReport) error {
	holes := answer.Holes
	switch {
	case p.json:
		if err := p.printJSON(answer); err != nil {
			return err
		}
	case answer.Filling != nil && answer.Filling.Note != "":
		fmt.Fprintf(p.out, "not filling %s: %s\n", holes, answer.Filling.Note)
	case answer.Filling != nil:
		fmt.Fprintf(p.out, "filling %s: follow it by millrace backfill %s --follow\n", holes, answer.Export)
	case holes != nil:
		fmt.Fprintf(p.out, "to fill it: millrace backfill %s --start %s --end %s\n", answer.Export, clock(holes.Start), clock(holes.End))
	}
	if answer.Whole() {
		return nil
	}
	var bad []string
	for _, state := range export.IntervalStates() {
		if count := answer.States[state]; state.Hole() && count > 0 {
			bad = append(bad, fmt.Sprintf("%s %s", plural(count, "interval"), state))
		}
	}
	for _, change := range export.Changes() {
		if count := answer.Changed[change]; change != export.ChangeUntold && count > 0 {
			bad = append(bad, fmt.Sprintf("%s with %s", plural(count, "run"), change))
		}
	}
	if answer.Healed > 0 {
		bad = append(bad, fmt.Sprintf("%d healed", answer.Healed))
	}
	return negative{strings.Join(bad, ", ")}
}

// printReconciled prints a line for each state and change, and what is not as it should be.
func (p *program) printReconciled(report export.ReconcileReport) {
	fmt.Fprintf(p.out, "%s, %s: %s\n", report.Export, report.Span, plural(report.Intervals, "interval"))
	lines := [][]string{}
	for _, state := range export.IntervalStates() {
		if intervals := report.States[state]; intervals > 0 || state == export.StateProved {
			lines = append(lines, []string{string(state), count(intervals)})
		}
	}
	lines = append(lines, []string{"record restored", count(report.Restored)}, []string{"compared", fmt.Sprintf("%s of %s", count(report.Compared), plural(report.Published, "published run"))})
	for _, change := range export.Changes() {
		if change != export.ChangeUntold || report.Changed[change] > 0 {
			lines = append(lines, []string{string(change), count(report.Changed[change])})
		}
	}
	if len(report.Revisions) > 0 {
		lines = append(lines, []string{"healed", count(report.Healed)})
	}
	printTable(p.out, []string{"STATE", "COUNT"}, lines)
	var kinds []export.Kind
	for _, standing := range report.Standings {
		fmt.Fprintf(p.out, "%s %s", standing.Interval, standing.State)
		if why := strings.Join(strings.Fields(standing.Why), " "); why != "" {
			fmt.Fprintf(p.out, ": %s", why)
		}
		fmt.Fprintln(p.out)
		kinds = append(kinds, standing.Kind)
	}
	if more := report.Intervals - report.States[export.StateProved] - len(report.Standings); more > 0 {
		fmt.Fprintf(p.out, "and %s more\n", plural(more, "interval"))
	}
	for _, run := range report.Records {
		fmt.Fprintf(p.out, "%s record restored\n", run.Interval)
	}
	if more := report.Restored - len(report.Records); more > 0 {
		fmt.Fprintf(p.out, "and %s more restored\n", plural(more, "record"))
	}
	for _, finding := range report.Findings {
		fmt.Fprintf(p.out, "%s: %s\n", finding.Change, finding.What)
	}
	for _, revision := range report.Revisions {
		kinds = append(kinds, revision.Kind)
		if revision.Error != "" {
			fmt.Fprintf(p.out, "%s not healed: %s: %s\n", revision.Run.Interval, revision.Kind, strings.Join(strings.Fields(revision.Error), " "))
			continue
		}
		fmt.Fprintf(p.out, "%s healed: revision %d has %s rows\n", revision.Run.Interval, revision.Revision, count(revision.Rows))
	}
	if left := report.Leftovers; left != nil {
		fmt.Fprintf(p.out, "left over: %s, %s", plural(left.Found, "chunk"), size(left.Bytes))
		switch {
		case left.Removed > 0:
			fmt.Fprintf(p.out, "; %s removed\n", count(left.Removed))
		case left.Found > 0:
			fmt.Fprintln(p.out, "; --remove removes them")
		default:
			fmt.Fprintln(p.out)
		}
		for _, name := range left.Listed {
			fmt.Fprintf(p.out, "left over: %s\n", name)
		}
	}
	if more := report.ChangedRuns - len(report.Revisions); len(report.Revisions) > 0 && more > 0 {
		fmt.Fprintf(p.out, "and %s more, %d healed in all\n", plural(more, "run"), report.Healed)
	}
	p.printRunbooks(kinds)
}
