package main

import (
	"fmt"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/export"
)

// On a narrow terminal the end of a backfill is told all the same; a note may be cut.
func TestABackfillsLineFits(t *testing.T) {
	done := time.Date(2026, 11, 26, 15, 4, 0, 0, time.UTC)
	progress := export.BackfillProgress{State: export.BackfillRunning, Intervals: 2880, Published: 1204, Running: 3, Parallel: 3, Rows: 1_234_567, IntervalsPerMinute: 204, ETA: &done}
	for width, want := range map[int]string{
		200: "running · 1,204 of 2,880 intervals done · 3 running of 3 · 1,234,567 rows · 204 a minute, done about 2026-11-26T15:04:00Z",
		117: "running · 1,204 of 2,880 intervals done · 3 running of 3 · 1,234,567 rows · 204 a minute, done about 2026-11-26 15:04",
		100: "running · 1,204 of 2,880 intervals done · 3 running of 3 · 204 a minute, done about 2026-11-26 15:04",
		90:  "running · 1,204 of 2,880 intervals done · 3 running of 3 · done about 2026-11-26 15:04",
		40:  "running · 1,204 of 2,880 intervals done…",
	} {
		if got := backfillLineWithin(progress, width); got != want {
			t.Errorf("%d columns\ngot  %d %s\nwant %d %s", width, utf8.RuneCountInString(got), got, utf8.RuneCountInString(want), want)
		}
	}
	progress.Note = "ann: the lake is being moved, and nobody is to write there until the evening"
	if got := backfillLineWithin(progress, 120); utf8.RuneCountInString(got) != 120 {
		t.Errorf("%s is not cut to 120 letters", got)
	}
	if got, want := backfillLine(progress), fmt.Sprintf("done about %s · %s", clock(done), progress.Note); got[len(got)-len(want):] != want {
		t.Errorf("%s does not end with %s", got, want)
	}
}
