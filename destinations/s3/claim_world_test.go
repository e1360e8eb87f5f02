//go:build world

package s3

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// cutBy finds the runs of an interval as a workflow does: it claims what the interval spans, one cell after the other.
func cutBy(ctx context.Context, d destinations.Destination, plan export.Plan, asked export.Interval) ([]export.Interval, error) {
	grid, err := plan.Definition.Grid()
	if err != nil {
		return nil, err
	}
	return grid.Cut(asked, func(asked export.Interval, cells []export.Interval) (holders []export.Holder, err error) {
		for _, cell := range cells {
			run := export.Run{Export: plan.Run.Export, Interval: cell, Revision: export.FirstRevision}
			var holder export.Holder
			if len(cells) == 1 {
				holder, err = d.Holder(ctx, run)
			} else {
				holder, err = d.Claim(ctx, export.Claim{Version: export.ClaimVersion, Run: run, CoveredBy: asked, By: plan.By})
			}
			if err != nil {
				return nil, err
			}
			holders = append(holders, holder)
		}
		return holders, nil
	})
}

// sixHours are the run's hour and the five after it.
func sixHours(plan export.Plan) export.Interval {
	return export.Interval{Start: plan.Run.Start, End: plan.Run.Start.Add(6 * time.Hour)}
}

// Killed in the middle of its claims, at the first or at a later one, who wanted six hours is succeeded by whoever comes: by who
// wants the same, and by a run of one of the hours that were claimed. A run of an hour that he had not come to works that
// hour, and the six are cut there.
func TestAProcessKilledWhileItClaimsIsSucceeded(t *testing.T) {
	for _, test := range []struct {
		point   string
		claimed int // how many hours are claimed when it dies
	}{
		{"s3.claim.put=kill@1", 0},
		{"s3.claim.answered=kill@1", 1},
		{"s3.claim.put=kill@4", 3},
		{"s3.claim.answered=kill@6", 6},
	} {
		for successor, asked := range map[string]int{"the same": 6, "the first hour": 1, "the last hour": -1} {
			t.Run(fmt.Sprintf("%s, then %s", test.point, successor), func(t *testing.T) {
				b := newBucket(t)
				plan := planOf(t, 10)
				six := sixHours(plan)
				isKilledBy(t, test.point, childRun{Connection: b.connection, Plan: plan, Claim: &six})
				d := b.open(t, jsonSettings)
				wanted := six
				switch asked {
				case 1:
					wanted.End = six.Start.Add(time.Hour)
				case -1:
					wanted.Start = six.End.Add(-time.Hour)
				}
				first, err := cutBy(t.Context(), d, plan, wanted)
				if err != nil {
					t.Fatal(err)
				}
				joins := asked == 6 || asked == 1 && test.claimed > 0 || asked == -1 && test.claimed == 6
				if want := map[bool]export.Interval{true: six, false: wanted}[joins]; len(first) != 1 || !first[0].Equal(want) {
					t.Errorf("the successor works %v, want %s", first, want)
				}
				if joins {
					return
				}
				own := plan
				own.Run.Interval = wanted
				if _, err := runOnce(t.Context(), d, own); err != nil {
					t.Fatal(err)
				}
				rest, err := cutBy(t.Context(), d, plan, six)
				if err != nil || len(rest) != 2 || !rest[0].Start.Equal(six.Start) || !rest[1].End.Equal(six.End) || !rest[0].End.Equal(rest[1].Start) {
					t.Errorf("the six hours are then cut into %v, %v", rest, err)
				}
			})
		}
	}
}

// A fault at a claim, before it and after it, is settled on the spot.
func TestAFaultWhileItClaimsIsSettled(t *testing.T) {
	for _, point := range []string{"s3.claim.put", "s3.claim.answered"} {
		t.Run(point, func(t *testing.T) {
			b := newBucket(t)
			plan := planOf(t, 10)
			disarm, err := failpoint.Arm(point + "=error@2")
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			if runs, err := cutBy(t.Context(), b.open(t, jsonSettings), plan, sixHours(plan)); err != nil || len(runs) != 1 {
				t.Errorf("the claims end with %v, %v", runs, err)
			}
			if failpoint.Hits(point) == 0 {
				t.Error("the point was never passed")
			}
		})
	}
}
