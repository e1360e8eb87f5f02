//go:build world

package postgres

import (
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// What attempts have staged and nobody publishes is dropped when it is old and nobody is at work on its run, also by who repeats
// it after a fault. A zombie that would publish it finds it gone, which ends its revision.
func TestStagingTablesThatAreLeftOverAreDropped(t *testing.T) {
	s := newSchema(t)
	d := s.open(t, nil)
	plan := s.planOf(t, 0, 10, nil)
	zombie, err := write(t.Context(), d, plan, someRows(10))
	if err != nil {
		t.Fatal(err)
	}
	task := func(after time.Duration, remove, working bool) destinations.LeftoverTask {
		return destinations.LeftoverTask{
			Export: plan.Run.Export, Span: export.Interval{Start: tenOClock, End: tenOClock.Add(time.Hour)}, After: after, Remove: remove,
			Working: func(run export.Run) bool { return working && run == plan.Run },
		}
	}
	for name, test := range map[string]struct {
		task  destinations.LeftoverTask
		found int
	}{
		"young":       {task(time.Hour, true, false), 0},
		"at work":     {task(-time.Minute, true, true), 0},
		"asked about": {task(-time.Minute, false, false), 1},
	} {
		found, err := d.RemoveLeftovers(t.Context(), test.task)
		if err != nil || found.Found != test.found || found.Removed != 0 {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	for _, point := range []string{"postgres.leftover.drop", "postgres.leftover.dropped"} {
		t.Run(point, func(t *testing.T) {
			if _, err := write(t.Context(), d, plan, someRows(10)); err != nil {
				t.Fatal(err)
			}
			armed(t, point+"=error@1")
			if _, err := d.RemoveLeftovers(t.Context(), task(-time.Minute, true, false)); err == nil {
				t.Error("the fault was not told")
			}
			if _, err := d.RemoveLeftovers(t.Context(), task(-time.Minute, true, false)); err != nil {
				t.Errorf("the repeat: %v", err)
			}
			if left := s.stagingTables(t); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	if _, err := d.Publish(t.Context(), zombie); !export.IsUnworkable(err) {
		t.Errorf("a zombie publishes: %v", err)
	}
}
