package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/starter"
)

func (p *program) verify() *cobra.Command {
	var start, end string
	command := &cobra.Command{
		Use:     "verify NAME --start TIME --end TIME",
		GroupID: groupWork,
		Short:   "Read published intervals again, and hold them against their manifests",
		Long: `Read every file of the published intervals of a range again: size, checksum and entity tag, and by
ClickHouse the rows and the hash of all values. Workers do it, in a workflow, beside live runs and
after them. Nothing is changed. Both ends must be boundaries of the export's grid.

Exit code 3 says that an interval is not published, or that a file is not what its manifest says:
the answer names the interval, the chunk and the file, and the commands that mend it.`,
		Example: `  millrace verify shop-events --start 2026-11-23T00:00:00Z --end 2026-11-24T00:00:00Z`,
		Args:    exactly(1, "the name of an export"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.completeExports(cmd.Context(), args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			span, err := parseSpan(start, end)
			if err != nil {
				return err
			}
			var report export.VerifyReport
			err = p.withStarter(cmd.Context(), func(_ *temporal, s *starter.Starter) error {
				definition, err := s.Definition(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if _, err := starter.Intervals(definition, span); err != nil {
					return err
				}
				report, err = s.Verify(cmd.Context(), definition, span)
				return err
			})
			if err != nil {
				return err
			}
			return p.printVerified(span, report)
		},
	}
	flags := command.Flags()
	flags.StringVar(&start, "start", "", "start of the range, an RFC 3339 `time`")
	flags.StringVar(&end, "end", "", "end of the range, an RFC 3339 `time`")
	return command
}

// printVerified prints a line for each interval, and below it what differs and what to do. It answers no when not all is as published.
func (p *program) printVerified(span export.Interval, report export.VerifyReport) error {
	var missing, differ []export.Interval
	intervals := spansOf(report.Intervals, func(interval export.Verification) export.Interval { return interval.Run.Interval })
	listed := table{columns: []column{
		intervals.column(), {header: "REV", spare: 3}, {header: "RESULT"}, {header: "ROWS"}, {header: "BYTES", spare: 1}, {header: "FILES", spare: 2}, {header: "HASH"},
	}}
	for _, interval := range report.Intervals {
		hash, revision := "", strconv.Itoa(interval.Run.Revision)
		switch interval.Result {
		case export.VerifiedMissing:
			revision, missing = "-", append(missing, interval.Run.Interval)
		case export.VerifiedDiffers:
			differ = append(differ, interval.Run.Interval)
		}
		if interval.Content != nil {
			hash = interval.Content.HashText()
		}
		listed.rows = append(listed.rows, tableRow{cells: append([]cell{intervals.cell(interval.Run.Interval)},
			cells(revision, interval.Result, count(interval.Rows), size(interval.Bytes), count(int64(interval.Files)), hash)...)})
	}
	if p.json {
		if err := p.printJSON(report); err != nil {
			return err
		}
	} else {
		listed.print(p.out)
		for _, interval := range report.Intervals {
			for _, difference := range interval.Differences {
				printWrapped(p.out, whatOf(interval.Run, difference.Chunk, difference.What))
			}
			if interval.MoreDifferences > 0 {
				fmt.Fprintf(p.out, "%s: and %s more\n", interval.Run, plural(interval.MoreDifferences, "chunk"))
			}
		}
		if len(missing) > 0 {
			fmt.Fprintf(p.out, "to export what is missing: millrace backfill %s --start %s --end %s\n", report.Export, clock(missing[0].Start), clock(missing[len(missing)-1].End))
		}
		if len(differ) > 0 {
			p.printRevise(report.Export, span, len(report.Intervals), differ)
		}
	}
	if !report.Whole() {
		return negative{fmt.Sprintf("%d of %s not as published", len(missing)+len(differ), plural(len(report.Intervals), "interval"))}
	}
	return nil
}
