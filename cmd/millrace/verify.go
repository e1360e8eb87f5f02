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
the answer names the interval, the chunk and the file.`,
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
			return p.printVerified(report)
		},
	}
	flags := command.Flags()
	flags.StringVar(&start, "start", "", "start of the range, an RFC 3339 `time`")
	flags.StringVar(&end, "end", "", "end of the range, an RFC 3339 `time`")
	return command
}

// printVerified prints a line for each interval, and below it what differs. It answers no when not all is as published.
func (p *program) printVerified(report export.VerifyReport) error {
	bad := 0
	intervals := spansOf(report.Intervals, func(interval export.Verification) export.Interval { return interval.Run.Interval })
	listed := table{columns: []column{
		intervals.column(), {header: "REV", spare: 3}, {header: "RESULT"}, {header: "ROWS"}, {header: "BYTES", spare: 1}, {header: "FILES", spare: 2}, {header: "HASH"},
	}}
	for _, interval := range report.Intervals {
		if interval.Result == export.VerifiedMissing || interval.Result == export.VerifiedDiffers {
			bad++
		}
		hash, revision := "", strconv.Itoa(interval.Run.Revision)
		if interval.Result == export.VerifiedMissing {
			revision = "-"
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
				fmt.Fprintf(p.out, "%s: chunk %d: %s\n", interval.Run, difference.Chunk, difference.What)
			}
			if interval.MoreDifferences > 0 {
				fmt.Fprintf(p.out, "%s: and %s more\n", interval.Run, plural(interval.MoreDifferences, "chunk"))
			}
		}
	}
	if !report.Whole() {
		return negative{fmt.Sprintf("%d of %s are not as they were published", bad, plural(len(report.Intervals), "interval"))}
	}
	return nil
}
