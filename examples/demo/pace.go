package main

import "time"

// The sending takes from shortest to longest, so that it spans at least two minutes of arrival.
const (
	shortest = 65 * time.Second
	longest  = 120 * time.Second
	// lead is how long before the full minute the last event is handed to the client: it is acknowledged, carried into
	// ClickHouse and stamped while that minute still lasts.
	lead = 4 * time.Second
	// applyLead is how long before the full minute the export is applied. The minute that ends then is the schedule's
	// own; those before are filled.
	applyLead = 35 * time.Second
)

// Pace is when things are sent.
type Pace struct {
	Start time.Time // when the first event is sent
	Full  time.Time // the full minute at which the sending ends
}

// paceFrom chooses the full minute that is at least shortest and at most longest after the start, and puts the start
// off by some seconds where there is none.
func paceFrom(now time.Time) Pace {
	start := now
	full := start.Add(shortest).Truncate(time.Minute)
	if full.Before(start.Add(shortest)) {
		full = full.Add(time.Minute)
	}
	if full.After(start.Add(longest)) {
		start = full.Add(-longest)
	}
	return Pace{Start: start, Full: full}
}

// Last is when the last event is due.
func (p Pace) Last() time.Time { return p.Full.Add(-lead) }

// Apply is when the export is to be applied.
func (p Pace) Apply() time.Time { return p.Full.Add(-applyLead) }

// Due is how many of total events are due at a time.
func (p Pace) Due(now time.Time, total int) int {
	whole, passed := p.Last().Sub(p.Start), now.Sub(p.Start)
	switch {
	case passed <= 0:
		return 0
	case passed >= whole:
		return total
	}
	return int(float64(total) * float64(passed) / float64(whole))
}

// minutes are the full minutes, by their ends, that cover first to last, both included.
func minutes(first, last time.Time) []time.Time {
	var ends []time.Time
	for end := first.UTC().Truncate(time.Minute).Add(time.Minute); ; end = end.Add(time.Minute) {
		ends = append(ends, end)
		if end.After(last) {
			return ends
		}
	}
}
