package destinationtest

import (
	"sync"
	"testing"

	"github.com/millrace/millrace/export"
)

var publishing = []promise{
	{"a run is not published before its manifest", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.notPublished(t)
		s.prepare(t, plan)
		s.notPublished(t)
		receipts := s.write(t, plan)
		s.notPublished(t)
		manifest := s.finish(t, plan, receipts)
		s.published(t, manifest)
	}},
	{"an empty interval has a manifest too", func(t *testing.T, s Subject) {
		plan := s.plan("first")
		s.prepare(t, plan)
		manifest := s.finish(t, plan, s.write(t, plan))
		s.published(t, manifest)
		if manifest.Rows != 0 || len(manifest.Receipts) != 0 {
			t.Errorf("the manifest has %d rows in %d files", manifest.Rows, len(manifest.Receipts))
		}
	}},
	{"a published run is found before it is prepared again", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		manifest := s.finish(t, plan, s.write(t, plan))
		before := s.contents(t)
		prepared, err := s.Open(t).Prepare(t.Context(), s.plan("second", 100, 200))
		if err != nil {
			t.Fatal(err)
		}
		if prepared.Published == nil {
			t.Fatal("prepare does not say that the run is published")
		}
		same(t, "the manifest", prepared.Published, manifest)
		same(t, "the plan", prepared.Plan, plan)
		s.sameContents(t, before)
	}},
	{"publishing twice keeps the first manifest", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		receipts := s.write(t, plan)
		manifest := s.finish(t, plan, receipts)
		before := s.contents(t)
		second := manifest
		second.By = by("second")
		holds, err := s.Open(t).Publish(t.Context(), second)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "the manifest that holds", holds, manifest)
		s.sameContents(t, before)
	}},
	{"of many who publish at once one wins for all", func(t *testing.T, s Subject) {
		const many = 8
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		receipts := s.write(t, plan)
		proof, err := s.Open(t).Prove(t.Context(), plan, receipts)
		if err != nil {
			t.Fatal(err)
		}
		answers := make([]export.Manifest, many)
		var group sync.WaitGroup
		for i := range many {
			destination := s.Open(t)
			group.Go(func() {
				author := by(string(rune('a' + i)))
				var err error
				if answers[i], err = destination.Publish(t.Context(), export.NewManifest(plan, receipts, proof, author)); err != nil {
					t.Errorf("publisher %d: %v", i, err)
				}
			})
		}
		group.Wait()
		for _, answer := range answers {
			s.published(t, answer)
		}
	}},
	{"neighbouring intervals are published apart", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		s.finish(t, plan, s.write(t, plan))
		next := theRun
		next.Start, next.End = theRun.End, theRun.End.Add(theRun.Length())
		if manifest, err := s.Open(t).Published(t.Context(), next); err != nil || manifest != nil {
			t.Errorf("the next interval is answered %v (%v), nobody published it", manifest, err)
		}
	}},
}

func (s Subject) notPublished(t *testing.T) {
	t.Helper()
	if manifest, err := s.Open(t).Published(t.Context(), theRun); err != nil || manifest != nil {
		t.Fatalf("published is answered %v (%v), nobody published", manifest, err)
	}
}

func (s Subject) published(t *testing.T, want export.Manifest) {
	t.Helper()
	manifest, err := s.Open(t).Published(t.Context(), theRun)
	if err != nil {
		t.Fatal(err)
	}
	if manifest == nil {
		t.Fatal("the run was published, and is not found")
	}
	same(t, "the published manifest", *manifest, want)
}
