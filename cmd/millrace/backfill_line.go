package main

import (
	"fmt"
	"unicode/utf8"

	"github.com/millrace/millrace/export"
)

// backfillLineWithin is backfillLine for a terminal of width columns: what matters less is left out first, and only what is
// still too long is cut.
func backfillLineWithin(progress export.BackfillProgress, width int) string {
	line := ""
	for left := range 4 {
		if line = backfillLineWithout(progress, left); utf8.RuneCountInString(line) <= width {
			return line
		}
	}
	return cut(line, width)
}

// backfillLine says in a line where a backfill stands.
func backfillLine(progress export.BackfillProgress) string { return backfillLineWithout(progress, 0) }

// backfillLineWithout is backfillLine whose time is short where anything is left out, without rows from 2 on, and without the
// rate from 3 on.
func backfillLineWithout(progress export.BackfillProgress, left int) string {
	line := fmt.Sprintf("%s · %s of %s done", progress.State, count(progress.Settled()-progress.Failed), plural(progress.Intervals, "interval"))
	if progress.Failed > 0 {
		line += fmt.Sprintf(" · %s failed", count(progress.Failed))
	}
	line += fmt.Sprintf(" · %d running of %d", progress.Running, progress.Parallel)
	if left < 2 {
		line += fmt.Sprintf(" · %s rows", count(progress.Rows))
	}
	if progress.ETA != nil {
		line += " · "
		if left < 3 {
			line += fmt.Sprintf("%.0f a minute, ", progress.IntervalsPerMinute)
		}
		at := moment(*progress.ETA)
		if left > 0 {
			at.text = at.short
		}
		line += "done about " + at.text
	}
	if progress.Note != "" {
		line += " · " + progress.Note // the last, for it may be cut
	}
	return line
}
