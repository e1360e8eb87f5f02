package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/starter"
)

// maxIntervals bounds one call of run; more than that is a backfill.
const maxIntervals = 1000

// runResult is one interval of a call of run.
type runResult struct {
	starter.Started
	Link string `json:"link,omitempty"`
	// Repeats is the failure that --failed found in the ledger, and which this run is to mend.
	Repeats *failedRun      `json:"repeats,omitempty"`
	Outcome *export.Outcome `json:"outcome,omitempty"`
	Error   string          `json:"error,omitempty"`
	Kind    export.Kind     `json:"error_kind,omitempty"`
}

func (p *program) run() *cobra.Command {
	var start, end string
	var parallel int
	var detach, failed, dry bool
	var again redoFlags
	command := &cobra.Command{
		Use:     "run NAME {--start TIME --end TIME [--redo | --dry-run] | --failed}",
		GroupID: groupWork,
		Short:   "Export whole intervals now, or what failed again, and follow",
		Long: `Export the intervals of a past range now: one run for each interval of the export's own grid. Both
ends must be boundaries of the grid. A run that is under way already is joined, and one that was
published already ends as already_done: nothing is written twice.

--failed repeats what failed: by the ledger, each interval whose last run failed and that is not
published. It works by the export's definition of today. --start and --end, or one of them, narrow
it. The ledger is a table in ClickHouse, whose addresses must be in the environment. What people
cancelled has not failed. To see what it would repeat: millrace runs NAME --failed

--redo exports again what is published, as the next revision, which takes the place of the one
before it at the moment it is published. It is for rows that have changed since, or a definition
that has. An interval that a longer run has is exported again with all of that run. --redo-before
does so with what was published before a time, and leaves alone what was published later: a redo
that was broken off is gone on with by the time it was begun at.

--dry-run starts nothing, and estimates what the runs would read and write, as millrace estimate
does; with --redo as if nothing of it were published.

Ctrl-C stops following; the runs go on. For long ranges: millrace backfill`,
		Example: `  millrace run shop-events --start 2026-11-23T10:00:00Z --end 2026-11-23T12:00:00Z
  millrace run shop-events --failed`,
		Args: exactly(1, "the name of an export"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeExports(cmd.Context(), args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if parallel < 1 {
				return usagef("--parallel: %d must be at least 1", parallel)
			}
			switch {
			case dry && failed:
				return usagef("--dry-run estimates a range, and --failed has none: `millrace runs %s --failed` lists what --failed would repeat", args[0])
			case dry && detach:
				return usagef("--dry-run starts nothing that --detach could leave alone: give one of them")
			}
			redo, err := again.redo(cmd, time.Now())
			if err != nil {
				return err
			}
			switch {
			case redo != nil && failed:
				return usagef("--redo exports again what is published, and --failed what is not: give one of them")
			case again.before != "" && dry:
				return usagef("%s", noForetold)
			}
			if failed {
				within, err := parseBounds(start, end)
				if err != nil {
					return err
				}
				return p.runFailed(cmd.Context(), args[0], within, parallel, detach)
			}
			span, err := parseSpan(start, end)
			if err != nil {
				return err
			}
			return p.withStarter(cmd.Context(), func(t *temporal, s *starter.Starter) error {
				definition, err := s.Definition(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if span.Length()/maxIntervals > time.Duration(definition.Every) {
					return usagef("%[1]s to %[2]s has more than %[3]s intervals of %[4]s, which is what one call takes: use `millrace backfill %[5]s --start %[1]s --end %[2]s`",
						clock(span.Start), clock(span.End), count(maxIntervals), definition.Every, args[0])
				}
				intervals, err := starter.Intervals(definition, span)
				if err != nil {
					return err
				}
				if dry {
					task := estimateTask(definition, span, false)
					task.Redo = redo != nil
					return p.estimateByWorker(cmd.Context(), s, task, parallel)
				}
				return p.runIntervals(cmd.Context(), t, s, runOrder{definition: definition, intervals: intervals, parallel: parallel, detach: detach, redo: redo})
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&start, "start", "", "start of the range, an RFC 3339 `time`")
	flags.StringVar(&end, "end", "", "end of the range, an RFC 3339 `time`")
	flags.IntVar(&parallel, "parallel", 4, "how many runs are under way at once")
	flags.BoolVar(&failed, "failed", false, "repeat the intervals whose last run failed, instead of a range")
	again.add(flags)
	flags.BoolVar(&dry, "dry-run", false, "start nothing, and estimate what the runs would read and write")
	flags.BoolVar(&detach, "detach", false, "start all runs and do not follow them")
	return command
}

func parseSpan(start, end string) (export.Interval, error) {
	for _, given := range []struct{ flag, text string }{{"--start", start}, {"--end", end}} {
		if given.text == "" {
			return export.Interval{}, usagef("%s is missing: give an RFC 3339 time, such as %s 2026-11-23T10:00:00Z", given.flag, given.flag)
		}
	}
	return parseBounds(start, end)
}

// parseBounds reads a range of which either end may be left out, and is then zero.
func parseBounds(start, end string) (export.Interval, error) {
	var span export.Interval
	for _, given := range []struct {
		flag, text string
		into       *time.Time
	}{{"--start", start, &span.Start}, {"--end", end, &span.End}} {
		if given.text == "" {
			continue
		}
		parsed, err := time.Parse(time.RFC3339, given.text)
		if err != nil {
			return span, usagef("%s: %q is not an RFC 3339 time, such as 2026-11-23T10:00:00Z", given.flag, given.text)
		}
		*given.into = parsed.UTC()
	}
	if span.Start.IsZero() || span.End.IsZero() {
		return span, nil
	}
	return span, span.Validate()
}

// runOrder is what one call of run has to do.
type runOrder struct {
	definition export.Definition
	intervals  []export.Interval // oldest first
	parallel   int
	detach     bool
	redo       *export.Redo // nil leaves alone what is published
	// repeats has the failures that are to be mended, by the keys of their intervals.
	repeats map[string]*failedRun
}

// runIntervals starts a run for each interval, oldest first, a few at once, and follows them. When the way to Temporal
// breaks, nothing more is started.
func (p *program) runIntervals(ctx context.Context, t *temporal, s *starter.Starter, order runOrder) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	board := newProgressBoard(p, len(order.intervals))
	results := make([]runResult, len(order.intervals))
	next := make(chan int)
	var all sync.WaitGroup
	for range min(order.parallel, len(order.intervals)) {
		all.Go(func() {
			for i := range next {
				var err error
				if results[i], err = runOne(ctx, t, s, order, order.intervals[i], board); err != nil {
					stop(err) // the first one counts
				}
			}
		})
	}
	for i := 0; i < len(order.intervals) && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	all.Wait()
	board.close()

	begun := slices.DeleteFunc(results, func(r runResult) bool { return r.WorkflowID == "" })
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("%w: %s began and go on without us; see `millrace status %s`", err, plural(len(begun), "run"), order.definition.Name)
	}
	return p.printRuns(begun, order.detach)
}

func runOne(ctx context.Context, t *temporal, s *starter.Starter, order runOrder, interval export.Interval, board *progressBoard) (runResult, error) {
	started, err := s.Redo(ctx, order.definition, interval, order.redo)
	if err != nil {
		return runResult{}, err
	}
	result := runResult{Started: started, Link: t.link(started.WorkflowID, started.RunID), Repeats: order.repeats[interval.Key()]}
	if order.detach {
		return result, nil
	}
	board.print(interval, "started; waiting for a worker to take it up")
	outcome, err := s.Follow(ctx, started, board.tell(interval))
	switch {
	case ctx.Err() != nil:
		return result, context.Cause(ctx)
	case err != nil:
		var classified *export.Error
		if !errors.As(err, &classified) {
			return result, err // the way to Temporal broke, so it is not known how the run stands
		}
		result.Error, result.Kind = err.Error(), export.KindOf(err)
		board.done(interval, "failed")
	default:
		result.Outcome = &outcome
		board.done(interval, string(outcome.Status))
	}
	return result, nil
}

// printRuns prints a line for each interval. It answers no when a run failed.
func (p *program) printRuns(results []runResult, detached bool) error {
	failed := 0
	for _, result := range results {
		if result.Error != "" {
			failed++
		}
	}
	if p.json {
		if err := p.printJSON(results); err != nil {
			return err
		}
	} else {
		p.printRunTable(results, detached)
	}
	if failed > 0 {
		return negative{fmt.Sprintf("%d of %s failed", failed, plural(len(results), "run"))}
	}
	return nil
}

func (p *program) printRunTable(results []runResult, detached bool) {
	intervals := spansOf(results, func(result runResult) export.Interval { return result.Run.Interval })
	listed := table{detail: "DETAIL", columns: []column{
		intervals.column(), {header: "STATUS"}, {header: "ROWS"}, {header: "BYTES", spare: 1}, {header: "FILES", spare: 2},
	}}
	var kinds []export.Kind
	add := func(interval cell, detail string, others ...string) {
		listed.rows = append(listed.rows, tableRow{cells: append([]cell{interval}, cells(others...)...), detail: detail})
	}
	for _, result := range results {
		kinds = append(kinds, result.Kind)
		interval := intervals.cell(result.Run.Interval)
		switch {
		case detached:
			add(interval, result.WorkflowID, "started", "", "", "")
		case result.Error != "":
			add(interval, fmt.Sprintf("%s: %s", result.Kind, result.Error), "failed", "", "", "")
		default:
			o := result.Outcome
			detail := o.Manifest
			if o.Status == export.StatusAlreadyDone || o.Status == export.StatusSuperseded {
				detail = "by " + o.By.WorkflowID
			}
			add(interval, detail, string(o.Status), count(o.Rows), size(o.Bytes), count(o.Files))
		}
	}
	listed.print(p.out)
	p.printRunbooks(kinds)
	for _, result := range results {
		if result.Outcome != nil && result.Outcome.Note != "" {
			printWrapped(p.err, fmt.Sprintf("note: %s: %s", result.Run.Interval, result.Outcome.Note))
		}
		if longer := longerRun(result); longer != "" {
			printWrapped(p.err, longer)
		}
		if result.Link != "" && (result.Error != "" || len(results) == 1) {
			fmt.Fprintf(p.err, "%s\n", result.Link)
		}
	}
}

// longerRun says that a longer run was worked in the stead of the interval's own, or is empty.
func longerRun(result runResult) string {
	o := result.Outcome
	if o == nil || o.Status != export.StatusPublished || o.Run.Interval.Length() <= result.Run.Interval.Length() {
		return ""
	}
	return fmt.Sprintf("note: %s: it belongs to the longer run %s, which was exported whole", result.Run.Interval, o.Run.Interval)
}
