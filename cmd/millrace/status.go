package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/starter"
)

// statusAnswer is the answer of status.
type statusAnswer struct {
	Exports []starter.ExportStatus `json:"exports"`
	// Watermark is given when ClickHouse's addresses are in the environment.
	Watermark *watermarkStatus `json:"watermark,omitempty"`
}

type watermarkStatus struct {
	// At is the arrival time up to which ClickHouse is complete; nil while a partition has promised nothing yet.
	At *time.Time `json:"at,omitempty"`
	// Behind is how far that is before ClickHouse's clock, in seconds.
	Behind float64 `json:"behind_seconds,omitempty"`
	HeldBy string  `json:"held_by,omitempty"`
	Reason string  `json:"reason,omitempty"`
}

func (p *program) status() *cobra.Command {
	var limit int
	command := &cobra.Command{
		Use:     "status [NAME]",
		GroupID: groupWork,
		Short:   "Show how exports stand, or one export's latest runs",
		Long: `Show how all exports stand, or one of them with its latest runs: when the next is due, how many are
under way, how the last ones ended. Schedules that lose intervals are warned of. Where ClickHouse's
addresses are in the environment, the watermark is shown as well: runs wait for it.`,
		Example: `  millrace status
  millrace status shop-events --limit 20
  millrace status --json`,
		Args: atMostOne("the name of an export"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeExports(cmd.Context(), args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 || limit > 1000 {
				return usagef("--limit: %d must be from 1 to 1000", limit)
			}
			var answer statusAnswer
			err := p.withStarter(cmd.Context(), func(_ *temporal, s *starter.Starter) (err error) {
				if len(args) == 0 {
					answer.Exports, err = s.Exports(cmd.Context(), 1)
					return err
				}
				if _, err := s.Definition(cmd.Context(), args[0]); err != nil {
					return err
				}
				one, err := s.Export(cmd.Context(), args[0], limit)
				answer.Exports = []starter.ExportStatus{one}
				return err
			})
			if err != nil {
				return err
			}
			if answer.Watermark, err = readWatermark(cmd.Context()); err != nil {
				// How exports stand is worth telling also while ClickHouse is away.
				answer.Watermark = &watermarkStatus{Reason: err.Error()}
			}
			if p.json {
				return p.printJSON(answer)
			}
			p.printStatus(answer, len(args) == 1)
			return nil
		},
	}
	command.Flags().IntVar(&limit, "limit", 10, "how many runs of one export to show")
	return command
}

// readWatermark asks ClickHouse, if the environment says where it is.
func readWatermark(ctx context.Context) (*watermarkStatus, error) {
	env, err := config.ReadEnvironment()
	if err != nil {
		return nil, err
	}
	if env.Need(config.VarClickHouseURL, config.VarClickHouseHTTPURL) != nil {
		return nil, nil
	}
	store, err := openStore(ctx, env)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	mark, err := store.Watermark(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the watermark: %w", err)
	}
	now, err := store.Now(ctx)
	if err != nil {
		return nil, fmt.Errorf("read ClickHouse's clock: %w", err)
	}
	status := &watermarkStatus{HeldBy: mark.HeldBy, Reason: mark.Reason}
	if mark.Complete {
		status.At, status.Behind = &mark.At, max(0, now.Sub(mark.At).Seconds())
	}
	return status, nil
}

func (p *program) printStatus(answer statusAnswer, single bool) {
	if mark := answer.Watermark; mark != nil {
		if mark.At != nil {
			fmt.Fprintf(p.out, "watermark %s, %.1f s behind\n\n", clock(*mark.At), mark.Behind)
		} else {
			fmt.Fprintf(p.out, "no watermark yet: %s\n\n", mark.Reason)
		}
	}
	if len(answer.Exports) == 0 {
		fmt.Fprintln(p.out, "There are no exports yet: make some with `millrace apply -f millrace.yaml`.")
		return
	}
	var rows [][]string
	for _, export := range answer.Exports {
		last := "-"
		if len(export.Last) > 0 {
			run := export.Last[0]
			last = strings.ToLower(run.Status) + " " + clock(run.End)
		}
		definition := export.Definition
		rows = append(rows, []string{
			definition.Name, definition.Every.String(), definition.Team.String(),
			definition.Destination + ":" + definition.Connection, nextDue(export), count(export.Running), last,
		})
	}
	printTable(p.out, []string{"EXPORT", "EVERY", "TEAM", "TO", "NEXT", "RUNNING", "LAST"}, rows)
	if single {
		fmt.Fprintln(p.out)
		p.printLastRuns(answer.Exports[0])
	}
	for _, export := range answer.Exports {
		for _, warning := range export.Warnings {
			fmt.Fprintf(p.err, "warning: export %s: %s\n", export.Definition.Name, warning)
		}
	}
}

func nextDue(export starter.ExportStatus) string {
	switch {
	case export.Paused && export.Note != "":
		return "paused (" + cut(export.Note, 24) + ")"
	case export.Paused:
		return "paused"
	case export.Next == nil:
		return "-"
	}
	return clock(*export.Next)
}

func (p *program) printLastRuns(status starter.ExportStatus) {
	if len(status.Last) == 0 {
		fmt.Fprintln(p.out, "There were no runs yet.")
		return
	}
	var rows [][]string
	var kinds []export.Kind
	for _, run := range status.Last {
		kinds = append(kinds, run.ErrorKind)
		took := "-"
		if run.Closed != nil {
			took = run.Closed.Sub(run.Started).Round(time.Second / 10).String()
		}
		rows = append(rows, []string{clock(run.End), strings.ToLower(run.Status), string(run.ErrorKind), clock(run.Started), took, run.WorkflowID})
	}
	printTable(p.out, []string{"INTERVAL END", "STATUS", "ERROR", "STARTED", "TOOK", "WORKFLOW"}, rows)
	p.printRunbooks(kinds)
}
