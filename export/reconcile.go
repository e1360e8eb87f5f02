package export

import (
	"slices"
	"time"
)

// IntervalState is where one interval of an export stands.
type IntervalState string

// The states. Every interval that has ended has exactly one.
const (
	// StateProved: it is published, by one run or by several that cover it together.
	StateProved IntervalState = "proved"
	// StateRunning: a run of it is under way.
	StateRunning IntervalState = "running"
	// StateWaiting: a run of it waits, for the watermark or for live work to which it gives way; or it has ended just now, and
	// its run is about to start.
	StateWaiting IntervalState = "waiting"
	// StateFailed: its last run failed for good.
	StateFailed IntervalState = "failed"
	// StatePaused: it fell due while the export's schedule was paused, as it still is, and nobody has run it.
	StatePaused IntervalState = "paused"
	// StateMissing: nobody has run it, or the run was cancelled or lost.
	StateMissing IntervalState = "missing"
)

// IntervalStates are all states, in the order in which they are told.
func IntervalStates() []IntervalState {
	return []IntervalState{StateProved, StateRunning, StateWaiting, StatePaused, StateFailed, StateMissing}
}

// Hole tells whether a backfill has to be started for an interval in this state.
func (s IntervalState) Hole() bool { return s == StateFailed || s == StateMissing }

// Standing is where an interval stands, and why.
type Standing struct {
	Interval Interval      `json:"interval"`
	State    IntervalState `json:"state"`
	// Kind is the kind of error of one that failed.
	Kind Kind `json:"error_kind,omitempty"`
	// Why says more, for people; it may be empty.
	Why string `json:"why,omitempty"`
}

// UnderWay is a run that is under way.
type UnderWay struct {
	Interval Interval
	// Waits says what it waits for; empty when it works.
	Waits string
}

// Unpublished is how the last run of an interval ended that no run has published.
type Unpublished struct {
	Interval Interval
	// Cancelled tells that somebody ended it, and that it did not fail.
	Cancelled bool
	Kind      Kind
	Error     string
}

// Known is what is known of an export's runs. Their intervals may have other lengths than those that are asked about.
type Known struct {
	Published   []Interval
	UnderWay    []UnderWay
	Unpublished []Unpublished
	// Paused tells that the schedule is paused, by Note. Since is zero when it is not known since when; then everything after
	// Last counts as in the pause.
	Paused bool
	Since  time.Time
	Note   string
	// Last is the end of the last interval of which the ledger had anything; zero when it had nothing.
	Last time.Time
	// Now is when it was looked; an interval that ended within DueWithin before it, and that nothing is known of, is waiting.
	Now time.Time
}

// DueWithin is how long the run of an interval may take to show after the interval's end.
const DueWithin = time.Minute

// Classify gives each interval its state. Intervals are ordered by time and do not overlap.
func Classify(intervals []Interval, known Known) []Standing {
	standings := make([]Standing, len(intervals))
	published := newCover(known.Published)
	for i, interval := range intervals {
		standings[i] = known.classify(interval, published)
	}
	return standings
}

func (k Known) classify(interval Interval, published cover) Standing {
	standing := Standing{Interval: interval, State: StateProved}
	if published.covers(interval) {
		return standing
	}
	var running []Interval
	waits, waiting := "", false
	for _, run := range k.UnderWay {
		if run.Interval.overlaps(interval) {
			running = append(running, run.Interval)
			if run.Waits != "" {
				waits, waiting = run.Waits, true
			}
		}
	}
	if len(running) > 0 && newCover(append(running, published.within(interval)...)).covers(interval) {
		standing.State = StateRunning
		if waiting {
			standing.State, standing.Why = StateWaiting, waits
		}
		return standing
	}
	cancelled := false
	for _, run := range k.Unpublished {
		switch {
		case !run.Interval.overlaps(interval):
		case run.Cancelled:
			cancelled = true
		default:
			standing.State, standing.Kind, standing.Why = StateFailed, run.Kind, run.Error
			return standing
		}
	}
	switch {
	case cancelled:
		standing.State, standing.Why = StateMissing, "its run was cancelled"
	case k.inPause(interval):
		standing.State, standing.Why = StatePaused, k.Note
	case !k.Paused && k.Now.Sub(interval.End) < DueWithin:
		standing.State, standing.Why = StateWaiting, "it has ended just now"
	default:
		standing.State = StateMissing
	}
	return standing
}

// inPause tells whether an interval fell due in the pause: it ended in it.
func (k Known) inPause(interval Interval) bool {
	switch {
	case !k.Paused:
		return false
	case !k.Since.IsZero():
		return interval.End.After(k.Since)
	}
	return interval.End.After(k.Last)
}

func (i Interval) overlaps(other Interval) bool {
	return i.Start.Before(other.End) && other.Start.Before(i.End)
}

// cover is a set of times: stretches by time, of which no two touch.
type cover []Interval

func newCover(intervals []Interval) cover {
	sorted := slices.Clone(intervals)
	slices.SortFunc(sorted, func(a, b Interval) int { return a.Start.Compare(b.Start) })
	var made cover
	for _, interval := range sorted {
		if last := len(made) - 1; last >= 0 && !interval.Start.After(made[last].End) {
			if interval.End.After(made[last].End) {
				made[last].End = interval.End
			}
			continue
		}
		made = append(made, interval)
	}
	return made
}

// first is the index of the first stretch that ends after t.
func (c cover) first(t time.Time) int {
	at, _ := slices.BinarySearchFunc(c, t, func(stretch Interval, t time.Time) int {
		if stretch.End.After(t) {
			return 1
		}
		return -1
	})
	return at
}

func (c cover) covers(interval Interval) bool {
	at := c.first(interval.Start)
	return at < len(c) && !c[at].Start.After(interval.Start) && !c[at].End.Before(interval.End)
}

// within are the stretches that overlap an interval.
func (c cover) within(interval Interval) []Interval {
	from := c.first(interval.Start)
	to := from
	for to < len(c) && c[to].overlaps(interval) {
		to++
	}
	return c[from:to]
}
