package export_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
)

// places are the plans' places of cells at a destination: each is written once.
type places map[string]export.Holder

func (p places) look(cell export.Interval) export.Holder { return p[cell.Key()] }

func (p places) write(cell export.Interval, holder export.Holder) export.Holder {
	if p[cell.Key()] == (export.Holder{}) {
		p[cell.Key()] = holder
	}
	return p[cell.Key()]
}

// errKilled ends whoever is killed in the middle of claiming.
var errKilled = export.Errorf(export.KindInternal, "killed")

// settle claims cells as ClaimCells does, and is killed before the write of that number, counted down; below 0 never.
func (p places) settle(killed *int) func(asked export.Interval, cells []export.Interval) ([]export.Holder, error) {
	return func(asked export.Interval, cells []export.Interval) ([]export.Holder, error) {
		holders := make([]export.Holder, len(cells))
		for i, cell := range cells {
			if holders[i] = p.look(cell); len(cells) == 1 || holders[i] != (export.Holder{}) {
				continue
			}
			if *killed == 0 {
				return nil, errKilled
			}
			*killed--
			holders[i] = p.write(cell, export.Holder{Claim: &export.Claim{CoveredBy: asked}})
		}
		return holders, nil
	}
}

// However runs of one interval and runs of several interleave, are killed while they claim, and come again: in the end each
// cell is in just one run, everybody who asks for the same is answered the same runs, and nobody leaves a hole.
func TestCuttingCoversEachCellOnce(t *testing.T) {
	grid, err := export.NewGrid(export.Duration(time.Hour), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	const hours = 12
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	hour := func(i int) export.Interval {
		return export.Interval{Start: start.Add(time.Duration(i) * time.Hour), End: start.Add(time.Duration(i+1) * time.Hour)}
	}
	rapid.Check(t, func(t *rapid.T) {
		there := places{}
		worked := map[string]export.Interval{}
		answers := map[string][]export.Interval{}
		work := func(run export.Interval) {
			worked[run.Key()] = run
			if grid.Containing(run.Start).Equal(run) {
				there.write(run, export.Holder{Own: true})
			}
		}
		ask := func(asked export.Interval, killed int) {
			if grid.Containing(asked.Start).Equal(asked) && there.look(asked).Claim == nil {
				work(asked) // a run of one cell plans it
				return
			}
			runs, err := grid.Cut(asked, there.settle(&killed))
			if err != nil {
				return
			}
			if before, known := answers[asked.Key()]; known && !sameIntervals(before, runs) {
				t.Fatalf("%s was cut into %v, and then into %v", asked, before, runs)
			}
			answers[asked.Key()] = runs
			for _, run := range runs {
				work(run)
			}
		}
		var asked []export.Interval
		for range rapid.IntRange(1, 12).Draw(t, "runs") {
			from := rapid.IntRange(0, hours-1).Draw(t, "from")
			to := rapid.IntRange(from, min(hours-1, from+rapid.IntRange(0, hours).Draw(t, "longer"))).Draw(t, "to")
			asked = append(asked, export.Interval{Start: hour(from).Start, End: hour(to).End})
			ask(asked[len(asked)-1], rapid.IntRange(-1, 5).Draw(t, "killed"))
		}
		for _, again := range asked {
			ask(again, -1)
		}
		for i := range hours {
			times, wanted := 0, false
			for _, run := range worked {
				if !run.Start.After(hour(i).Start) && !run.End.Before(hour(i).End) {
					times++
				}
			}
			for _, one := range asked {
				wanted = wanted || !one.Start.After(hour(i).Start) && !one.End.Before(hour(i).End)
			}
			if times > 1 || wanted && times == 0 {
				t.Fatalf("%s is in %d runs of %v", hour(i), times, worked)
			}
		}
	})
}

func sameIntervals(a, b []export.Interval) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

func TestWhatStandsInAPlansPlaceIsRead(t *testing.T) {
	cell := export.Run{Export: "shop-events", Interval: export.Interval{Start: time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC), End: time.Date(2026, 3, 1, 5, 0, 0, 0, time.UTC)}, Revision: 1}
	day := export.Interval{Start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
	claim := export.Claim{Version: export.ClaimVersion, Run: cell, CoveredBy: day}
	newer, elsewhere := claim, claim
	newer.Version++
	elsewhere.CoveredBy = export.Interval{Start: day.End, End: day.End.Add(time.Hour)}
	for _, test := range []struct {
		name    string
		content any
		refusal string
	}{
		{"a claim", claim, ""},
		{"a plan", export.Plan{Version: export.PlanVersion, Run: cell, Definition: export.Definition{Name: "shop-events", Team: export.Team{ID: 1}, Destination: "s3"}}, ""},
		{"a claim of a newer program", newer, "version 3"},
		{"a claim for another time", elsewhere, "which does not"},
		{"a plan of a newer program", export.Plan{Version: 2, Run: cell, Definition: export.Definition{Name: "shop-events", Team: export.Team{ID: 1}, Destination: "s3"}}, "version 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text, err := json.Marshal(test.content)
			if err != nil {
				t.Fatal(err)
			}
			plan, found, err := export.ReadPlan(text)
			_, isClaim := test.content.(export.Claim)
			switch {
			case test.refusal != "" && (err == nil || !strings.Contains(err.Error(), test.refusal)):
				t.Errorf("%v, want a refusal that says %q", err, test.refusal)
			case test.refusal == "" && (err != nil || (found != nil) != isClaim || (plan != nil) == isClaim):
				t.Errorf("%v, %v, %v", plan, found, err)
			}
		})
	}
	if _, _, err := export.ReadPlan([]byte("not ours")); err == nil {
		t.Error("what is no JSON is read")
	}
}

func TestAnIntervalOfTooManyCellsIsRefused(t *testing.T) {
	grid, err := export.NewGrid(export.Duration(time.Minute), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	if _, err := grid.Cells(export.Interval{Start: start, End: start.Add(1000 * time.Minute)}); err != nil {
		t.Error(err)
	}
	_, err = grid.Cells(export.Interval{Start: start, End: start.Add(1001 * time.Minute)})
	if export.KindOf(err) != export.KindConfig || err == nil || !strings.Contains(err.Error(), "more than 1000 intervals of 1m") {
		t.Errorf("1001 minutes are answered %v", err)
	}
}
