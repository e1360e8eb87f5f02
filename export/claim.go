package export

import "encoding/json"

// Claim says of an interval of the grid, a cell, that a run over a longer time covers it. It is written conditionally in the
// place of the plan of the cell's first revision, so of a run of the cell and the longer one only one has its rows, for ever.
type Claim struct {
	// Version is the version of the plan's format: 2. Version 1 knows plans alone, and a program that knows no more must not
	// take this for one.
	Version int `json:"version"`
	// Run is the cell, in its first revision.
	Run Run `json:"run"`
	// CoveredBy is the interval that was asked for. The run that has the cell's rows is over that stretch of cells claimed for it
	// which has the cell: all of them, unless others had some first. See Segments.
	CoveredBy Interval `json:"covered_by"`
	// By is who claimed.
	By Author `json:"by"`
}

// ClaimVersion is the version of Claim that this code writes.
const ClaimVersion = 2

// MaxCells is how many intervals of the grid one run covers at most.
const MaxCells = 1000

// ReadPlan reads what stands in a plan's place: a plan, or a claim of the cell. Just one of the two answers is set.
func ReadPlan(content []byte) (*Plan, *Claim, error) {
	var head struct {
		Version   int             `json:"version"`
		CoveredBy json.RawMessage `json:"covered_by"`
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return nil, nil, err
	}
	if head.CoveredBy == nil {
		var plan Plan
		if err := json.Unmarshal(content, &plan); err != nil {
			return nil, nil, err
		}
		return &plan, nil, plan.Validate()
	}
	var claim Claim
	if err := json.Unmarshal(content, &claim); err != nil {
		return nil, nil, err
	}
	return nil, &claim, claim.validate()
}

func (c Claim) validate() error {
	switch {
	case c.Version != ClaimVersion:
		return Errorf(KindInternal, "the claim of %s has version %d, this program knows %d: run the version that wrote it", c.Run, c.Version, ClaimVersion)
	case c.Run.Start.Before(c.CoveredBy.Start) || c.CoveredBy.End.Before(c.Run.End):
		return Errorf(KindConfig, "the claim of %s says that %s covers it, which does not: find out who writes there", c.Run, c.CoveredBy)
	}
	return nil
}

// Holder is to whom a cell belongs. The zero Holder: to nobody yet.
type Holder struct {
	// Own tells that the cell has a plan of its own, or was closed before it had one.
	Own bool
	// Claim is set when a run over a longer time covers it.
	Claim *Claim
}

// isFor tells that the cell was claimed for an interval that was asked for.
func (h Holder) isFor(asked Interval) bool { return h.Claim != nil && h.Claim.CoveredBy.Equal(asked) }

// Equal tells whether two intervals begin and end at the same instants.
func (i Interval) Equal(other Interval) bool {
	return i.Start.Equal(other.Start) && i.End.Equal(other.End)
}

// Segments are the stretches of cells that were claimed for an interval that was asked for, as long as they can be: each is a
// run. Cells are those of the interval, in order, and holders say whose each is. Once each cell is somebody's they are the same
// for everybody, for ever.
func Segments(asked Interval, cells []Interval, holders []Holder) []Interval {
	var segments []Interval
	within := false
	for i, cell := range cells {
		switch claimed := holders[i].isFor(asked); {
		case claimed && within:
			segments[len(segments)-1].End = cell.End
		case claimed:
			segments = append(segments, cell)
			fallthrough
		default:
			within = claimed
		}
	}
	return segments
}

// Cells cuts an interval that one run is asked for into the cells of the grid. The error of one that has more than MaxCells
// says so.
func (g Grid) Cells(asked Interval) ([]Interval, error) {
	if err := g.OnGrid(asked); err != nil {
		return nil, err
	}
	var cells []Interval
	for at := asked.Start; at.Before(asked.End) && len(cells) <= MaxCells; at = cells[len(cells)-1].End {
		cells = append(cells, g.Containing(at))
	}
	if len(cells) > MaxCells {
		return nil, Errorf(KindConfig, "interval %s has more than %d intervals of %s, which is what one run covers: give a shorter one, or a backfill with a shorter step", asked, MaxCells, Duration(g.at(asked.Start).every))
	}
	return cells, nil
}

// Cut finds the runs that together have the rows of an interval that was asked for, in order. Settle claims each cell of an
// interval for it, unless the cell is somebody's, and says whose each is then; of an interval of one cell it only says so. The
// first and the last of the runs may begin before the interval, or end after it, where somebody else's longer run covers the
// cells there.
func (g Grid) Cut(asked Interval, settle func(asked Interval, cells []Interval) ([]Holder, error)) ([]Interval, error) {
	cells, err := g.Cells(asked)
	if err != nil {
		return nil, err
	}
	holders, err := settle(asked, cells)
	if err != nil {
		return nil, err
	}
	segments := map[string][]Interval{}
	var runs []Interval
	for i, cell := range cells {
		run := cell
		if claim := holders[i].Claim; claim != nil {
			of := claim.CoveredBy
			if _, known := segments[of.Key()]; !known {
				theirs, whose := cells, holders
				if !of.Equal(asked) {
					if theirs, err = g.Cells(of); err != nil {
						return nil, err
					}
					if whose, err = settle(of, theirs); err != nil {
						return nil, err
					}
				}
				segments[of.Key()] = Segments(of, theirs, whose)
			}
			for _, segment := range segments[of.Key()] {
				if segment.overlaps(cell) {
					run = segment
				}
			}
		}
		if last := len(runs) - 1; last < 0 || !runs[last].Equal(run) {
			runs = append(runs, run)
		}
	}
	return runs, nil
}
