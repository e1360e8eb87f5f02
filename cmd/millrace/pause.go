package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/starter"
)

// pauseAnswer is the answer of pause and resume.
type pauseAnswer struct {
	Export string     `json:"export"`
	Paused bool       `json:"paused"`
	Note   string     `json:"note,omitempty"`
	By     string     `json:"by,omitempty"`
	Since  *time.Time `json:"since,omitempty"`
	// Missed is the time whose intervals fell due in the pause that has ended and were not started.
	Missed *export.Interval `json:"missed,omitempty"`
	// Backfill is the workflow that fills it, with --fill.
	Backfill string `json:"backfill,omitempty"`
}

func answerOf(name string, paused bool, pause export.Pause) pauseAnswer {
	answer := pauseAnswer{Export: name, Paused: paused, Note: pause.Note, By: pause.By}
	if !pause.Since.IsZero() {
		answer.Since = &pause.Since
	}
	return answer
}

func (p *program) pause() *cobra.Command {
	var note string
	command := &cobra.Command{
		Use:     "pause NAME --note WHY",
		GroupID: groupWork,
		Short:   "Have an export start nothing more, with a note for others to read",
		Long: `Pause the schedule of an export: it starts nothing until it is resumed. Runs that are under way go
on, and so does a backfill. What falls due meanwhile is started by nobody, also not afterwards:
millrace resume says what that was, and how to fill it.

The note stands, with who paused and when, in millrace status, in the Temporal UI and in temporal
schedule describe. millrace apply leaves a pause as it is. Exit code 3 says that the export is
paused already.`,
		Example: `  millrace pause shop-events --note "the bucket moves"`,
		Args:    exactly(1, "the name of an export"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeExports(cmd.Context(), args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(note) == "" {
				return usagef("--note is missing: say why, for whoever finds the export paused, such as --note \"the bucket moves\"")
			}
			return p.withStarter(cmd.Context(), func(_ *temporal, s *starter.Starter) error {
				pause, changed, err := s.Pause(cmd.Context(), args[0], export.Pause{Note: note, By: operator(), Since: time.Now()})
				switch {
				case err != nil:
					return err
				case p.json && changed:
					return p.printJSON(answerOf(args[0], true, pause))
				case !changed:
					return negative{fmt.Sprintf("%s is paused already: %s", args[0], pause)}
				}
				fmt.Fprintf(p.out, "%s is paused: %s\n", args[0], pause)
				return p.tellRunning(cmd.Context(), s, args[0])
			})
		},
	}
	command.Flags().StringVar(&note, "note", "", "`why`, for whoever finds the export paused")
	return command
}

// tellRunning says what goes on in spite of a pause.
func (p *program) tellRunning(ctx context.Context, s *starter.Starter, name string) error {
	status, err := s.Export(ctx, name, 1)
	if err != nil {
		return err
	}
	if status.Running > 0 {
		fmt.Fprintf(p.out, "%s under way, and not stopped by this\n", are(status.Running, "run"))
	}
	if status.Backfill != nil {
		fmt.Fprintf(p.out, "a backfill goes on, and is paused by: millrace backfill %s --pause\n", name)
	}
	return nil
}

// are is "1 run is", "2 runs are".
func are(n int, word string) string {
	if n == 1 {
		return plural(n, word) + " is"
	}
	return plural(n, word) + " are"
}

func (p *program) resume() *cobra.Command {
	var fill bool
	command := &cobra.Command{
		Use:     "resume NAME [--fill]",
		GroupID: groupWork,
		Short:   "Have a paused export go on, and say what the pause left out",
		Long: `Resume the schedule of an export that is paused: it starts what falls due from now on. What fell due
in the pause is not started. If the export was paused by millrace pause, it is known what that was:
the answer names the range, and the command that fills it, which --fill gives at once. If Millrace
paused it, because its runs failed and only its user could mend that, the range begins with the
first that failed. Exit code 3 says that it was not paused, or that --fill started nothing, for
another backfill is under way.`,
		Example: `  millrace resume shop-events
  millrace resume shop-events --fill`,
		Args: exactly(1, "the name of an export"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeExports(cmd.Context(), args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withStarter(cmd.Context(), func(_ *temporal, s *starter.Starter) error {
				resumed, changed, err := s.Resume(cmd.Context(), args[0], operator())
				switch {
				case err != nil:
					return err
				case !changed:
					return negative{fmt.Sprintf("%s is not paused", args[0])}
				}
				answer := answerOf(args[0], false, resumed.Pause)
				answer.Missed = resumed.Missed
				var other *starter.OtherBackfillError
				if fill && resumed.Missed != nil {
					answer.Backfill, err = fillMissed(cmd.Context(), s, args[0], *resumed.Missed)
					if err != nil && !errors.As(err, &other) {
						return fmt.Errorf("%s goes on, but what fell due in the pause is not filled: %w; fill it: millrace backfill %s --start %s --end %s",
							args[0], err, args[0], clock(resumed.Missed.Start), clock(resumed.Missed.End))
					}
				}
				if p.json {
					if err := p.printJSON(answer); err != nil {
						return err
					}
				} else {
					p.printResumed(args[0], resumed, answer.Backfill)
				}
				if other != nil {
					return negative{fmt.Sprintf("it is not filled now, for another backfill is under way: fill it when that has ended, which `millrace backfill %s --follow` shows", args[0])}
				}
				return nil
			})
		},
	}
	command.Flags().BoolVar(&fill, "fill", false, "start a backfill of what fell due in the pause")
	return command
}

// fillMissed starts a backfill of what fell due in a pause, and gives its workflow's id.
func fillMissed(ctx context.Context, s *starter.Starter, name string, missed export.Interval) (string, error) {
	definition, err := s.Definition(ctx, name)
	if err != nil {
		return "", err
	}
	started, err := s.StartBackfill(ctx, export.Backfill{Definition: definition, Start: &missed.Start, End: &missed.End})
	return started.WorkflowID, err
}

func (p *program) printResumed(name string, resumed starter.Resumed, backfill string) {
	fmt.Fprintf(p.out, "%s goes on. It was paused: %s\n", name, resumed.Pause)
	switch missed := resumed.Missed; {
	case backfill != "":
		fmt.Fprintf(p.out, "What fell due from %s to %s is looked through, and filled where it is missing, by workflow %s:\n  millrace backfill %s --follow\n", clock(missed.Start), clock(missed.End), backfill, name)
	case missed != nil:
		what := "What fell due meanwhile was not started."
		if !resumed.Pause.From.IsZero() {
			what = "What failed before, and what fell due meanwhile, is not exported."
		}
		fmt.Fprintf(p.out, what+" To fill it:\n  millrace backfill %s --start %s --end %s\n", name, clock(missed.Start), clock(missed.End))
	case resumed.Pause.Since.IsZero():
		fmt.Fprintf(p.out, "Since when is not known. What fell due meanwhile was not started; this finds and fills what is missing:\n  millrace reconcile %s --fill\n", name)
	default:
		fmt.Fprintln(p.out, "Nothing fell due meanwhile.")
	}
}

// operator is who acts, for others to read: user and machine.
func operator() string {
	name, host := "somebody", "an unknown machine"
	if found, err := user.Current(); err == nil {
		name = found.Username
	}
	if found, err := os.Hostname(); err == nil {
		host = found
	}
	return name + "@" + host
}
