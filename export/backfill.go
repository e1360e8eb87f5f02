package export

import "time"

// Bounds of a backfill.
const (
	// DefaultParallel and MaxParallel are how many runs are under way at once, unless said, and at most.
	DefaultParallel = 4
	MaxParallel     = 64
	// MaxBackfilled is how many intervals a backfill is of at most.
	MaxBackfilled = 250_000
)

// Backfill is the input of the Backfill workflow: an export, and the past range whose intervals are to be exported. What
// is published already is left as it is, unless a redo is asked for.
type Backfill struct {
	Definition Definition `json:"definition"`
	// Start is where the range begins, a boundary of the export's grid. Left out, the interval that has the earliest row
	// of `events` is the first; a model of one's own needs a start.
	Start *time.Time `json:"start,omitempty"`
	// End is where the range ends, a boundary of the grid that is not in the future. Left out, the backfill goes on until it
	// has come to the present, where the export's schedule takes over.
	End *time.Time `json:"end,omitempty"`
	// Step is how long a time one run is asked for: a whole number of the export's intervals that divides a day, one day, or one
	// week, from the boundaries that an export of that length would have. Time that others have exported by shorter intervals, or
	// are at work on, is left to them. Left out, it is one interval.
	Step Duration `json:"step,omitempty"`
	// NewestFirst begins with the latest interval. Intervals that end while the backfill is under way come last all the same.
	NewestFirst bool `json:"newest_first,omitempty"`
	// Parallel is how many runs are under way at once, 1 to MaxParallel: DefaultParallel when left out, and 1 where files have
	// to appear in order.
	Parallel int `json:"parallel,omitempty"`
	// StopAtFailure starts nothing more once a run has failed. Otherwise the others go on, and the backfill fails at its end.
	StopAtFailure bool `json:"stop_at_failure,omitempty"`
	// Redo exports again, as the next revision, what was published before the backfill began. RedoBefore says the instant; so
	// who repeats a backfill by it finds done what that one had done. RedoReason says why, for people.
	Redo       bool       `json:"redo,omitempty"`
	RedoBefore *time.Time `json:"redo_before,omitempty"`
	RedoReason string     `json:"redo_reason,omitempty"`
	// Carried is what an execution hands on to the one that continues it. People leave it out.
	Carried *BackfillProgress `json:"carried,omitempty"`
}

// ParseBackfill reads the JSON of a Backfill, fills in what was left out, and checks what can be checked without a clock.
// A field that nobody knows is refused.
func ParseBackfill(data []byte) (Backfill, error) {
	backfill, err := readInput[Backfill](data, "a backfill", `{"definition": {…}, "start": "2026-11-01T00:00:00Z", "end": "2026-11-23T00:00:00Z"}`)
	if err != nil {
		return backfill, err
	}
	backfill = backfill.WithDefaults()
	return backfill, backfill.Validate()
}

// WithDefaults fills in what the user left out.
func (b Backfill) WithDefaults() Backfill {
	b.Definition = b.Definition.WithDefaults()
	switch {
	case b.Parallel != 0:
	case b.Definition.Order == OrderStrict:
		b.Parallel = 1
	default:
		b.Parallel = DefaultParallel
	}
	return b
}

// Validate says what is wrong with a backfill that has its defaults, or nil.
func (b Backfill) Validate() error {
	if err := b.Definition.Validate(); err != nil {
		return err
	}
	grid, err := b.Definition.Grid()
	if err != nil {
		return err
	}
	if err := b.ValidateParallel(b.Parallel); err != nil {
		return err
	}
	if _, err := b.Steps(); err != nil {
		return err
	}
	if b.RedoReason != "" && !b.Redoes() {
		return Errorf(KindConfig, "redo_reason: %q is given without redo: say redo: true, or leave it out", b.RedoReason)
	}
	switch {
	case b.Definition.Order == OrderStrict && b.NewestFirst:
		return Errorf(KindConfig, "newest_first: the files of export %q appear in order: its backfill goes oldest first", b.Definition.Name)
	case b.Start == nil && !b.Definition.Model.BuiltIn():
		return Errorf(KindConfig, "start is missing: where the rows of model %q begin is not known, give an RFC 3339 time such as \"2026-11-01T00:00:00Z\"", b.Definition.Model.Name)
	case b.Start != nil && b.End != nil:
		_, err = b.Cut(Interval{Start: *b.Start, End: *b.End})
	case b.Start != nil:
		_, err = grid.Split(grid.Containing(*b.Start).startingAt(*b.Start))
	case b.End != nil:
		_, err = grid.Split(grid.LastEnded(*b.End).endingAt(*b.End))
	}
	return err
}

// Redoes tells whether the backfill exports again what is published.
func (b Backfill) Redoes() bool { return b.Redo || b.RedoBefore != nil }

// RedoFrom is what the backfill asks of each run, of one that began at an instant; nil when it leaves alone what is published.
func (b Backfill) RedoFrom(began time.Time) *Redo {
	if !b.Redoes() {
		return nil
	}
	before := began
	if b.RedoBefore != nil {
		before = *b.RedoBefore
	}
	redo, _ := NewRedo(&before, b.RedoReason) // with an instant it is a redo
	return redo
}

// Cut cuts a range into what one run each is asked for, or says that this is too much, or that an end is no boundary of the
// export's grid.
func (b Backfill) Cut(span Interval) ([]Interval, error) {
	steps, err := b.Steps()
	if err != nil {
		return nil, err
	}
	if span.Length()/steps.by.shortest() > MaxBackfilled {
		return nil, Errorf(KindConfig, "%s has more than %d intervals of %s, which is what a backfill takes: give a shorter range", span, MaxBackfilled, Duration(steps.by.shortest()))
	}
	if err := steps.cells.OnGrid(span); err != nil {
		return nil, err
	}
	return steps.Cut(span), nil
}

// ValidateParallel says what is wrong with a number of runs under way at once, or nil.
func (b Backfill) ValidateParallel(parallel int) error {
	switch {
	case parallel < 1 || parallel > MaxParallel:
		return Errorf(KindConfig, "parallel: %d must be from 1 to %d", parallel, MaxParallel)
	case parallel > 1 && b.Definition.Order == OrderStrict:
		return Errorf(KindConfig, "parallel: %d: the files of export %q appear in order, one run after the other: use 1", parallel, b.Definition.Name)
	}
	return nil
}

func (i Interval) startingAt(start time.Time) Interval { return Interval{Start: start, End: i.End} }

func (i Interval) endingAt(end time.Time) Interval { return Interval{Start: i.Start, End: end} }

// BackfillState is where a backfill stands.
type BackfillState string

// The states.
const (
	BackfillRunning    BackfillState = "running"
	BackfillPaused     BackfillState = "paused"
	BackfillStopping   BackfillState = "stopping"   // a run has failed, and the others are let finish
	BackfillCancelling BackfillState = "cancelling" // its runs are being cancelled
	BackfillDone       BackfillState = "done"
)

// BackfillProgress is the answer of the query "progress" of a backfill, and its result.
type BackfillProgress struct {
	Export string        `json:"export"`
	State  BackfillState `json:"state"`
	// Note says who wants it so, and why, when it is paused or being cancelled.
	Note string `json:"note,omitempty"`
	// Span is the range; its end grows while the backfill has an open one.
	Span Interval `json:"span"`
	// Next is the boundary at which the next interval to be looked at begins or, newest first, ends.
	Next time.Time `json:"next"`
	// CatchingUp: the range as it was at first is done, and what has ended since is being worked, oldest first.
	CatchingUp bool `json:"catching_up,omitempty"`
	Parallel   int  `json:"parallel"`

	// Intervals is how many the range has: Published + AlreadyDone + Failed + Running + what waits.
	Intervals int `json:"intervals"`
	// Published were published by runs of this backfill, AlreadyDone by others before. Failed failed for good, or were
	// cancelled or terminated. Running are under way.
	Published   int `json:"published"`
	AlreadyDone int `json:"already_done"`
	Failed      int `json:"failed"`
	Running     int `json:"running"`
	// Rows and Bytes are those of Published.
	Rows  uint64 `json:"rows"`
	Bytes uint64 `json:"bytes"`
	// Failures are the first MaxFailures of Failed.
	Failures []BackfillFailure `json:"failures,omitempty"`

	// Started is when the first execution began, Updated when anything was counted last.
	Started time.Time `json:"started"`
	Updated time.Time `json:"updated"`
	// Executions counts how often the workflow has continued as new, from 1.
	Executions int `json:"executions"`
	// Recent are the last runs that this backfill published, oldest first: what the rate is computed from.
	Recent []BackfillPace `json:"recent,omitempty"`
	// RowsPerSecond and IntervalsPerMinute are the rate of late; 0 while it is not known.
	RowsPerSecond      float64 `json:"rows_per_second"`
	IntervalsPerMinute float64 `json:"intervals_per_minute"`
	// ETA is when all will be done if it goes on like this; nil while that is not known, or when the backfill is paused.
	ETA *time.Time `json:"eta,omitempty"`
}

// MaxFailures bounds the failures that a backfill tells of; the ledger has them all.
const MaxFailures = 20

// BackfillFailure is a run that failed.
type BackfillFailure struct {
	Interval Interval `json:"interval"`
	Kind     Kind     `json:"error_kind"`
	Error    string   `json:"error"`
}

// BackfillPace is when a run ended, and how many rows it had.
type BackfillPace struct {
	At   time.Time `json:"at"`
	Rows uint64    `json:"rows"`
}

// pacesKept is over how many runs the rate is taken.
const pacesKept = 20

// Settled is how many intervals nothing more is to be done about by this backfill.
func (p *BackfillProgress) Settled() int { return p.Published + p.AlreadyDone + p.Failed }

// Waiting is how many intervals nobody has looked at yet.
func (p *BackfillProgress) Waiting() int {
	return max(0, p.Intervals-p.Settled()-p.Running)
}

// Publish counts a run that was published at now.
func (p *BackfillProgress) Publish(now time.Time, rows, size uint64) {
	p.Published++
	p.Rows += rows
	p.Bytes += size
	p.Recent = append(p.Recent, BackfillPace{At: now, Rows: rows})
	if len(p.Recent) > pacesKept {
		p.Recent = append([]BackfillPace{}, p.Recent[len(p.Recent)-pacesKept:]...)
	}
}

// Fail counts a run that failed.
func (p *BackfillProgress) Fail(failure BackfillFailure) {
	p.Failed++
	if len(p.Failures) < MaxFailures {
		p.Failures = append(p.Failures, failure)
	}
}

// Rate computes the rate and what follows from it, as of now: over the time since the first of the recent runs ended.
func (p *BackfillProgress) Rate(now time.Time) {
	p.Updated = now.UTC()
	p.RowsPerSecond, p.IntervalsPerMinute, p.ETA = 0, 0, nil
	if len(p.Recent) < 2 || p.State != BackfillRunning {
		return
	}
	first := p.Recent[0]
	over := now.Sub(first.At)
	if over < time.Second {
		return
	}
	var rows uint64
	for _, pace := range p.Recent[1:] {
		rows += pace.Rows
	}
	each := over / time.Duration(len(p.Recent)-1)
	p.RowsPerSecond = float64(rows) / over.Seconds()
	p.IntervalsPerMinute = time.Minute.Seconds() / each.Seconds()
	eta := now.Add(each * time.Duration(p.Waiting()+p.Running)).UTC().Truncate(time.Second)
	p.ETA = &eta
}
