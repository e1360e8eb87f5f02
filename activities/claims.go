package activities

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// Cut is which runs have the rows of an interval that was asked for.
type Cut struct {
	// Runs are in order, and together they cover the interval. The first and the last may reach beyond it, where another, longer
	// run covers the cells there.
	Runs []CutRun `json:"runs"`
}

// CutRun is one of them.
type CutRun struct {
	export.Interval
	// Published tells that it was published when it was looked up, and is not to be exported again.
	Published bool `json:"published,omitempty"`
}

// ClaimCells claims the cells that an interval spans, those of them that are nobody's yet, and tells which runs have their
// rows. Repeated, by whoever, it answers the same runs. Of an interval of one cell that a longer run covers it completes the
// claims of that one, and tells which run has the cell's rows.
func (s *Steps) ClaimCells(ctx context.Context, task FindTask) (Cut, error) {
	defer alive(ctx)()
	v, err := s.overCells(ctx, task.Definition)
	if err != nil {
		return Cut{}, failure(ctx, err)
	}
	runs, err := v.grid.Cut(task.Run.Interval, func(asked export.Interval, cells []export.Interval) ([]export.Holder, error) {
		if len(cells) == 1 {
			return v.holders(ctx, cells)
		}
		return v.claim(ctx, asked, cells)
	})
	if err != nil {
		return Cut{}, failure(ctx, err)
	}
	cut := Cut{Runs: make([]CutRun, len(runs))}
	err = atOnce(ctx, len(runs), func(ctx context.Context, i int) error {
		manifest, err := v.Published(ctx, v.run(runs[i]))
		cut.Runs[i] = CutRun{Interval: runs[i], Published: manifest != nil && !task.Redo.Asks(manifest.Publication())}
		return err
	})
	return cut, failure(ctx, err)
}

// overCells is a destination whose runs may be over several cells of the export's grid.
type overCells struct {
	destinations.Destination
	name string
	grid export.Grid

	mu sync.Mutex
	// known has the holders of the cells of intervals that were looked at, for a survey looks at many neighbours.
	known map[string][]export.Holder
}

func (s *Steps) overCells(ctx context.Context, definition export.Definition) (*overCells, error) {
	destination, definition, err := s.open(ctx, definition)
	if err != nil {
		return nil, err
	}
	return cellsOf(destination, definition)
}

func cellsOf(destination destinations.Destination, definition export.Definition) (*overCells, error) {
	grid, err := definition.Grid()
	return &overCells{Destination: destination, name: definition.Name, grid: grid, known: map[string][]export.Holder{}}, err
}

func (v *overCells) run(interval export.Interval) export.Run {
	return export.Run{Export: v.name, Interval: interval, Revision: export.FirstRevision}
}

// claim claims cells for an interval.
func (v *overCells) claim(ctx context.Context, asked export.Interval, cells []export.Interval) ([]export.Holder, error) {
	holders := make([]export.Holder, len(cells))
	by := author(ctx)
	return holders, atOnce(ctx, len(cells), func(ctx context.Context, i int) (err error) {
		holders[i], err = v.Claim(ctx, export.Claim{Version: export.ClaimVersion, Run: v.run(cells[i]), CoveredBy: asked, By: by})
		return err
	})
}

// holders tells whose cells are.
func (v *overCells) holders(ctx context.Context, cells []export.Interval) ([]export.Holder, error) {
	holders := make([]export.Holder, len(cells))
	return holders, atOnce(ctx, len(cells), func(ctx context.Context, i int) (err error) {
		holders[i], err = v.Holder(ctx, v.run(cells[i]))
		return err
	})
}

// covering finds the published run that has the rows of an interval: its own, or a longer one that covers the cell.
func (v *overCells) covering(ctx context.Context, interval export.Interval) (*export.Manifest, error) {
	manifest, err := v.Published(ctx, v.run(interval))
	if err != nil || manifest != nil {
		return manifest, err
	}
	holder, err := v.Holder(ctx, v.run(interval))
	if err != nil || holder.Claim == nil {
		return nil, err
	}
	of := holder.Claim.CoveredBy
	cells, err := v.grid.Cells(of)
	if err != nil {
		return nil, err
	}
	holders, err := v.settled(ctx, of, cells)
	if err != nil {
		return nil, err
	}
	for _, segment := range export.Segments(of, cells, holders) {
		if !segment.Start.After(interval.Start) && !segment.End.Before(interval.End) {
			return v.Published(ctx, v.run(segment))
		}
	}
	return nil, nil
}

// settled are the holders of the cells of an interval that somebody has claimed; nil while not each cell is somebody's, for
// nothing of it is published then.
func (v *overCells) settled(ctx context.Context, of export.Interval, cells []export.Interval) ([]export.Holder, error) {
	v.mu.Lock()
	known := v.known[of.Key()]
	v.mu.Unlock()
	if known != nil {
		return known, nil
	}
	holders, err := v.holders(ctx, cells)
	if err != nil {
		return nil, err
	}
	for _, holder := range holders {
		if holder == (export.Holder{}) {
			return make([]export.Holder, len(cells)), nil
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known[of.Key()] = holders
	return holders, nil
}

// isDone tells whether all rows of an interval are published, by whatever runs, and none is to be exported again.
func (v *overCells) isDone(ctx context.Context, interval export.Interval, redo *export.Redo) (bool, error) {
	manifest, err := v.covering(ctx, interval)
	if err != nil || manifest != nil {
		return manifest != nil && !redo.Asks(manifest.Publication()), err
	}
	cells, err := v.grid.Cells(interval)
	if err != nil || len(cells) == 1 {
		return false, err
	}
	for _, cell := range cells {
		if manifest, err := v.covering(ctx, cell); err != nil || manifest == nil || redo.Asks(manifest.Publication()) {
			return false, err
		}
	}
	return true, nil
}

// atOnce does n things, some at a time, until one fails.
func atOnce(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(surveyAtOnce)
	for i := range n {
		group.Go(func() error { return do(working, i) })
	}
	return group.Wait()
}
