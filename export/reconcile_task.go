package export

import "time"

// Bounds of a reconciliation.
const (
	// MaxReconciled is how many intervals one is of at most.
	MaxReconciled = 1_000_000
	// DefaultCompared is how many published runs are compared unless it is said, and MaxCompared how many at most.
	DefaultCompared = 10
	MaxCompared     = 1000
	// RevisedAtOnce is how many runs are exported again at a time.
	RevisedAtOnce = 4
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
	// Fill starts a backfill from the first to the last interval that is missing or has failed, and does not wait for it.
	Fill bool `json:"fill,omitempty"`
	// Revise exports again, as the next revision, what is not what it was, and waits until that is done. RevisedAtOnce at a time.
	Revise bool `json:"revise,omitempty"`
	// Leftovers counts the finished chunks that no published run names and nobody is at work on, and Remove removes them; what is
	// younger than RemoveAfter, DefaultRemoveAfter when left out, does not count.
	Leftovers   bool     `json:"leftovers,omitempty"`
	Remove      bool     `json:"remove,omitempty"`
	RemoveAfter Duration `json:"remove_after,omitempty"`
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
	if t.RemoveAfter == 0 {
		t.RemoveAfter = DefaultRemoveAfter
	}
	return t
}

// Validate says what is wrong with a task that has its defaults, or nil.
func (t ReconcileTask) Validate() error {
	if err := t.Definition.Validate(); err != nil {
		return err
	}
	if err := t.validateBounds(); err != nil {
		return err
	}
	return t.validateRange()
}

// validateBounds checks what is no matter of the definition.
func (t ReconcileTask) validateBounds() error {
	if *t.Sample < 0 || *t.Sample > MaxCompared {
		return Errorf(KindConfig, "sample: %d must be from 0 to %d runs", *t.Sample, MaxCompared)
	}
	if t.Revise && *t.Sample == 0 && !t.All {
		return Errorf(KindConfig, "revise: with sample 0 no run is compared, so none is found to be exported again: give a greater sample, or leave one of them out")
	}
	if t.RemoveAfter < MinRemoveAfter {
		return Errorf(KindConfig, "remove_after: %q must be at least %q: what is younger may be at work", t.RemoveAfter, MinRemoveAfter)
	}
	return nil
}

func (t ReconcileTask) validateRange() error {
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
