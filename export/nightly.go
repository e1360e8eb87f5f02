package export

import (
	"fmt"
	"time"
)

// Nightly says how exports are reconciled once a day, by a schedule of each.
type Nightly struct {
	// At is the time of day, such as "03:30", in TimeZone, an IANA name; UTC when left out.
	At       string `json:"at"`
	TimeZone string `json:"time_zone,omitempty"`
	// These are ReconcileTask's.
	Sample      *int     `json:"sample,omitempty"`
	Fill        bool     `json:"fill,omitempty"`
	Revise      bool     `json:"revise,omitempty"`
	Leftovers   bool     `json:"leftovers,omitempty"`
	Remove      bool     `json:"remove,omitempty"`
	RemoveAfter Duration `json:"remove_after,omitempty"`
}

// Time is the hour and the minute.
func (n Nightly) Time() (hour, minute int, err error) {
	at, err := time.Parse("15:04", n.At)
	if err != nil {
		return 0, 0, Errorf(KindConfig, "at: %q is no time of day: give one such as \"03:30\"", n.At)
	}
	return at.Hour(), at.Minute(), nil
}

// Task is the reconciliation of one export.
func (n Nightly) Task(definition Definition) ReconcileTask {
	return ReconcileTask{
		Definition: definition, Sample: n.Sample, Fill: n.Fill, Revise: n.Revise, Leftovers: n.Leftovers, Remove: n.Remove, RemoveAfter: n.RemoveAfter,
	}.WithDefaults()
}

// Validate says what is wrong, or nil.
func (n Nightly) Validate() error {
	if _, _, err := n.Time(); err != nil {
		return err
	}
	if _, err := time.LoadLocation(n.TimeZone); err != nil {
		return Errorf(KindConfig, "time_zone: %q is not a name of the IANA time zone database, such as \"Europe/Berlin\"", n.TimeZone)
	}
	return n.Task(Definition{}).validateBounds()
}

// String is for messages: "every day at 03:30 Europe/Berlin".
func (n Nightly) String() string {
	zone := n.TimeZone
	if zone == "" {
		zone = "UTC"
	}
	return fmt.Sprintf("every day at %s %s", n.At, zone)
}
