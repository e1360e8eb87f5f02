package destinationtest

import (
	"sync"
	"testing"

	"github.com/millrace/millrace/destinations"
)

var plans = []promise{
	{"the first plan wins", func(t *testing.T, s Subject) {
		first, second := s.plan("first", 3, 4), s.plan("second", 7)
		s.prepare(t, first)
		before := s.contents(t)
		prepared, err := s.Open(t).Prepare(t.Context(), second)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "the plan that holds", prepared.Plan, first)
		if prepared.Published != nil {
			t.Errorf("nothing was published, the answer is %v", prepared.Published)
		}
		s.sameContents(t, before)
	}},
	{"preparing twice writes once", func(t *testing.T, s Subject) {
		plan := s.plan("first", 3, 4)
		s.prepare(t, plan)
		before := s.contents(t)
		s.prepare(t, plan)
		s.sameContents(t, before)
	}},
	{"of many plans at once one holds for all", func(t *testing.T, s Subject) {
		const many = 8
		answers := make([]destinations.Prepared, many)
		var group sync.WaitGroup
		for i := range many {
			destination := s.Open(t)
			group.Go(func() {
				var err error
				if answers[i], err = destination.Prepare(t.Context(), s.plan("author", uint64(i+1))); err != nil {
					t.Errorf("prepare %d: %v", i, err)
				}
			})
		}
		group.Wait()
		for i, answer := range answers {
			if answer.Plan.Hash() != answers[0].Plan.Hash() {
				t.Errorf("preparer %d works by %d rows, preparer 0 by %d", i, answer.Plan.Rows, answers[0].Plan.Rows)
			}
		}
	}},
	{"plans of two intervals do not meet", func(t *testing.T, s Subject) {
		first, next := s.plan("first", 3), s.plan("next", 4)
		next.Run.Start, next.Run.End = first.Run.End, first.Run.End.Add(first.Run.Length())
		s.prepare(t, first)
		s.prepare(t, next)
	}},
}
