package export

import (
	"hash/fnv"
	"time"
)

// Bounds of a reconciliation.
const (
	// MaxReconciled is how many intervals one is of at most.
	MaxReconciled = 1_000_000
	// DefaultCompared is how many published runs are compared unless it is said, and MaxCompared how many at most.
	DefaultCompared = 10
	MaxCompared     = 1000
	// MaxListed is how many intervals, records and findings are told of each sort; the counts are of all.
	MaxListed = 20
)

// ReconcileTask is the input of the Reconcile workflow.
type ReconcileTask struct {
	Definition Definition `json:"definition"`
	// Start is a boundary of the export's grid. Left out, it is the start of the first interval that the ledger has published.
	Start *time.Time `json:"start,omitempty"`
	// End is a boundary of the grid that is not in the future; the end of the last interval that has ended when left out.
	End *time.Time `json:"end,omitempty"`
	// Sample is how many published runs are compared with ClickHouse and with the destination, 0 to MaxCompared:
	// DefaultCompared when left out. They are spread evenly over the range, and are others on another day.
	Sample *int `json:"sample,omitempty"`
	// All compares all of them, of which there may be MaxCompared.
	All bool `json:"all,omitempty"`
}

// ParseReconcile reads the JSON of a ReconcileTask, fills in what was left out, and checks what can be checked without a
// clock. A field that nobody knows is refused.
func ParseReconcile(data []byte) (ReconcileTask, error) {
	task, err := readInput[ReconcileTask](data, "a reconciliation", `{"definition": {…}, "start": "2026-11-01T00:00:00Z"}`)
	if err != nil {
		return task, err
	}
	task = task.WithDefaults()
	return task, task.Validate()
}

// WithDefaults fills in what the user left out.
func (t ReconcileTask) WithDefaults() ReconcileTask {
	t.Definition = t.Definition.WithDefaults()
	if t.Sample == nil {
		few := DefaultCompared
		t.Sample = &few
	}
	return t
}

// Validate says what is wrong with a task that has its defaults, or nil.
func (t ReconcileTask) Validate() error {
	if err := t.Definition.Validate(); err != nil {
		return err
	}
	if *t.Sample < 0 || *t.Sample > MaxCompared {
		return Errorf(KindConfig, "sample: %d must be from 0 to %d runs", *t.Sample, MaxCompared)
	}
	grid, err := t.Definition.Grid()
	if err != nil {
		return err
	}
	for _, end := range []struct {
		name string
		at   *time.Time
	}{{"start", t.Start}, {"end", t.End}} {
		if end.at == nil {
			continue
		}
		if near := grid.Containing(*end.at); !near.Start.Equal(*end.at) {
			return Errorf(KindConfig, "%s %s is not a boundary of the export's grid (every %s): the nearest are %s and %s",
				end.name, end.at.UTC().Format(time.RFC3339), grid, near.Start.Format(time.RFC3339), near.End.Format(time.RFC3339))
		}
	}
	if t.Start != nil && t.End != nil {
		return Interval{Start: *t.Start, End: *t.End}.Validate()
	}
	return nil
}

// Reconciled is what was found of the intervals of a range.
type Reconciled struct {
	// States counts the intervals in each state.
	States map[IntervalState]int `json:"states"`
	// Standings are the first MaxListed that are not proved.
	Standings []Standing `json:"not_proved,omitempty"`
	// Restored counts the published runs that the ledger did not have, and whose rows were written again from their manifests;
	// Records are the first MaxListed.
	Restored int   `json:"restored"`
	Records  []Run `json:"records,omitempty"`
	// Holes is from the start of the first to the end of the last interval that failed or is missing; nil when none is.
	Holes *Interval `json:"holes,omitempty"`
}

// Count counts an interval.
func (r *Reconciled) Count(standing Standing) {
	if r.States == nil {
		r.States = map[IntervalState]int{}
	}
	r.States[standing.State]++
	if standing.State != StateProved && len(r.Standings) < MaxListed {
		r.Standings = append(r.Standings, standing)
	}
	if standing.State.Hole() {
		r.hole(standing.Interval)
	}
}

// Restore counts a record that was written again.
func (r *Reconciled) Restore(run Run) {
	r.Restored++
	if len(r.Records) < MaxListed {
		r.Records = append(r.Records, run)
	}
}

func (r *Reconciled) hole(interval Interval) {
	if r.Holes == nil {
		r.Holes = &Interval{Start: interval.Start}
	}
	r.Holes.End = interval.End
}

// Add adds what was found of the range that follows.
func (r *Reconciled) Add(later Reconciled) {
	if r.States == nil {
		r.States = map[IntervalState]int{}
	}
	for _, state := range IntervalStates() {
		if count := later.States[state]; count > 0 {
			r.States[state] += count
		}
	}
	r.Standings = append(r.Standings, later.Standings[:min(len(later.Standings), MaxListed-len(r.Standings))]...)
	r.Restored += later.Restored
	r.Records = append(r.Records, later.Records[:min(len(later.Records), MaxListed-len(r.Records))]...)
	if later.Holes != nil {
		r.hole(*later.Holes)
	}
}

// Change is in which way a published run is not what it was.
type Change string

// The changes.
const (
	// ChangeDrift: ClickHouse's rows of the interval are not those that were exported.
	ChangeDrift Change = "drift"
	// ChangeAltered: what lies at the destination is not what was written there.
	ChangeAltered Change = "altered"
	// ChangeRemoved: something of the run is gone from the destination.
	ChangeRemoved Change = "removed"
	// ChangeUntold: it cannot be told; nothing was found that differs.
	ChangeUntold Change = "untold"
)

// Changes are all changes, in the order in which they are told.
func Changes() []Change { return []Change{ChangeDrift, ChangeAltered, ChangeRemoved, ChangeUntold} }

// Finding is something about a published run that is not what it was.
type Finding struct {
	Run    Run    `json:"run"`
	Change Change `json:"change"`
	// Ledger is what the run had when it was published, and Now what ClickHouse has; set of drift.
	Ledger *Content `json:"ledger,omitempty"`
	Now    *Content `json:"now,omitempty"`
	// Chunk is the chunk at the destination, -1 when it is not about one, and Location where that lies.
	Chunk    int    `json:"chunk"`
	Location string `json:"location,omitempty"`
	// What says it in a sentence.
	What string `json:"what"`
}

// ReconcileReport is the result of the Reconcile workflow.
type ReconcileReport struct {
	Export string   `json:"export"`
	Span   Interval `json:"span"`
	// Intervals is how many the range has, the sum of States.
	Intervals int `json:"intervals"`
	Reconciled
	// Published is how many published runs lie in the range, and Compared how many of them were compared.
	Published int `json:"published"`
	Compared  int `json:"compared"`
	// Changed counts the runs with each change, and Findings are the first MaxListed, by time.
	Changed  map[Change]int `json:"changed"`
	Findings []Finding      `json:"findings,omitempty"`
}

// Whole tells that nothing is missing, failed or not what it was.
func (r ReconcileReport) Whole() bool {
	return r.Holes == nil && r.Changed[ChangeDrift]+r.Changed[ChangeAltered]+r.Changed[ChangeRemoved] == 0
}

// Found counts what was found of one run.
func (r *ReconcileReport) Found(findings []Finding) {
	seen := map[Change]bool{}
	for _, finding := range findings {
		if !seen[finding.Change] {
			seen[finding.Change] = true
			r.Changed[finding.Change]++
		}
		if len(r.Findings) < MaxListed {
			r.Findings = append(r.Findings, finding)
		}
	}
}

// Spread chooses n out of total places, 0 to total-1, ascending and evenly spread; on another day others, by a shift that the
// day and the export's name decide.
func Spread(total, n int, name string, day time.Time) []int {
	n = min(n, total)
	if n <= 0 {
		return nil
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name + day.UTC().Format(time.DateOnly))) // a hash takes everything
	shift := int(hash.Sum64() % uint64(total))
	places := make([]int, n)
	for i := range places {
		// The stretches [i·total/n, (i+1)·total/n) have a place each.
		from, to := i*total/n, (i+1)*total/n
		places[i] = from + shift%(to-from)
	}
	return places
}
