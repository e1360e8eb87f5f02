package destinationtest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// irreplaceable is what holds where no revision can take the place of a published one, and redoing what holds elsewhere.
var irreplaceable = []promise{
	{"a published run that cannot be replaced is not planned again", func(t *testing.T, s Subject) {
		manifest := s.finishFirst(t)
		before := s.contents(t)
		kind, err := destinations.Lookup(s.Kind)
		if err != nil {
			t.Fatal(err)
		}
		kindIs(t, kind.Replaceable(s.Settings), export.KindConfig)
		_, err = s.Open(t).Prepare(t.Context(), s.again("redo", manifest, 200))
		kindIs(t, err, export.KindConfig)
		s.sameContents(t, before)
		s.published(t, manifest)
	}},
}

var redoing = []promise{
	{"a published run is planned again by what takes its place alone", func(t *testing.T, s Subject) {
		manifest := s.finishFirst(t)
		before := s.contents(t)
		plain := revised(s.plan("plain", 200), 2)
		prepared, err := s.Open(t).Prepare(t.Context(), plain)
		if err != nil || prepared.Published == nil {
			t.Fatalf("a plan that takes no place is answered %+v, %v", prepared, err)
		}
		same(t, "the manifest", *prepared.Published, manifest)
		s.sameContents(t, before)
		s.prepare(t, s.again("redo", manifest, 200))
		s.published(t, manifest)
	}},
	{"readers see the former revision until the next is published, and then that one", func(t *testing.T, s Subject) {
		manifest := s.finishFirst(t)
		plan := s.again("redo", manifest, 100, 100)
		s.prepare(t, plan)
		s.published(t, manifest)
		receipts := s.write(t, plan)
		s.published(t, manifest)
		next := s.finish(t, plan, receipts)
		s.published(t, next)
		if next.Run.Revision != 2 || next.Replaces == nil || next.Replaces.Revision != 1 || next.Replaces.Reason != "the test says so" {
			t.Errorf("the manifest is of %s and replaces %+v", next.Run, next.Replaces)
		}
		s.nothingUnfinished(t)
	}},
	{"a revision that was replaced is not published again", func(t *testing.T, s Subject) {
		first := s.plan("first", 300)
		s.prepare(t, first)
		receipts := s.write(t, first)
		manifest := s.finish(t, first, receipts)
		next := s.finishAgain(t, s.again("redo", manifest, 200))
		before := s.contents(t)
		zombie := manifest
		zombie.By = by("zombie")
		holds, err := s.Open(t).Publish(t.Context(), zombie)
		if err != nil || holds.By.WorkflowID == "zombie" {
			t.Errorf("a zombie of the former revision is answered %+v, %v", holds.By, err)
		}
		ending, err := s.Open(t).Close(t.Context(), closedBy(first, "zombie"))
		if err != nil || ending.Published == nil {
			t.Errorf("a zombie that closes the former revision is answered %+v, %v", ending, err)
		}
		s.sameContents(t, before)
		s.published(t, next)
	}},
	{"of many redos at once one revision comes", func(t *testing.T, s Subject) {
		const many = 4
		manifest := s.finishFirst(t)
		answers := make([]export.Manifest, many)
		var group sync.WaitGroup
		for i := range many {
			plan := s.again(string(rune('a'+i)), manifest, 200)
			plan.Replaces.Before = plan.Replaces.Before.Add(time.Duration(i) * time.Second)
			group.Go(func() {
				var err error
				if answers[i], err = s.work(t, plan); err != nil {
					t.Errorf("redo %d: %v", i, err)
				}
			})
		}
		group.Wait()
		for _, answer := range answers {
			s.published(t, answer)
			if answer.Run.Revision != 2 {
				t.Errorf("published is %s", answer.Run)
			}
		}
	}},
	{"who comes with a redo when it was done finds it", func(t *testing.T, s Subject) {
		manifest := s.finishFirst(t)
		next := s.finishAgain(t, s.again("redo", manifest, 200))
		before := s.contents(t)
		prepared, err := s.Open(t).Prepare(t.Context(), s.again("late", manifest, 100))
		if err != nil || prepared.Published == nil {
			t.Fatalf("prepare answered %+v, %v", prepared, err)
		}
		same(t, "the manifest", *prepared.Published, next)
		s.sameContents(t, before)
	}},
	{"a redo that is closed leaves the former revision, and the next takes its place", func(t *testing.T, s Subject) {
		manifest := s.finishFirst(t)
		plan := s.again("redo", manifest, 200)
		s.prepare(t, plan)
		receipts := s.write(t, plan)
		mark := s.close(t, plan, "closer")
		s.refusesToPublish(t, plan, receipts, mark)
		s.published(t, manifest)
		prepared, err := s.Open(t).Prepare(t.Context(), s.again("another", manifest, 100))
		if err != nil || prepared.Closed == nil || prepared.Published != nil {
			t.Fatalf("prepare answered %+v, %v", prepared, err)
		}
		s.published(t, s.finishAgain(t, revised(s.again("another", manifest, 100), 3)))
	}},
	{"a run is done again and again", func(t *testing.T, s Subject) {
		manifest := s.finishFirst(t)
		for range 2 {
			manifest = s.finishAgain(t, s.again("redo", manifest, 100))
			s.published(t, manifest)
		}
		if manifest.Run.Revision != 3 {
			t.Errorf("published is %s", manifest.Run)
		}
	}},
}

// RunRedoing holds a destination to the promises about redos alone, for settings by which Run is not called.
func RunRedoing(t *testing.T, newSubject func(t *testing.T) Subject) {
	for _, promise := range redoing {
		t.Run(promise.name, func(t *testing.T) {
			t.Parallel()
			promise.hold(t, newSubject(t))
		})
	}
}

// finishFirst publishes the first revision.
func (s Subject) finishFirst(t *testing.T) export.Manifest {
	t.Helper()
	plan := s.plan("first", 300)
	s.prepare(t, plan)
	return s.finish(t, plan, s.write(t, plan))
}

// again is a plan that takes the place of a published run.
func (s Subject) again(author string, published export.Manifest, rows ...uint64) export.Plan {
	plan := revised(s.plan(author, rows...), published.Run.Revision+1)
	redo := export.Redo{Before: published.By.At.Add(time.Minute), Reason: "the test says so"}
	plan.Replaces = redo.Replaces(published.Run)
	return plan
}

// finishAgain works a plan that must hold.
func (s Subject) finishAgain(t *testing.T, plan export.Plan) export.Manifest {
	t.Helper()
	s.prepare(t, plan)
	return s.finish(t, plan, s.write(t, plan))
}

// work works a plan as a workflow does: it may be another's that holds, and somebody may have published it, or his clean-up
// have taken what this one had staged.
func (s Subject) work(t *testing.T, plan export.Plan) (export.Manifest, error) {
	d := s.Open(t)
	prepared, err := d.Prepare(t.Context(), plan)
	if err != nil {
		return export.Manifest{}, err
	}
	if prepared.Published != nil {
		return *prepared.Published, nil
	}
	holds := prepared.Plan
	published, err := s.workPlan(t, d, holds)
	if !export.IsUnworkable(err) {
		return published, err
	}
	ending, closeErr := d.Close(t.Context(), closedBy(holds, plan.By.WorkflowID))
	if closeErr != nil || ending.Published == nil {
		return export.Manifest{}, errors.Join(err, closeErr)
	}
	return *ending.Published, nil
}

func (s Subject) workPlan(t *testing.T, d destinations.Destination, plan export.Plan) (export.Manifest, error) {
	var receipts []export.Receipt
	for i, chunk := range plan.Chunks {
		receipt, err := d.WriteChunk(t.Context(), task(plan, i, rows(chunk.Rows)))
		if err != nil {
			return export.Manifest{}, err
		}
		receipts = append(receipts, receipt)
	}
	proof, err := d.Prove(t.Context(), plan, receipts)
	if err != nil {
		return export.Manifest{}, err
	}
	return d.Publish(t.Context(), export.NewManifest(plan, receipts, proof, plan.By))
}
