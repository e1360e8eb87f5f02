package activities

import (
	"context"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// LeftoverTask is a part of an export's range.
type LeftoverTask struct {
	ReconcileTask
	// After is how old it must be what counts as left over.
	After export.Duration `json:"after"`
	// Remove has it removed, and not only counted.
	Remove bool `json:"remove,omitempty"`
}

// RemoveLeftovers finds the finished chunks that no published run names and nobody is at work on, and removes them when it is
// asked to. A destination that keeps none has none. Called again, or beside its zombie, it removes what is left.
func (s *Steps) RemoveLeftovers(ctx context.Context, task LeftoverTask) (export.Leftovers, error) {
	defer alive(ctx)()
	r := reconciler{Steps: s, task: task.ReconcileTask}
	found, err := r.removeLeftovers(ctx, task)
	return found, failure(ctx, err)
}

func (r *reconciler) removeLeftovers(ctx context.Context, task LeftoverTask) (found export.Leftovers, err error) {
	if r.destination, r.task.Definition, err = r.open(ctx, r.task.Definition); err != nil {
		return found, err
	}
	keeps, can := r.destination.(destinations.RemovesLeftovers)
	if !can {
		return found, nil
	}
	if r.grid, err = r.task.Definition.Grid(); err != nil {
		return found, err
	}
	recorded, err := r.Events.RecordedWithin(ctx, r.task.Definition.Name, r.task.Span)
	if err != nil {
		return found, err
	}
	published := map[string]int{}
	for _, row := range recorded {
		published[row.Interval.Key()] = row.Published
	}
	working, err := r.underWay(ctx)
	if err != nil {
		return found, err
	}
	return keeps.RemoveLeftovers(ctx, destinations.LeftoverTask{
		Export: r.task.Definition.Name, Span: r.task.Span, After: time.Duration(task.After), Remove: task.Remove, By: author(ctx),
		Published: func(run export.Run) bool { return run.Revision == published[run.Interval.Key()] },
		Working: func(run export.Run) bool {
			for _, other := range working {
				if other.Interval.Start.Before(run.End) && run.Start.Before(other.Interval.End) {
					return true
				}
			}
			return false
		},
	})
}
