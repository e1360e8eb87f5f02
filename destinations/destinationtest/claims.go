package destinationtest

import (
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

var claims = []promise{
	{"a cell is nobody's before its plan, and its own from then on", func(t *testing.T, s Subject) {
		before := s.contents(t)
		s.heldBy(t, theRun, export.Holder{})
		s.sameContents(t, before)
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		s.heldBy(t, theRun, export.Holder{Own: true})
		s.finish(t, plan, s.write(t, plan))
		s.heldBy(t, revised(plan, 2).Run, export.Holder{Own: true})
	}},
	{"a cell that is claimed is not planned, and says for what", func(t *testing.T, s Subject) {
		claim := s.claim(t, theRun, theDay, "claimer")
		before := s.contents(t)
		for _, plan := range []export.Plan{s.plan("first", 300), revised(s.plan("second", 300), 2)} {
			prepared, err := s.Open(t).Prepare(t.Context(), plan)
			if err != nil || prepared.Published != nil || prepared.Closed != nil || prepared.Covered == nil {
				t.Fatalf("prepare of revision %d answered %+v, %v", plan.Run.Revision, prepared, err)
			}
			same(t, "the claim", *prepared.Covered, claim)
		}
		s.heldBy(t, theRun, export.Holder{Claim: &claim})
		s.sameContents(t, before)
		s.notPublished(t)
	}},
	{"claiming twice keeps the first claim", func(t *testing.T, s Subject) {
		claim := s.claim(t, theRun, theDay, "claimer")
		before := s.contents(t)
		for _, again := range []export.Claim{claimOf(theRun, theDay, "zombie"), claimOf(theRun, export.Interval{Start: theRun.Start, End: theDay.End}, "another")} {
			holder, err := s.Open(t).Claim(t.Context(), again)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "the holder", holder, export.Holder{Claim: &claim})
		}
		s.sameContents(t, before)
	}},
	{"a cell that has a plan of its own is not claimed", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		for range 2 { // planned, and published
			before := s.contents(t)
			holder, err := s.Open(t).Claim(t.Context(), claimOf(theRun, theDay, "claimer"))
			if err != nil {
				t.Fatal(err)
			}
			same(t, "the holder", holder, export.Holder{Own: true})
			s.sameContents(t, before)
			s.finish(t, plan, s.write(t, plan))
		}
	}},
	{"of a plan and claims at once one wins for all", func(t *testing.T, s Subject) {
		const each = 4
		prepared, holders := make([]destinations.Prepared, each), make([]export.Holder, each)
		var group sync.WaitGroup
		for i := range each {
			preparer, claimer := s.Open(t), s.Open(t)
			name := string(rune('a' + i))
			asked := export.Interval{Start: theDay.Start.Add(time.Duration(i%2) * time.Hour), End: theDay.End}
			group.Go(func() {
				var err error
				if prepared[i], err = preparer.Prepare(t.Context(), s.plan(name, uint64(i+1))); err != nil {
					t.Errorf("preparer %d: %v", i, err)
				}
			})
			group.Go(func() {
				var err error
				if holders[i], err = claimer.Claim(t.Context(), claimOf(theRun, asked, name)); err != nil {
					t.Errorf("claimer %d: %v", i, err)
				}
			})
		}
		group.Wait()
		for i := range each {
			if same(t, "whose the cell is", holders[i], holders[0]); holders[i].Own == (holders[i].Claim != nil) {
				t.Errorf("claimer %d is answered %+v", i, holders[i])
			}
			switch same(t, "who covers it", prepared[i].Covered, holders[0].Claim); {
			case holders[0].Own && prepared[i].Plan.Hash() != prepared[0].Plan.Hash():
				t.Errorf("preparer %d works by %d rows, preparer 0 by %d", i, prepared[i].Plan.Rows, prepared[0].Plan.Rows)
			}
		}
	}},
	{"a run over several cells is published beside their claims", func(t *testing.T, s Subject) {
		next := theRun
		next.Start, next.End = theRun.End, theRun.End.Add(theRun.Length())
		plan := s.plan("first", 300, 200)
		plan.Run.End = next.End
		s.claim(t, theRun, plan.Run.Interval, "first")
		s.claim(t, next, plan.Run.Interval, "first")
		s.prepare(t, plan)
		manifest := s.finish(t, plan, s.write(t, plan))
		found, err := s.Open(t).Published(t.Context(), plan.Run)
		if err != nil || found == nil {
			t.Fatalf("%v, %v", found, err)
		}
		same(t, "the manifest", *found, manifest)
		s.notPublished(t) // a cell has no run of its own
	}},
	{"a claimed cell that was closed is worked in its next revision", func(t *testing.T, s Subject) {
		s.claim(t, theRun, theDay, "claimer")
		plan := s.plan("first", 300)
		mark := s.close(t, plan, "closer")
		prepared, err := s.Open(t).Prepare(t.Context(), plan)
		if err != nil || prepared.Closed == nil || prepared.Covered != nil {
			t.Fatalf("prepare answered %+v, %v", prepared, err)
		}
		same(t, "the mark", *prepared.Closed, mark)
		s.finishNext(t, plan)
	}},
}

// theDay is an interval that somebody asks for, and that has theRun in it.
var theDay = export.Interval{Start: theRun.Start.Add(-10 * time.Hour), End: theRun.Start.Add(14 * time.Hour)}

func claimOf(cell export.Run, asked export.Interval, author string) export.Claim {
	return export.Claim{Version: export.ClaimVersion, Run: cell, CoveredBy: asked, By: by(author)}
}

// claim claims a cell that must be nobody's.
func (s Subject) claim(t *testing.T, cell export.Run, asked export.Interval, author string) export.Claim {
	t.Helper()
	claim := claimOf(cell, asked, author)
	holder, err := s.Open(t).Claim(t.Context(), claim)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	same(t, "the holder", holder, export.Holder{Claim: &claim})
	return claim
}

func (s Subject) heldBy(t *testing.T, cell export.Run, want export.Holder) {
	t.Helper()
	holder, err := s.Open(t).Holder(t.Context(), cell)
	if err != nil {
		t.Fatalf("look whose %s is: %v", cell, err)
	}
	same(t, "whose it is", holder, want)
}
