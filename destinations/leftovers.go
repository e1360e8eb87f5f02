package destinations

import (
	"context"
	"time"

	"github.com/millrace/millrace/export"
)

// RemovesLeftovers is what a destination can do where chunks that were finished may stay that no published run names: of a
// revision that was closed, or of a plan that everybody has given up.
type RemovesLeftovers interface {
	// RemoveLeftovers finds such chunks, of runs in a range, and with task.Remove removes them. Before it removes anything of a
	// revision that is open it closes that, so that a zombie which publishes later is refused; what was published before is left
	// alone, and so is everything of a published revision, whether a later one has taken its place or not. It may be called
	// again, beside its zombie and beside runs. Without task.Remove it changes nothing.
	RemoveLeftovers(ctx context.Context, task LeftoverTask) (export.Leftovers, error)
}

// LeftoverTask says what is left over.
type LeftoverTask struct {
	Export string
	// Span is the range: runs whose interval begins in it.
	Span export.Interval
	// After is how old a plan and a chunk must be, by the destination's clock; a plan also as old as its give_up_after.
	After time.Duration
	// Remove has them removed, and not only counted.
	Remove bool
	// By is who asks.
	By export.Author
	// Working tells whether somebody is at work on a run's interval: an open revision of it is left alone.
	Working func(run export.Run) bool
	// Published tells which revisions are known to be published, so that they are not looked at.
	Published func(run export.Run) bool
}
