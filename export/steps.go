package export

import "time"

// Steps cuts a range into the intervals that one run each is asked for: those of the grid, or several of them at a time. The
// first and the last of a range may be shorter than a step. Make one with Backfill.Steps.
type Steps struct{ cells, by Grid }

// Steps are those of a backfill.
func (b Backfill) Steps() (Steps, error) {
	cells, err := b.Definition.Grid()
	if err != nil || b.Step == 0 || b.Step == b.Definition.Every {
		return Steps{cells, cells}, err
	}
	step, every := time.Duration(b.Step), time.Duration(b.Definition.Every)
	switch {
	case step < every || step%every != 0:
		return Steps{}, Errorf(KindConfig, "step: %q must be a whole number of the export's intervals (every %q), such as \"1d\"", b.Step, b.Definition.Every)
	case step != week && (step > day || day%step != 0):
		return Steps{}, Errorf(KindConfig, "step: %q must divide a day evenly, or be \"1d\" or \"1w\"", b.Step)
	case step/cells.shortest() > MaxCells:
		return Steps{}, Errorf(KindConfig, "step: %q has %d of the export's intervals (of %q), and one run covers at most %d: give a shorter one", b.Step, step/cells.shortest(), Duration(cells.shortest()), MaxCells)
	}
	by, err := NewGrid(b.Step, b.Definition.Offset, b.Definition.TimeZone)
	return Steps{cells, by}, err
}

// From is the step that begins at a boundary of the grid and ends at end at the latest.
func (s Steps) From(at, end time.Time) Interval {
	next := s.by.Containing(at).End
	if cell := s.cells.Containing(next); !cell.Start.Equal(next) {
		next = cell.End // of a time when the grid was coarser
	}
	if next.After(end) {
		next = end
	}
	return Interval{Start: at.UTC(), End: next.UTC()}
}

// Until is the step that ends at a boundary of the grid and begins at start at the earliest.
func (s Steps) Until(start, at time.Time) Interval {
	from := s.cells.Containing(s.by.Containing(at.Add(-time.Second)).Start).Start
	if from.Before(start) {
		from = start
	}
	return Interval{Start: from.UTC(), End: at.UTC()}
}

// Cut cuts a range whose ends are boundaries of the grid, oldest first.
func (s Steps) Cut(span Interval) []Interval {
	var steps []Interval
	for at := span.Start; at.Before(span.End); at = steps[len(steps)-1].End {
		steps = append(steps, s.From(at, span.End))
	}
	return steps
}
