package destinationtest

import (
	"errors"
	"testing"

	"github.com/millrace/millrace/export"
)

// Promises that can only be tried where a test can bring them about; Guarantees says where not.
const (
	expiredPromise  = "credentials that are accepted no more end each step, and change nothing"
	readOnlyPromise = "a place that may only be read ends each step that writes, and changes nothing"
	fullPromise     = "a place that is full ends each step that writes, and changes nothing"
	underwayPromise = "a table that changes before a chunk of it is published"
)

// faults holds what happens between two calls, beside somebody else, and to whom the system does not let in any more.
var faults = []promise{
	{"a run that is begun anew after any of its steps ends as one", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300, 200)
		for steps := range 6 {
			plan.Run.Start, plan.Run.End = plan.Run.End, plan.Run.End.Add(theRun.Length()) // an interval of its own
			s.partOf(t, plan, steps)
			again := plan
			again.By = by("successor")
			prepared, err := s.Open(t).Prepare(t.Context(), again)
			if err != nil {
				t.Fatalf("after %d steps: %v", steps, err)
			}
			if prepared.Published != nil {
				if steps < 5 {
					t.Errorf("after %d steps it is published", steps)
				}
				continue
			}
			manifest := s.finish(t, prepared.Plan, s.write(t, prepared.Plan))
			found, err := s.Open(t).Published(t.Context(), plan.Run)
			if err != nil || found == nil {
				t.Fatalf("after %d steps: %v, %v", steps, found, err)
			}
			same(t, "the manifest", *found, manifest)
			s.nothingUnfinished(t)
		}
	}},
	{"the clean-up of an old execution leaves what its successor took over alone", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300, 200)
		s.prepare(t, plan)
		s.write(t, plan)
		var receipts []export.Receipt
		for i, chunk := range plan.Chunks {
			work := task(plan, i, rows(chunk.Rows))
			work.Execution = "successor"
			receipt, err := s.Open(t).WriteChunk(t.Context(), work)
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, receipt)
		}
		abort := func() {
			t.Helper()
			if err := s.Open(t).Abort(t.Context(), plan.Run, plan.By.RunID); err != nil {
				t.Fatal(err)
			}
		}
		abort()
		manifest := s.finish(t, plan, receipts)
		before := s.contents(t)
		abort()
		s.sameContents(t, before)
		s.published(t, manifest)
	}},
	{"one huge row is a chunk", func(t *testing.T, s Subject) {
		plan := s.plan("first", 1)
		s.prepare(t, plan)
		receipt, err := s.Open(t).WriteChunk(t.Context(), task(plan, 0, wide(1, s.BigChunk)))
		if err != nil {
			t.Fatal(err)
		}
		if receipt.Rows != 1 || receipt.Bytes < uint64(s.BigChunk) {
			t.Errorf("the receipt is %+v", receipt)
		}
		s.published(t, s.finish(t, plan, []export.Receipt{receipt}))
	}},
	{"text in any script is a chunk", func(t *testing.T, s Subject) {
		plan := s.plan("first", 500)
		s.prepare(t, plan)
		receipt, err := s.Open(t).WriteChunk(t.Context(), task(plan, 0, &source{rows: 500, salt: "🐢 größer 漢字 עברית \u2028 e\u0301"}))
		if err != nil {
			t.Fatal(err)
		}
		s.published(t, s.finish(t, plan, []export.Receipt{receipt}))
	}},
	{expiredPromise, func(t *testing.T, s Subject) {
		s.refusedAs(t, s.Expired, export.KindAuth)
	}},
	{readOnlyPromise, func(t *testing.T, s Subject) {
		s.refusedAs(t, s.ReadOnly, export.KindPermission, export.KindDestinationUnavailable)
	}},
	{fullPromise, func(t *testing.T, s Subject) {
		s.refusedAs(t, s.Full, export.KindQuota)
	}},
}

// partOf works a plan up to a step, and leaves it there: nothing, prepared, one chunk, all chunks, proved, published.
func (s Subject) partOf(t *testing.T, plan export.Plan, steps int) {
	t.Helper()
	var receipts []export.Receipt
	var proof export.Proof
	var err error
	for step := range steps {
		switch step {
		case 0:
			s.prepare(t, plan)
		case 1, 2:
			var receipt export.Receipt
			receipt, err = s.Open(t).WriteChunk(t.Context(), task(plan, step-1, rows(plan.Chunks[step-1].Rows)))
			receipts = append(receipts, receipt)
		case 3:
			receipts = s.show(t, plan, receipts)
			proof, err = s.Open(t).Prove(t.Context(), plan, receipts)
		case 4:
			_, err = s.Open(t).Publish(t.Context(), export.NewManifest(plan, receipts, proof, plan.By))
		}
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
	}
}

// refusedAs begins each step of a run as somebody whom the system refuses, and then does it as somebody whom it lets in.
func (s Subject) refusedAs(t *testing.T, refused Opener, kinds ...export.Kind) {
	plan := s.plan("first", 500)
	refuses := func(step string, err error) {
		t.Helper()
		for _, kind := range kinds {
			if err != nil && export.KindOf(err) == kind {
				return
			}
		}
		t.Errorf("%s is answered %v (%s), want one of %v", step, err, export.KindOf(err), kinds)
	}
	before := s.contents(t)
	_, err := refused(t).Claim(t.Context(), claimOf(plan.Run, theDay, "claimer"))
	refuses("claim", err)
	_, err = refused(t).Prepare(t.Context(), plan)
	refuses("prepare", err)
	s.sameContents(t, before)

	s.prepare(t, plan)
	before = s.contents(t)
	_, err = refused(t).WriteChunk(t.Context(), task(plan, 0, rows(500)))
	refuses("write", err)
	s.sameContents(t, before)

	receipts := s.write(t, plan)
	before = s.contents(t)
	_, err = refused(t).Publish(t.Context(), export.NewManifest(plan, receipts, export.Proof{}, plan.By))
	refuses("publish", err)
	var closed *export.ClosedError
	if errors.As(err, &closed) {
		t.Errorf("a refusal is told as a closed revision: %v", err)
	}
	s.sameContents(t, before)
	s.notPublished(t)
	s.published(t, s.finish(t, plan, receipts))
}
