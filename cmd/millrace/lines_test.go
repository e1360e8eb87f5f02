package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/starter"
)

// What goes on stands below where it began.
func TestStepsAreWrapped(t *testing.T) {
	answer := checked{CheckReport: activities.CheckReport{Steps: []destinations.Step{{Name: "reach", Detail: "the bucket lake answers"}, {Name: "write", Error: "s3 refuses PutObject"}}}}
	for width, want := range map[int]string{
		0:  "ok      reach: the bucket lake answers\nFAILED  write\n        s3 refuses PutObject\n",
		24: "ok      reach: the\n        bucket lake\n        answers\nFAILED  write\n        s3 refuses\n        PutObject\n",
	} {
		var out bytes.Buffer
		printSteps(&out, width, answer)
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%d columns (-want +got):\n%s", width, diff)
		}
	}
}

// The note of a pause is whole, however narrow the table is.
func TestTheNoteOfAPauseIsTold(t *testing.T) {
	since := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	note := "the bucket moves, and nobody is to write there until the evening"
	answer := statusAnswer{Exports: []starter.ExportStatus{{Definition: export.Definition{Name: "shop"}, Paused: true, Note: note, PausedBy: "ann@laptop", PausedSince: &since}}}
	var out bytes.Buffer
	(&program{stdio: stdio{out: &out, err: &out}}).printStatus(answer, false)
	if want := "\nshop: paused since 2026-11-26T10:00:00Z by ann@laptop: " + note + "\n"; !strings.Contains(out.String(), want) {
		t.Errorf("%s\nhas no %s", out.String(), want)
	}
}

// Only what was exported with more than was asked for is told of.
func TestALongerRunIsTold(t *testing.T) {
	day, minute := hour(26, 0, 24*time.Hour), hour(26, 10, time.Minute)
	done := func(status export.Status, interval export.Interval) runResult {
		return runResult{Started: starter.Started{Run: export.Run{Interval: minute}}, Outcome: &export.Outcome{Status: status, Publication: export.Publication{Run: export.Run{Interval: interval}}}}
	}
	for _, test := range []struct {
		result runResult
		want   string
	}{
		{done(export.StatusPublished, minute), ""},
		{done(export.StatusAlreadyDone, day), ""}, // its own note has it
		{runResult{}, ""},
		{done(export.StatusPublished, day), "note: 2026-11-26T10:00:00Z–2026-11-26T10:01:00Z: it belongs to the longer run 2026-11-26T00:00:00Z–2026-11-27T00:00:00Z, which was exported whole"},
	} {
		if got := longerRun(test.result); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// What an update has started is told of one that has changed the times, and of no other.
func TestWhatAnUpdateStartedIsTold(t *testing.T) {
	from := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	for field, want := range map[string]string{
		"title":          "updated shop\n",
		"schedule.times": "updated shop, and what its times have had due since 2026-11-26T10:00:00Z started\n",
	} {
		var out bytes.Buffer
		printApplied(&out, starter.Change{Export: "shop", Action: starter.ActionUpdate, FilledFrom: &from, Fields: []starter.FieldChange{{Field: field}}})
		if out.String() != want {
			t.Errorf("a change of %s: %s, want %s", field, out.String(), want)
		}
	}
}
