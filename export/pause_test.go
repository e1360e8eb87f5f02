package export

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestThePauseInTheNotesOfASchedule(t *testing.T) {
	since := time.Date(2026, 11, 26, 16, 0, 0, 0, time.UTC)
	for notes, want := range map[string]Pause{
		"the bucket moves (paused by ada@laptop at 2026-11-26T16:00:00Z)":        {Note: "the bucket moves", By: "ada@laptop", Since: since},
		"a (paused by b at noon) (paused by ada@laptop at 2026-11-26T16:00:00Z)": {Note: "a (paused by b at noon)", By: "ada@laptop", Since: since},
		"two\nlines (paused by ada@an unknown machine at 2026-11-26T16:00:00Z)":  {Note: "two\nlines", By: "ada@an unknown machine", Since: since},
		"the bucket moves": {Note: "the bucket moves"},
		"the bucket moves (paused by ada@laptop at noon)": {Note: "the bucket moves (paused by ada@laptop at noon)"},
		"": {},
	} {
		got := ParsePause(notes)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", notes, diff)
		}
		if got.String() != notes {
			t.Errorf("%q is written back as %q", notes, got)
		}
	}
}
