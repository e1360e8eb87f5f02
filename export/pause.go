package export

import (
	"fmt"
	"regexp"
	"time"
)

// Pause is why an export's schedule starts nothing, and who paused it and when. A schedule has one line of notes for all of
// it; who pauses with Temporal's own tools says neither who nor when, and then By is empty and Since is zero.
type Pause struct {
	Note string
	// By is a person or a machine, such as ada@laptop.
	By string
	// Since is to the second.
	Since time.Time
}

// String is the line in the schedule's notes.
func (p Pause) String() string {
	if p.By == "" {
		return p.Note
	}
	return fmt.Sprintf("%s (paused by %s at %s)", p.Note, p.By, p.Since.UTC().Format(time.RFC3339))
}

var pauseNote = regexp.MustCompile(`^(?s)(.*) \(paused by (.+) at (\S+)\)$`)

// ParsePause reads the notes of a paused schedule.
func ParsePause(notes string) Pause {
	parts := pauseNote.FindStringSubmatch(notes)
	if parts == nil {
		return Pause{Note: notes}
	}
	since, err := time.Parse(time.RFC3339, parts[3])
	if err != nil {
		return Pause{Note: notes}
	}
	return Pause{Note: parts[1], By: parts[2], Since: since}
}
