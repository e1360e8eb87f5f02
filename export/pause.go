package export

import (
	"fmt"
	"regexp"
	"time"
)

// DefaultPauseAfter is for how long runs may fail by nothing but what the user has to mend, until their export is paused.
const DefaultPauseAfter = Duration(24 * time.Hour)

// PauseNever is the pause_after of an export that only people pause.
const PauseNever = "never"

// minPauseAfter keeps one failure from being a time of nothing but failures.
const minPauseAfter = Duration(time.Minute)

// PausesAfter is for how long the runs of an export may have failed by kinds that pause (see Kind.PausesExport), and by nothing
// else, until it is paused; false for never. The error names what is wrong with pause_after.
func (d Definition) PausesAfter() (time.Duration, bool, error) {
	switch d.PauseAfter {
	case "":
		return time.Duration(DefaultPauseAfter), true, nil
	case PauseNever:
		return 0, false, nil
	}
	after, err := ParseDuration(d.PauseAfter)
	if err != nil {
		return 0, false, Errorf(KindConfig, "pause_after: %q must be a time such as %q, or %q", d.PauseAfter, "24h", PauseNever)
	}
	if after < minPauseAfter {
		return 0, false, Errorf(KindConfig, "pause_after: %q must be at least %q, or %q", d.PauseAfter, minPauseAfter, PauseNever)
	}
	return time.Duration(after), true, nil
}

// PausedByMillrace is who pauses an export whose user has something to mend.
const PausedByMillrace = "millrace"

// Pause is why an export's schedule starts nothing, and who paused it and when. A schedule has one line of notes for all of
// it; who pauses with Temporal's own tools says neither who nor when, and then By is empty and Since is zero.
type Pause struct {
	Note string
	// By is a person or a machine, such as ada@laptop; PausedByMillrace when no person did it.
	By string
	// Since is to the second.
	Since time.Time
	// From is where the first interval begins whose run failed, of a pause by Millrace; zero for others. From there on
	// intervals are left undone, and not only since the pause.
	From time.Time
}

// Failing is how the latest runs of an export have ended: all of them by kinds that pause an export, since a moment.
type Failing struct {
	// Since is when the first of them was recorded, after the last run that was published or failed otherwise; zero when the
	// latest run was one of those, or when there is none.
	Since time.Time `json:"since,omitzero"`
	// Began is when the first of them began.
	Began time.Time `json:"began,omitzero"`
	// Runs is how many they are, and Kind what the last of them failed of.
	Runs int  `json:"runs"`
	Kind Kind `json:"kind"`
}

// PausesAt is when the export with that definition is paused, unless one of its runs is published or fails otherwise before; false
// for never. Resumed is when a person last resumed it, zero when nobody has: that starts the time anew. It may be past: the export
// is paused by a run of its schedule that fails.
func (f Failing) PausesAt(d Definition, resumed time.Time) (time.Time, bool, error) {
	after, pauses, err := d.PausesAfter()
	if err != nil || !pauses || f.Since.IsZero() {
		return time.Time{}, false, err
	}
	since := f.Since
	if resumed.After(since) {
		since = resumed
	}
	return since.Add(after).UTC(), true, nil
}

// Pause is the pause of the export with that definition whose runs have failed so, as of now; false when it is not to be paused
// yet, or never. Resumed is as for PausesAt.
func (f Failing) Pause(d Definition, resumed, now time.Time) (Pause, bool, error) {
	at, pauses, err := f.PausesAt(d, resumed)
	if err != nil || !pauses || now.Before(at) {
		return Pause{}, false, err
	}
	grid, err := d.Grid()
	if err != nil {
		return Pause{}, false, err
	}
	return Pause{
		// The sentence of the kind and not that of the failure: notes of a schedule are never encrypted.
		Note: fmt.Sprintf("%s See %s, and then: millrace resume %s --fill", f, f.Kind.Runbook(), d.Name),
		By:   PausedByMillrace, Since: now.UTC().Truncate(time.Second), From: grid.LastEnded(f.Began).Start.UTC(),
	}, true, nil
}

// String says it in two sentences, without anything that was said of a failure itself.
func (f Failing) String() string {
	return fmt.Sprintf("%s failed since %s, the last of %s: %s", runsHave(f.Runs), f.Since.UTC().Format(time.RFC3339), f.Kind, f.Kind.Sentence())
}

func runsHave(runs int) string {
	if runs == 1 {
		return "the run has"
	}
	return fmt.Sprintf("all %d runs have", runs)
}

// String is the line in the schedule's notes.
func (p Pause) String() string {
	switch {
	case p.By == "":
		return p.Note
	case !p.From.IsZero():
		return fmt.Sprintf("%s (paused by %s at %s, failing from %s)", p.Note, p.By, p.Since.UTC().Format(time.RFC3339), p.From.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s (paused by %s at %s)", p.Note, p.By, p.Since.UTC().Format(time.RFC3339))
}

var pauseNote = regexp.MustCompile(`^(?s)(.*) \(paused by (.+) at (\S+?)(?:, failing from (\S+))?\)$`)

// ParsePause reads the notes of a paused schedule.
func ParsePause(notes string) Pause {
	parts := pauseNote.FindStringSubmatch(notes)
	if parts == nil {
		return Pause{Note: notes}
	}
	pause := Pause{Note: parts[1], By: parts[2]}
	for _, part := range []struct {
		text string
		into *time.Time
	}{{parts[3], &pause.Since}, {parts[4], &pause.From}} {
		at, err := time.Parse(time.RFC3339, part.text)
		if err != nil && part.text != "" {
			return Pause{Note: notes}
		}
		*part.into = at
	}
	return pause
}

// ResumedNotes is the line in the notes of a schedule that a person has resumed.
func ResumedNotes(by string, at time.Time) string {
	return fmt.Sprintf("resumed by %s at %s", by, at.UTC().Format(time.RFC3339))
}

var resumedNote = regexp.MustCompile(`^resumed by .+ at (\S+)$`)

// ParseResumed is when a schedule with these notes was resumed; zero when they do not say so.
func ParseResumed(notes string) time.Time {
	if parts := resumedNote.FindStringSubmatch(notes); parts != nil {
		if at, err := time.Parse(time.RFC3339, parts[1]); err == nil {
			return at
		}
	}
	return time.Time{}
}
