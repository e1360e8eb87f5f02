package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/starter"
)

// statusAnswer is the answer of status.
type statusAnswer struct {
	Exports   []starter.ExportStatus `json:"exports"`
	Watermark watermarkStatus        `json:"watermark"`
	// Failing are the exports whose latest runs have all failed by what their users have to mend, by name.
	Failing map[string]failingStatus `json:"failing,omitempty"`

	file string // where exports may be defined
}

// failingStatus is since when an export fails, and when it is paused for it.
type failingStatus struct {
	export.Failing
	// PausesAt is when it is paused unless a run is published before; nil for never.
	PausesAt *time.Time `json:"pauses_at,omitempty"`
}

type watermarkStatus struct {
	// At is the arrival time up to which ClickHouse is complete; nil while a partition has promised nothing yet.
	At *time.Time `json:"at,omitempty"`
	// Behind is how far that is before ClickHouse's clock, in seconds.
	Behind float64 `json:"behind_seconds,omitempty"`
	HeldBy string  `json:"held_by,omitempty"`
	// Reason is why there is no time.
	Reason string `json:"reason,omitempty"`
	// Unknown tells that ClickHouse could not be asked, so that there may well be a watermark.
	Unknown bool `json:"unknown,omitempty"`
}

// String is a line for people.
func (w watermarkStatus) String() string {
	switch {
	case w.At != nil:
		return fmt.Sprintf("watermark %s, %.1f s behind", clock(*w.At), w.Behind)
	case w.Unknown:
		return "watermark not known: " + w.Reason
	}
	return "no watermark yet: " + w.Reason
}

func (p *program) status() *cobra.Command {
	var limit int
	command := &cobra.Command{
		Use:     "status [NAME]",
		GroupID: groupWork,
		Short:   "Show how exports stand, or one export's latest runs",
		Long: `Show how all exports stand, or one of them with its latest runs: when the next is due, how many are
under way, how the latest interval fared, what the oldest run waits for, and where a backfill
stands. Schedules that lose intervals, or have lost some, are warned of. Runs wait for the
watermark, which is shown as well; it is asked of ClickHouse, by the addresses in the environment.`,
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
				answer.file = s.File
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
				answer.Watermark = watermarkStatus{Reason: err.Error(), Unknown: true}
			} else if answer.Failing, err = readFailing(cmd.Context(), answer.Exports); err != nil {
				return err
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

// readFailing asks the ledger about the exports whose latest run has failed by a kind that pauses them, and that are not paused.
func readFailing(ctx context.Context, exports []starter.ExportStatus) (map[string]failingStatus, error) {
	exports = slices.DeleteFunc(slices.Clone(exports), func(one starter.ExportStatus) bool {
		return one.Paused || one.Latest == nil || !one.Latest.ErrorKind.PausesExport()
	})
	if len(exports) == 0 {
		return nil, nil
	}
	found := map[string]failingStatus{}
	err := readLedger(ctx, func(store *eventstore.Store) error {
		for _, one := range exports {
			failing, err := store.Failing(ctx, one.Definition.Name)
			if err != nil {
				return err
			}
			if failing.Since.IsZero() {
				continue
			}
			status := failingStatus{Failing: failing}
			at, pauses, err := failing.PausesAt(one.Definition, export.ParseResumed(one.Note))
			if err != nil {
				return err
			}
			if pauses {
				status.PausesAt = &at
			}
			found[one.Definition.Name] = status
		}
		return nil
	})
	return found, err
}

// String is a line for people, without the export's name.
func (f failingStatus) String() string {
	line := fmt.Sprintf("%s What to do: %s", f.Failing, f.Kind.Runbook())
	if f.PausesAt != nil {
		line += fmt.Sprintf("; unless a run succeeds it is paused at %s", clock(*f.PausesAt))
	}
	return line
}

// readWatermark asks ClickHouse.
func readWatermark(ctx context.Context) (status watermarkStatus, err error) {
	env, err := needs(config.VarClickHouseURL, config.VarClickHouseHTTPURL)
	if err != nil {
		return status, err
	}
	err = withStore(ctx, env, func(store *eventstore.Store) error {
		mark, err := store.Watermark(ctx)
		if err == nil {
			status, err = watermarkOf(ctx, env, store, mark)
		}
		return err
	})
	return status, err
}

// watermarkOf finds out how far a watermark is behind, and which topic it waits for.
func watermarkOf(ctx context.Context, env config.Environment, store *eventstore.Store, mark eventstore.Watermark) (watermarkStatus, error) {
	now, err := store.Now(ctx)
	if err != nil {
		return watermarkStatus{}, err
	}
	status := watermarkStatus{HeldBy: mark.HeldBy, Reason: mark.Reason}
	if mark.Complete {
		status.At, status.Behind = &mark.At, max(0, now.Sub(mark.At).Seconds())
	}
	if mark.Topic != "" {
		status.Reason += "; " + topicNamed(ctx, env, mark.Topic)
	}
	return status, nil
}

// topicNamed says which topic an id is of. ClickHouse has the ids alone, which Kafka knows.
func topicNamed(ctx context.Context, env config.Environment, id string) string {
	if len(env.KafkaBrokers) == 0 {
		return "its name is not known, for " + config.VarKafkaBrokers + " is not set"
	}
	topic, err := broker.Describe(ctx, brokerConfig(env))
	switch {
	case err != nil:
		return fmt.Sprintf("its name is not known: %v", err)
	case topic.ID != id:
		return fmt.Sprintf("it is not %s of today, which has the id %s: `millrace ingest retire --help` says how to leave a topic behind", topic.Name, topic.ID)
	}
	return "it is " + topic.Name
}

func (p *program) printStatus(answer statusAnswer, single bool) {
	printWrapped(p.out, answer.Watermark.String())
	fmt.Fprintln(p.out)
	if len(answer.Exports) == 0 {
		fmt.Fprintf(p.out, "There are no exports yet: make some with `millrace apply -f %s`.\n", answer.file)
		return
	}
	listed := table{columns: []column{{header: "EXPORT"}, {header: "EVERY", spare: 1}, {header: "TEAM", spare: 3}, {header: "TO", spare: 2}, {header: "NEXT"}, {header: "RUNNING"}, {header: "LAST"}}}
	for _, export := range answer.Exports {
		last := cell{text: "-"}
		if run := export.Latest; run != nil {
			status, end := strings.ToLower(run.Status)+" ", moment(run.End)
			last = cell{text: status + end.text, short: status + cmp.Or(end.short, end.text)}
		}
		definition := export.Definition
		listed.rows = append(listed.rows, tableRow{cells: []cell{
			{text: definition.Name}, {text: definition.Every.String()}, {text: definition.Team.String()},
			{text: definition.Destination + ":" + definition.Connection}, nextDue(export), {text: count(export.Running)}, last,
		}})
	}
	listed.print(p.out)
	for _, export := range answer.Exports {
		if export.Paused && export.Note != "" && !single {
			printWrapped(p.out, fmt.Sprintf("%s: %s", export.Definition.Name, whyPaused(export)))
		}
		for _, line := range underWay(export) {
			printWrapped(p.out, line)
		}
		if failing, fails := answer.Failing[export.Definition.Name]; fails {
			printWrapped(p.out, fmt.Sprintf("%s: %s", export.Definition.Name, failing))
		}
	}
	if single {
		fmt.Fprintln(p.out)
		if one := answer.Exports[0]; one.Paused {
			printWrapped(p.out, pausedLine(one))
			fmt.Fprintln(p.out)
		}
		p.printLastRuns(answer.Exports[0])
	}
	for _, export := range answer.Exports {
		for _, warning := range export.Warnings {
			printWrapped(p.err, fmt.Sprintf("warning: export %s: %s", export.Definition.Name, warning))
		}
	}
}

// underWay says what an export's oldest run waits for, and where its backfill stands.
func underWay(export starter.ExportStatus) (lines []string) {
	if waits := export.Waits; waits != nil {
		how := ", which is under way"
		if waits.Next != nil {
			how = ", the next at " + clock(*waits.Next)
		}
		lines = append(lines, fmt.Sprintf("%s: a run has waited since %s: %s: %s (attempt %s of %s%s)", export.Definition.Name, clock(waits.Since), waits.Kind, waits.Error, count(waits.Attempt), waits.Step, how))
	}
	if backfill := export.Backfill; backfill != nil {
		of, stands := "", "workflow "+backfill.WorkflowID+"; no worker tells where it stands"
		if backfill.Progress != nil {
			stands = backfillLine(*backfill.Progress)
			if span := backfill.Progress.Span; !span.Start.IsZero() {
				of = " of " + span.String()
			}
		}
		lines = append(lines, fmt.Sprintf("%s: a backfill%s is under way: %s", export.Definition.Name, of, stands))
	}
	return lines
}

// whyPaused says of a paused export why, and by whom and since when as far as that is known.
func whyPaused(export starter.ExportStatus) string {
	line := "paused"
	if export.PausedSince != nil {
		line += fmt.Sprintf(" since %s by %s", clock(*export.PausedSince), export.PausedBy)
	}
	if export.Note != "" {
		line += ": " + export.Note
	}
	return line
}

// pausedLine is whyPaused with what to do.
func pausedLine(export starter.ExportStatus) string {
	return whyPaused(export) + fmt.Sprintf("\nwhat falls due meanwhile is started by nobody: `millrace resume %s` ends the pause", export.Definition.Name)
}

func nextDue(export starter.ExportStatus) cell {
	switch {
	case export.Paused:
		return cell{text: "paused"}
	case export.Next == nil:
		return cell{text: "-"}
	}
	return moment(*export.Next)
}

func (p *program) printLastRuns(status starter.ExportStatus) {
	if len(status.Last) == 0 {
		fmt.Fprintln(p.out, "There were no runs yet.")
		return
	}
	listed := table{columns: []column{{header: "INTERVAL END"}, {header: "STATUS"}, {header: "ERROR"}, {header: "STARTED", spare: 1}, {header: "TOOK"}, {header: "WORKFLOW", spare: 2}}}
	var kinds []export.Kind
	for _, run := range status.Last {
		kinds = append(kinds, run.ErrorKind)
		took := "-"
		if run.Closed != nil {
			took = run.Closed.Sub(run.Started).Round(time.Second / 10).String()
		}
		listed.rows = append(listed.rows, tableRow{cells: []cell{
			moment(run.End), {text: strings.ToLower(run.Status)}, {text: string(run.ErrorKind)}, moment(run.Started), {text: took}, {text: run.WorkflowID},
		}})
	}
	listed.print(p.out)
	p.printRunbooks(kinds)
}
