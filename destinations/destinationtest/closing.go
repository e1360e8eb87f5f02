package destinationtest

import (
	"errors"
	"sync"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

var closing = []promise{
	{"a closed revision is not published", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		receipts := s.write(t, plan)
		mark := s.close(t, plan, "closer")
		s.notPublished(t)
		s.refusesToPublish(t, plan, receipts, mark)
		s.notPublished(t)
	}},
	{"closing twice keeps the first mark", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		mark := s.close(t, plan, "closer")
		before := s.contents(t)
		again := closedBy(plan, "another")
		again.Reason = "another reason"
		ending, err := s.Open(t).Close(t.Context(), again)
		if err != nil || ending.Published != nil {
			t.Fatalf("closed again: %+v, %v", ending, err)
		}
		same(t, "the mark that holds", ending.Closed, mark)
		s.sameContents(t, before)
	}},
	{"closing a published revision finds its manifest", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		manifest := s.finish(t, plan, s.write(t, plan))
		before := s.contents(t)
		ending, err := s.Open(t).Close(t.Context(), closedBy(plan, "closer"))
		if err != nil || ending.Closed != nil || ending.Published == nil {
			t.Fatalf("closed: %+v, %v", ending, err)
		}
		same(t, "the manifest", *ending.Published, manifest)
		s.sameContents(t, before)
		s.published(t, manifest)
	}},
	{"a zombie's chunk after a close harms nobody", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		mark := s.close(t, plan, "closer")
		receipts := s.write(t, plan)
		s.refusesToPublish(t, plan, receipts, mark)
		s.notPublished(t)
		s.finishNext(t, plan)
	}},
	{"who prepares a closed revision is told, and writes nothing", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		mark := s.close(t, plan, "closer")
		before := s.contents(t)
		prepared, err := s.Open(t).Prepare(t.Context(), s.plan("second", 300))
		if err != nil || prepared.Published != nil || prepared.Closed == nil {
			t.Fatalf("prepare answered %+v, %v", prepared, err)
		}
		same(t, "the mark", *prepared.Closed, mark)
		s.sameContents(t, before)
	}},
	{"of several closed revisions the highest is told", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		next := revised(plan, 2)
		for _, plan := range []export.Plan{plan, next} {
			s.prepare(t, plan)
			s.close(t, plan, "closer")
		}
		prepared, err := s.Open(t).Prepare(t.Context(), plan)
		if err != nil || prepared.Closed == nil || prepared.Closed.Run.Revision != 2 {
			t.Errorf("prepare answered %+v, %v", prepared, err)
		}
		s.prepare(t, revised(plan, 3))
	}},
	{"the revision after a closed one is published in its stead", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		s.write(t, plan)
		s.close(t, plan, "closer")
		manifest := s.finishNext(t, plan)
		prepared, err := s.Open(t).Prepare(t.Context(), s.plan("second", 100))
		if err != nil || prepared.Published == nil {
			t.Fatalf("prepare answered %+v, %v", prepared, err)
		}
		same(t, "the manifest", *prepared.Published, manifest)
	}},
	{"a published revision below a closed one stays published", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		manifest := s.finish(t, plan, s.write(t, plan))
		s.close(t, revised(plan, 2), "closer")
		s.published(t, manifest)
	}},
	{"of publishing and closing at once one wins for all", func(t *testing.T, s Subject) {
		const each = 4
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		receipts := s.write(t, plan)
		proof, err := s.Open(t).Prove(t.Context(), plan, receipts)
		if err != nil {
			t.Fatal(err)
		}
		published, refused := make([]bool, each), make([]bool, each)
		endings := make([]destinations.Ending, each)
		var group sync.WaitGroup
		for i := range each {
			publisher, closer := s.Open(t), s.Open(t)
			name := string(rune('a' + i))
			group.Go(func() {
				_, err := publisher.Publish(t.Context(), export.NewManifest(plan, receipts, proof, by(name)))
				var closed *export.ClosedError
				published[i], refused[i] = err == nil, errors.As(err, &closed)
				if err != nil && !refused[i] {
					t.Errorf("publisher %d: %v", i, err)
				}
			})
			group.Go(func() {
				var err error
				if endings[i], err = closer.Close(t.Context(), closedBy(plan, name)); err != nil {
					t.Errorf("closer %d: %v", i, err)
				}
			})
		}
		group.Wait()
		for i := range each {
			if published[i] != published[0] || refused[i] == published[0] || (endings[i].Published != nil) != published[0] || (endings[i].Closed == nil) != published[0] {
				t.Errorf("publisher 0: %t; publisher %d: %t, refused %t; closer %d: %+v", published[0], i, published[i], refused[i], i, endings[i])
			}
			if same(t, "the ending", endings[i], endings[0]); t.Failed() {
				return
			}
		}
		if !published[0] {
			s.notPublished(t)
		}
	}},
}

func closedBy(plan export.Plan, author string) export.Closed {
	return export.Closed{
		Version: export.ClosedVersion, Run: plan.Run, Reason: "the rows of chunk 0 are others", DefinitionHash: plan.DefinitionHash, By: by(author),
	}
}

// close closes a plan's revision, which must not have been ended before.
func (s Subject) close(t *testing.T, plan export.Plan, author string) export.Closed {
	t.Helper()
	mark := closedBy(plan, author)
	ending, err := s.Open(t).Close(t.Context(), mark)
	if err != nil || ending.Published != nil || ending.Closed == nil {
		t.Fatalf("close: %+v, %v", ending, err)
	}
	same(t, "the mark", *ending.Closed, mark)
	return *ending.Closed
}

func (s Subject) refusesToPublish(t *testing.T, plan export.Plan, receipts []export.Receipt, mark export.Closed) {
	t.Helper()
	_, err := s.Open(t).Publish(t.Context(), export.NewManifest(plan, receipts, export.Proof{}, by("zombie")))
	var closed *export.ClosedError
	if !errors.As(err, &closed) {
		t.Fatalf("publishing a closed revision is answered %v", err)
	}
	same(t, "the mark in the refusal", closed.Closed, mark)
}

// revised is a plan as a later revision's.
func revised(plan export.Plan, revision int) export.Plan {
	plan.Run.Revision = revision
	return plan
}

// finishNext works the revision after a plan's.
func (s Subject) finishNext(t *testing.T, plan export.Plan) export.Manifest {
	t.Helper()
	next := revised(plan, plan.Run.Revision+1)
	s.prepare(t, next)
	manifest := s.finish(t, next, s.write(t, next))
	s.published(t, manifest)
	return manifest
}
