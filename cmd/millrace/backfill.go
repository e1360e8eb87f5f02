package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/telemetry"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

func (p *program) backfill() *cobra.Command {
	var flags backfillFlags
	command := &cobra.Command{
		Use:     "backfill NAME [--start TIME] [--end TIME]",
		GroupID: groupWork,
		Short:   "Export a long past range, as a workflow of its own that gives way to live runs",
		Long: `Export the intervals of a past range that are not published yet. A workflow in Temporal does it,
one for each export at a time: it keeps a few runs under way, skips what is published, awaits what
runs, and goes on when a run fails. Its runs use slots of their own, and so leave those of live runs
alone. Both ends must be boundaries of the export's grid.

Without --start it begins with the earliest row of events. Without --end it goes on until it has
come to the present, where the schedule takes over: both cut time by the same grid, and what the one
has under way or done the other leaves alone.

--step has one run export several intervals at a time, which is cheap where history is long: a day
of an hourly export. It is a whole number of the export's intervals. What is published or under way
by shorter ones stays theirs, and is left out of the longer run; no row is exported twice.

--redo exports again what was published before now, as the next revision, which takes the place of
the one before it; it wants --start. --redo-before does so with what was published before a time,
and leaves alone what was published later: so a redo goes on that was ended.

--dry-run starts nothing, and estimates what its runs would read and write, as millrace estimate
does; with --redo as if nothing of it were published.

Ctrl-C stops following; the backfill goes on. Called again with the same range it is followed again.

What is under way is shown by --follow, with --json as one line of JSON for each change, and led by
--pause, --resume, --set-parallel and --cancel, the first and the last with a --note for others to
read. --cancel cancels its runs, too; what they had published stays.

Exit code 3 says that runs have failed. They are repeated by: millrace run NAME --failed`,
		Example: `  millrace backfill shop-events --start 2026-01-01T00:00:00Z --end 2026-11-01T00:00:00Z
  millrace backfill shop-events --newest-first --parallel 8 --detach
  millrace backfill shop-events --pause --note "the lake is being moved"`,
		Args: exactly(1, "the name of an export"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeExports(cmd.Context(), args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(cmd); err != nil {
				return err
			}
			if update, wish := flags.wish(cmd); update != "" {
				return p.controlBackfill(cmd.Context(), args[0], update, wish)
			}
			if flags.follow {
				return p.followBackfill(cmd.Context(), args[0])
			}
			redo, err := flags.again.redo(cmd, time.Now())
			if err != nil {
				return err
			}
			return p.startBackfill(cmd.Context(), args[0], flags, redo)
		},
	}
	set := command.Flags()
	set.StringVar(&flags.start, "start", "", "start of the range, an RFC 3339 `time`; the earliest row of events when left out")
	set.StringVar(&flags.end, "end", "", "end of the range, an RFC 3339 `time`; the present, as it moves on, when left out")
	set.StringVar(&flags.step, "step", "", "how long a `time` one run exports, such as 24h or 1w; one interval when left out")
	set.BoolVar(&flags.newestFirst, "newest-first", false, "begin with the latest interval")
	set.IntVar(&flags.parallel, "parallel", 0, fmt.Sprintf("how many runs are under way at once, up to %d (default %d)", export.MaxParallel, export.DefaultParallel))
	set.BoolVar(&flags.stopAtFailure, "stop-at-failure", false, "start nothing more once a run has failed")
	flags.again.add(set)
	set.BoolVar(&flags.dry, "dry-run", false, "start nothing, and estimate what its runs would read and write")
	set.BoolVar(&flags.detach, "detach", false, "start it and do not follow it")
	set.BoolVar(&flags.follow, "follow", false, "follow the backfill that is under way")
	set.BoolVar(&flags.pause, "pause", false, "have it start nothing more; what runs goes on")
	set.BoolVar(&flags.resume, "resume", false, "have it go on after a pause")
	set.IntVar(&flags.setParallel, "set-parallel", 0, "change how many runs are under way at once")
	set.BoolVar(&flags.cancel, "cancel", false, "end it, and cancel its runs")
	set.StringVar(&flags.note, "note", "", "who wants it, and why: shown in the UI beside --pause and --cancel")
	return command
}

func (p *program) startBackfill(ctx context.Context, name string, flags backfillFlags, redo *export.Redo) error {
	within, err := parseBounds(flags.start, flags.end)
	if err != nil {
		return err
	}
	var step export.Duration
	if flags.step != "" {
		if step, err = export.ParseDuration(flags.step); err != nil {
			return usagef("--step: %v", err)
		}
		if step == 0 {
			return usagef("--step: %q must be above zero; leave it out for one interval", flags.step)
		}
	}
	return p.withStarter(ctx, func(t *temporal, s *starter.Starter) error {
		definition, err := s.Definition(ctx, name)
		if err != nil {
			return err
		}
		if flags.dry {
			task := estimateTask(definition, within, false)
			task.Past, task.Step, task.Redo = true, step, redo != nil
			wanted := export.Backfill{Definition: definition, Parallel: flags.parallel}.WithDefaults()
			if err := wanted.ValidateParallel(wanted.Parallel); err != nil {
				return err
			}
			return p.estimateByWorker(ctx, s, task, wanted.Parallel)
		}
		wanted := export.Backfill{Definition: definition, Step: step, NewestFirst: flags.newestFirst, Parallel: flags.parallel, StopAtFailure: flags.stopAtFailure}
		if redo != nil {
			wanted.RedoBefore, wanted.RedoReason = &redo.Before, redo.Reason
		}
		if !within.Start.IsZero() {
			wanted.Start = &within.Start
		}
		if !within.End.IsZero() {
			wanted.End = &within.End
		}
		started, err := s.StartBackfill(ctx, wanted)
		if err != nil {
			return err
		}
		if started.Joined && flags.parallel != 0 && !p.json {
			p.tellParallel(ctx, s, name, flags.parallel)
		}
		if flags.detach {
			if p.json {
				return p.printJSON(struct {
					starter.Started
					Link string `json:"link,omitempty"`
				}{started, t.link(started.WorkflowID, started.RunID)})
			}
			how := "started"
			if started.Joined {
				how = "under way already"
			}
			fmt.Fprintf(p.out, "%s: workflow %s\nfollow it: millrace backfill %s --follow\n", how, started.WorkflowID, name)
			return nil
		}
		if link := t.link(started.WorkflowID, started.RunID); link != "" && !p.json {
			fmt.Fprintln(p.err, link)
		}
		return p.follow(ctx, s, name, false)
	})
}

// tellParallel says that a backfill which is under way already goes on with as many runs at once as it has.
func (p *program) tellParallel(ctx context.Context, s *starter.Starter, name string, wanted int) {
	status, err := s.Export(ctx, name, 1)
	if err == nil && status.Backfill != nil && status.Backfill.Progress != nil && status.Backfill.Progress.Parallel == wanted {
		return
	}
	printWrapped(p.err, fmt.Sprintf("note: the backfill is under way already, and --parallel %d does not change it: millrace backfill %s --set-parallel %[1]d", wanted, name))
}

func (p *program) followBackfill(ctx context.Context, name string) error {
	return p.withStarter(ctx, func(_ *temporal, s *starter.Starter) error { return p.follow(ctx, s, name, true) })
}

// told is what has to change for a program to be told of a backfill's progress again: the time alone does not.
func told(progress export.BackfillProgress) string {
	return fmt.Sprint(progress.State, progress.Parallel, progress.Intervals, progress.Published, progress.AlreadyDone, progress.Failed, progress.Running, progress.Note)
}

// follow shows a backfill until it has ended: one line that changes on a terminal, elsewhere a line whenever a tenth more
// is done or it stands otherwise. As JSON it is one value at the end, or with lines one on a line whenever anything has changed.
func (p *program) follow(ctx context.Context, s *starter.Starter, name string, lines bool) error {
	width, last, named := telemetry.Columns(p.err), "", p.json
	progress, err := s.FollowBackfill(ctx, name, func(progress export.BackfillProgress) {
		if !named {
			named = true
			printWrapped(p.err, fmt.Sprintf("backfill of %s, %s", name, progress.Span))
		}
		switch {
		case p.json && lines:
			if step := told(progress); step != last {
				last = step
				p.printJSONLine(progress)
			}
		case p.json:
		case width > 0:
			fmt.Fprintf(p.err, "\r\x1b[K%s", backfillLineWithin(progress, width))
		default:
			if step := fmt.Sprint(progress.State, progress.Parallel, progress.Failed, 10*progress.Settled()/max(1, progress.Intervals)); step != last {
				last = step
				fmt.Fprintln(p.err, backfillLine(progress))
			}
		}
	})
	if width > 0 && !p.json {
		fmt.Fprint(p.err, "\r\x1b[K")
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: the backfill goes on without us; see `millrace backfill %s --follow`", context.Cause(ctx), name)
	}
	var classified *export.Error
	if err != nil && (!errors.As(err, &classified) || progress.Export == "") {
		return err
	}
	if p.json && lines {
		p.printJSONLine(progress)
	} else if printed := p.printBackfill(progress); printed != nil {
		return printed
	}
	if err != nil {
		return negative{err.Error()}
	}
	return nil
}

func (p *program) controlBackfill(ctx context.Context, name, update string, wish workflows.Wish) error {
	return p.withStarter(ctx, func(_ *temporal, s *starter.Starter) error {
		progress, err := s.ControlBackfill(ctx, name, update, wish)
		if err != nil {
			return err
		}
		if p.json {
			return p.printJSON(progress)
		}
		fmt.Fprintln(p.out, backfillLine(progress))
		return nil
	})
}

// printBackfill prints how a backfill has ended.
func (p *program) printBackfill(progress export.BackfillProgress) error {
	if p.json {
		return p.printJSON(progress)
	}
	printTable(p.out, []string{"INTERVALS", "PUBLISHED", "BEFORE", "FAILED", "NOT DONE", "ROWS", "BYTES", "TOOK"}, [][]string{{
		count(progress.Intervals), count(progress.Published), count(progress.AlreadyDone), count(progress.Failed), count(progress.Intervals - progress.Settled()),
		count(progress.Rows), size(progress.Bytes), progress.Updated.Sub(progress.Started).Round(time.Second).String(),
	}})
	var kinds []export.Kind
	for _, failure := range progress.Failures {
		fmt.Fprintf(p.out, "%s failed: %s: %s\n", failure.Interval, failure.Kind, failure.Error)
		kinds = append(kinds, failure.Kind)
	}
	if more := progress.Failed - len(progress.Failures); more > 0 {
		fmt.Fprintf(p.out, "and %s more; all of them: millrace runs %s --failed\n", count(more), progress.Export)
	}
	p.printRunbooks(kinds)
	return nil
}
