package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/starter"
)

// recordedRun is a row of the ledger as `runs --json` shows it.
type recordedRun struct {
	export.Run
	Status      eventstore.Status `json:"status"`
	Team        export.Team       `json:"team"`
	Model       string            `json:"model"`
	Connection  string            `json:"connection"`
	Destination string            `json:"destination"`
	// Closing is by which rule the interval was known to be complete; nil for runs that did not come to that.
	Closing *export.Closing `json:"closing,omitempty"`
	Rows    uint64          `json:"rows"`
	Bytes   uint64          `json:"bytes"`
	Files   uint64          `json:"files"`
	// Proof is the level of proof, Source and Stored are what the two sides hold.
	Proof    string          `json:"proof,omitempty"`
	Source   *export.Content `json:"source,omitempty"`
	Stored   *export.Content `json:"stored,omitempty"`
	Manifest string          `json:"manifest,omitempty"`

	DefinitionHash string `json:"definition_hash"`
	PlanHash       string `json:"plan_hash,omitempty"`

	WorkflowID  string           `json:"workflow_id"`
	RunID       string           `json:"run_id"`
	StartedAt   time.Time        `json:"started_at"`
	PublishedAt *time.Time       `json:"published_at,omitempty"`
	RecordedAt  time.Time        `json:"recorded_at"`
	Durations   map[string]int64 `json:"durations_ms,omitempty"`
	// Attempts is the sum of the attempts of all chunks.
	Attempts  uint32      `json:"attempts"`
	ErrorKind export.Kind `json:"error_kind,omitempty"`
	Error     string      `json:"error,omitempty"`
	// Reason says why it takes the place of the revision before it.
	Reason string `json:"reason,omitempty"`
}

func (p *program) runs() *cobra.Command {
	var since string
	var limit int
	var failed bool
	command := &cobra.Command{
		Use:     "runs [NAME]",
		GroupID: groupWork,
		Short:   "List the ledger: every run there ever was, with its proof",
		Long: `List the ledger, the latest interval first: how each run ended, what it wrote, and what was proved.
The ledger is a table in ClickHouse, whose addresses must be in the environment, and goes back
further than Temporal's history. A revision that was closed could not be published: the next one
stands for it. --failed leaves what run NAME --failed would repeat. --json has all there is: the
rule that closed the interval, both hashes, how long each step took, attempts, and the kind of
error. On a terminal too narrow for all of it intervals and hashes are shortened, errors stand below
their runs, and columns are left out, which a last line names; in a file or a pipe nothing is.`,
		Example: `  millrace runs
  millrace runs shop-events --failed
  millrace runs shop-events --since 2026-11-01T00:00:00Z --limit 1000 --json`,
		Args: atMostOne("the name of an export"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeExports(cmd.Context(), args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			filter := eventstore.RunFilter{Limit: limit, Failed: failed}
			if limit < 1 || limit > 100_000 {
				return usagef("--limit: %d must be from 1 to 100,000", limit)
			}
			if len(args) > 0 {
				filter.Export = args[0]
			}
			if since != "" {
				parsed, err := time.Parse(time.RFC3339, since)
				if err != nil {
					return usagef("--since: %q is not an RFC 3339 time, such as 2026-11-23T10:00:00Z", since)
				}
				filter.Since = parsed
			}
			var rows []eventstore.LedgerRow
			var recorded []string
			err := readLedger(cmd.Context(), func(store *eventstore.Store) (err error) {
				if rows, err = store.Runs(cmd.Context(), filter); err == nil && len(rows) == 0 {
					recorded, err = store.RecordedExports(cmd.Context())
				}
				return err
			})
			if err != nil {
				return err
			}
			if len(rows) == 0 && filter.Export != "" && !slices.Contains(recorded, filter.Export) {
				if err := p.refuseUnknown(cmd.Context(), filter.Export); err != nil {
					return err
				}
			}
			switch {
			case p.json:
				return p.printJSON(recordedRuns(rows))
			case len(rows) == 0:
				fmt.Fprintln(p.out, noRuns(filter, recorded))
			default:
				listed, kinds := ledgerTable(rows, filter.Export != "")
				listed.print(p.out)
				p.printRunbooks(kinds)
			}
			return nil
		},
	}
	flags := command.Flags()
	flags.StringVar(&since, "since", "", "leave out intervals that ended before this RFC 3339 `time`")
	flags.BoolVar(&failed, "failed", false, "leave only the intervals whose last run failed and that are not published")
	flags.IntVar(&limit, "limit", 100, "how many runs to list at most")
	return command
}

// refuseUnknown is an error when there is no export of a name of which the ledger has nothing, as far as Temporal can be asked.
func (p *program) refuseUnknown(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	err := p.withStarter(ctx, func(_ *temporal, s *starter.Starter) error {
		_, err := s.Definition(ctx, name)
		return err
	})
	if export.KindOf(err) == export.KindConfig {
		return err
	}
	return nil
}

// askPatience is how long Temporal is waited for by a command that can do without.
const askPatience = 5 * time.Second

func readLedger(ctx context.Context, read func(*eventstore.Store) error) error {
	env, err := needs(config.VarClickHouseURL, config.VarClickHouseHTTPURL)
	if err != nil {
		return err
	}
	return withStore(ctx, env, read)
}

// noRuns says why no run is listed, given the exports that the ledger has runs of.
func noRuns(filter eventstore.RunFilter, recorded []string) string {
	all := strings.Join(recorded, ", ")
	switch {
	case len(recorded) == 0:
		return "Nothing has run yet: the ledger is empty.\n" + howToRun(cmp.Or(filter.Export, "NAME"))
	case filter.Export != "" && !slices.Contains(recorded, filter.Export):
		return fmt.Sprintf("Nothing of export %q has run yet: the ledger has runs of %s.\n%s", filter.Export, all, howToRun(filter.Export))
	case filter.Failed && filter.Since.IsZero():
		return "Nothing is to be repeated: no interval's last run failed."
	case filter.Failed:
		return fmt.Sprintf("Nothing is to be repeated of what ended at %s or later: no interval's last run failed.", clock(filter.Since))
	}
	return fmt.Sprintf("No run matches: the ledger has runs of %s, but none of an interval that ended at %s or later.", cmp.Or(filter.Export, all), clock(filter.Since))
}

func howToRun(name string) string {
	return fmt.Sprintf(`The schedule of an export, which `+"`millrace apply`"+` makes, starts a run when an interval has ended. To have one at once:
  millrace run %s --start TIME --end TIME                                  of past intervals
  temporal schedule trigger --schedule-id %s --overlap-policy AllowAll     of the last one that has ended`, name, name)
}

func recordedRuns(rows []eventstore.LedgerRow) []recordedRun {
	runs := []recordedRun{}
	for _, row := range rows {
		run := recordedRun{
			Run: row.Run, Status: row.Status, Team: row.Team, Model: row.Model, Connection: row.Connection, Destination: row.Destination,
			Rows: row.Rows, Bytes: row.Bytes, Files: row.Files, Proof: row.Proof, Source: row.Source, Stored: row.Stored,
			Manifest: row.Manifest, DefinitionHash: row.DefinitionHash, PlanHash: row.PlanHash,
			WorkflowID: row.WorkflowID, RunID: row.RunID, StartedAt: row.StartedAt, RecordedAt: row.RecordedAt,
			Durations: row.Durations, Attempts: row.Attempts, ErrorKind: row.ErrorKind, Error: row.Error, Reason: row.Reason,
		}
		if row.Closing.Rule != "" {
			run.Closing = &row.Closing
		}
		if !row.PublishedAt.IsZero() {
			run.PublishedAt = &row.PublishedAt
		}
		runs = append(runs, run)
	}
	return runs
}

// shortHash is how many letters of a hash tell it from others at a glance.
const shortHash = 8

// ledgerTable lists rows, and the kinds of their errors. Where there is little room the name goes first that the command
// was given, then sizes, revision and hash, and last what a run took; how it ended, rows, proof and error always stay.
func ledgerTable(rows []eventstore.LedgerRow, named bool) (table, []export.Kind) {
	intervals := spansOf(rows, func(row eventstore.LedgerRow) export.Interval { return row.Run.Interval })
	listed := table{detail: "ERROR", columns: []column{
		{header: "EXPORT"}, intervals.column(), {header: "REV", spare: 4}, {header: "STATUS"}, {header: "ROWS"}, {header: "BYTES", spare: 5},
		{header: "FILES", spare: 6}, {header: "PROOF"}, {header: "HASH", spare: 3}, {header: "TOOK", spare: 1}, {header: "ATTEMPTS", spare: 2},
	}}
	if named {
		listed.columns[0].spare = 7
	}
	var kinds []export.Kind
	for _, row := range rows {
		kinds = append(kinds, row.ErrorKind)
		took := "-"
		if !row.PublishedAt.IsZero() {
			took = row.PublishedAt.Sub(row.StartedAt).Round(time.Second / 10).String()
		}
		hash, detail := cell{}, ""
		if row.Source != nil {
			hash = cell{text: row.Source.HashText(), short: row.Source.HashText()[:shortHash]}
		}
		if row.ErrorKind != "" {
			detail = fmt.Sprintf("%s: %s", row.ErrorKind, row.Error)
		} else if row.Reason != "" {
			detail, listed.detail = "done again: "+row.Reason, "ERROR OR REASON"
		}
		listed.rows = append(listed.rows, tableRow{detail: detail, cells: []cell{
			{text: row.Run.Export}, intervals.cell(row.Run.Interval), {text: strconv.Itoa(row.Run.Revision)}, {text: string(row.Status)}, {text: count(row.Rows)},
			{text: size(row.Bytes)}, {text: count(row.Files)}, {text: row.Proof}, hash, {text: took}, {text: count(int64(row.Attempts))},
		}})
	}
	return listed, kinds
}
