package main

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/export"
)

// printReconciled prints a line for each state and change, and what is not as it should be.
func (p *program) printReconciled(asked export.ReconcileTask, report export.ReconcileReport) {
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
	for _, stretch := range stretchesOf(report.Standings) {
		printWrapped(p.out, stretch.String())
		kinds = append(kinds, stretch.Kind)
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
		printWrapped(p.out, fmt.Sprintf("%s: %s", finding.Change, whatOf(finding.Run, finding.Chunk, finding.What)))
	}
	for _, revision := range report.Revisions {
		kinds = append(kinds, revision.Kind)
		if revision.Error != "" {
			printWrapped(p.out, fmt.Sprintf("%s not healed: %s: %s", revision.Run.Interval, revision.Kind, strings.Join(strings.Fields(revision.Error), " ")))
			continue
		}
		fmt.Fprintf(p.out, "%s healed: revision %d has %s rows\n", revision.Run.Interval, revision.Revision, count(revision.Rows))
	}
	if more := report.ChangedRuns - len(report.Revisions); len(report.Revisions) > 0 && more > 0 {
		fmt.Fprintf(p.out, "and %s more, %d healed in all\n", plural(more, "run"), report.Healed)
	}
	if left := report.Leftovers; left != nil {
		p.printLeftovers(asked.RemoveAfter, *left)
	}
	p.printRunbooks(kinds)
}

func (p *program) printLeftovers(after export.Duration, left export.Leftovers) {
	said := fmt.Sprintf("left over: %s, %s", plural(left.Found, "chunk"), size(left.Bytes))
	switch {
	case left.Removed > 0:
		said += fmt.Sprintf("; %s removed", count(left.Removed))
	case left.Found > 0:
		said += "; --remove removes them"
	}
	printWrapped(p.out, fmt.Sprintf("%s (what is younger than %s is left alone, and not counted)", said, after))
	for _, name := range left.Listed {
		fmt.Fprintf(p.out, "left over: %s\n", name)
	}
}

// stretch is intervals that follow one another and stand alike: one line for people.
type stretch struct {
	export.Standing
	intervals int
}

func stretchesOf(standings []export.Standing) []stretch {
	var made []stretch
	for _, standing := range standings {
		if at := len(made) - 1; at >= 0 {
			joined := made[at].Standing
			joined.Interval = standing.Interval
			if joined == standing && made[at].Interval.End.Equal(standing.Interval.Start) {
				made[at].Interval.End = standing.Interval.End
				made[at].intervals++
				continue
			}
		}
		made = append(made, stretch{standing, 1})
	}
	return made
}

func (s stretch) String() string {
	said := fmt.Sprintf("%s %s", s.Interval, s.State)
	if s.intervals > 1 {
		said += fmt.Sprintf(" (%s)", plural(s.intervals, "interval"))
	}
	if why := strings.Join(strings.Fields(s.Why), " "); why != "" {
		said += ": " + why
	}
	return said
}

// whatOf is what was found of a run, which it names, and so does many a sentence itself. Chunk -1 is for what is about none.
func whatOf(run export.Run, chunk int, what string) string {
	switch {
	case strings.HasPrefix(what, run.String()):
		return what
	case chunk >= 0:
		return fmt.Sprintf("%s, chunk %d: %s", run, chunk, what)
	}
	return fmt.Sprintf("%s: %s", run, what)
}

// printRemedies says what is being done about what was found, and what can be. Commands stay whole, to be copied.
func (p *program) printRemedies(asked export.ReconcileTask, report export.ReconcileReport) {
	holes := report.Holes
	switch {
	case report.Filling != nil && report.Filling.Note != "":
		fmt.Fprintf(p.out, "not filling %s: %s\n", holes, report.Filling.Note)
	case report.Filling != nil:
		fmt.Fprintf(p.out, "filling %s: follow it by millrace backfill %s --follow\n", holes, report.Export)
	case holes != nil:
		fmt.Fprintf(p.out, "to fill it: millrace backfill %s --start %s --end %s\n", report.Export, clock(holes.Start), clock(holes.End))
	}
	if paused := report.States[export.StatePaused]; asked.Fill && paused > 0 {
		fmt.Fprintf(p.out, "not filling what is paused, %s: to go on, and fill that: millrace resume %s --fill\n", plural(paused, "interval"), report.Export)
	}
	if report.ChangedRuns > report.Healed && !asked.Revise {
		var changed []export.Interval
		for _, finding := range report.Findings {
			if finding.Change != export.ChangeUntold {
				changed = append(changed, finding.Run.Interval)
			}
		}
		p.printRevise(report.Export, report.Span, report.Published, changed)
	}
}

// printRevise says how to export again what is not what it was: of the whole range where so many runs can be compared, and
// else from the first to the last that changed.
func (p *program) printRevise(name string, span export.Interval, runs int, changed []export.Interval) {
	if runs > export.MaxCompared && len(changed) > 0 {
		span = changed[0]
		for _, other := range changed {
			if other.End.After(span.End) {
				span.End = other.End
			}
		}
	}
	fmt.Fprintf(p.out, "to export again what is not what it was: millrace reconcile %s --start %s --end %s --all --revise\n", name, clock(span.Start), clock(span.End))
}

// changedWords are what follows a number of runs with a change.
var changedWords = map[export.Change]string{
	export.ChangeDrift: "with drift", export.ChangeAltered: "with something altered", export.ChangeRemoved: "with something removed",
}

// reconciledWell answers no when something is not as it should be.
func reconciledWell(report export.ReconcileReport) error {
	if report.Whole() {
		return nil
	}
	var bad []string
	for _, state := range export.IntervalStates() {
		if count := report.States[state]; state.Hole() && count > 0 {
			bad = append(bad, fmt.Sprintf("%s %s", plural(count, "interval"), state))
		}
	}
	for _, change := range export.Changes() {
		if count := report.Changed[change]; change != export.ChangeUntold && count > 0 {
			bad = append(bad, fmt.Sprintf("%s %s", plural(count, "run"), changedWords[change]))
		}
	}
	if report.Healed > 0 {
		bad = append(bad, fmt.Sprintf("%d healed", report.Healed))
	}
	return negative{strings.Join(bad, ", ")}
}
