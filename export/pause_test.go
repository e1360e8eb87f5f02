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
		"all failed (paused by millrace at 2026-11-26T16:00:00Z, failing from 2026-11-25T15:00:00Z)": {
			Note: "all failed", By: PausedByMillrace, Since: since, From: since.Add(-25 * time.Hour),
		},
		"all failed (paused by millrace at 2026-11-26T16:00:00Z, failing from noon)": {
			Note: "all failed (paused by millrace at 2026-11-26T16:00:00Z, failing from noon)",
		},
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

// An export is paused once its runs have failed for long enough by nothing but what its user has to mend, and who resumed it has
// as long again.
func TestWhenFailuresPauseAnExport(t *testing.T) {
	first := time.Date(2026, 11, 25, 15, 0, 4, 0, time.UTC)
	failing := Failing{Since: first, Began: first.Add(-3 * time.Second), Runs: 26, Kind: KindAuth}
	definition := Definition{Name: "shop-events", Every: Duration(time.Hour)}
	const note = "all 26 runs have failed since 2026-11-25T15:00:04Z, the last of auth: The destination does not accept the credentials, and others have to be given. " +
		"See docs/runbooks/auth.md, and then: millrace resume shop-events --fill"
	for name, test := range map[string]struct {
		after   string
		failing Failing
		resumed time.Time
		now     time.Time
		want    *Pause
	}{
		"no failure":                 {"", Failing{}, time.Time{}, first.Add(100 * time.Hour), nil},
		"a second short of a day":    {"", failing, time.Time{}, first.Add(24*time.Hour - time.Second), nil},
		"a day":                      {"", failing, time.Time{}, first.Add(24 * time.Hour), &Pause{note, PausedByMillrace, first.Add(24 * time.Hour), first.Add(-4*time.Second - time.Hour)}},
		"a minute, as it says":       {"1m", failing, time.Time{}, first.Add(time.Minute), &Pause{note, PausedByMillrace, first.Add(time.Minute), first.Add(-4*time.Second - time.Hour)}},
		"never":                      {PauseNever, failing, time.Time{}, first.Add(1000 * time.Hour), nil},
		"resumed an hour ago":        {"", failing, first.Add(47 * time.Hour), first.Add(48 * time.Hour), nil},
		"resumed before it all":      {"", failing, first.Add(-time.Hour), first.Add(24 * time.Hour), &Pause{note, PausedByMillrace, first.Add(24 * time.Hour), first.Add(-4*time.Second - time.Hour)}},
		"resumed, and failing again": {"", failing, first.Add(24 * time.Hour), first.Add(48 * time.Hour), &Pause{note, PausedByMillrace, first.Add(48 * time.Hour), first.Add(-4*time.Second - time.Hour)}},
	} {
		definition.PauseAfter = test.after
		got, pauses, err := test.failing.Pause(definition, test.resumed, test.now)
		if err != nil || pauses != (test.want != nil) {
			t.Errorf("%s: %t, %v", name, pauses, err)
		}
		if pauses {
			if diff := cmp.Diff(*test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			if again := ParsePause(got.String()); again != got {
				t.Errorf("%s: %q is read back as %+v", name, got, again)
			}
		}
	}
	if at := ParseResumed(ResumedNotes("ada@laptop", first)); !at.Equal(first) {
		t.Errorf("resumed at %s", at)
	}
	for _, notes := range []string{"", "resumed", "resumed by ada at noon", "lunch (paused by ada@laptop at 2026-11-26T16:00:00Z)"} {
		if at := ParseResumed(notes); !at.IsZero() {
			t.Errorf("%q says that it was resumed at %s", notes, at)
		}
	}
}
