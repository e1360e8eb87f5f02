package destinationtest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// ordered holds destinations whose files appear in order (destinations.ShowsInOrder), in a Subject with an Order.
var ordered = []promise{
	{"nothing shows before it is shown", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300, 200)
		s.prepare(t, plan)
		before := s.showing(t)
		s.upload(t, plan)
		if after := s.showing(t); !slices.Equal(before, after) {
			t.Errorf("before:\n%q\nafter:\n%q", before, after)
		}
	}},
	{"showing twice, and by another execution, leaves what shows", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300, 200)
		s.prepare(t, plan)
		first, second := s.upload(t, plan), s.upload(t, plan)
		shown := s.show(t, plan, first)
		before := s.showing(t)
		for _, receipts := range [][]export.Receipt{first, shown, second} {
			again := s.show(t, plan, receipts)
			for i := range again {
				again[i].Adopted = false
			}
			same(t, "what shows", again, shown)
		}
		if after := s.showing(t); !slices.Equal(before, after) {
			t.Errorf("before:\n%q\nafter:\n%q", before, after)
		}
		s.published(t, s.finish(t, plan, shown))
		s.nothingUnfinished(t)
	}},
	{"of many who show at once one wins for all", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300, 200, 100)
		s.prepare(t, plan)
		var group sync.WaitGroup
		written, answers := make([][]export.Receipt, 4), make([][]export.Receipt, 4)
		for i := range written {
			written[i] = s.upload(t, plan)
		}
		for i := range written {
			group.Go(func() { answers[i] = s.show(t, plan, written[i]) })
		}
		group.Wait()
		for _, answer := range answers {
			if len(answer) != len(plan.Chunks) {
				t.Fatalf("%d receipts", len(answer))
			}
			for i := range answer {
				if answer[i].ETag == "" || answer[i].ETag != answers[0][i].ETag {
					t.Errorf("chunk %d is %+v, and %+v", i, answer[i], answers[0][i])
				}
			}
		}
		s.finish(t, plan, answers[0])
		s.nothingUnfinished(t)
	}},
	{"a chunk that is gone before it shows holds those after it", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300, 200, 100)
		s.prepare(t, plan)
		receipts := s.upload(t, plan)
		before := s.showing(t)
		if err := s.inOrder(t).TakeBack(t.Context(), plan.Run, receipts[1:2]); err != nil {
			t.Fatal(err)
		}
		shown, err := s.inOrder(t).Show(t.Context(), plan, receipts)
		if err != nil || !slices.Equal(shown.Lost, []int{1}) || shown.Receipts != nil {
			t.Fatalf("show answered %+v, %v", shown, err)
		}
		if after := s.files(t, before); len(after) > 0 {
			t.Errorf("it shows %q", after)
		}
		receipts[1], err = s.Open(t).WriteChunk(t.Context(), task(plan, 1, rows(200)))
		if err != nil {
			t.Fatal(err)
		}
		s.published(t, s.finish(t, plan, receipts))
	}},
	{"what is taken back is gone, also the second time", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300, 200)
		s.prepare(t, plan)
		before := s.contents(t)
		receipts := s.upload(t, plan)
		for range 2 {
			if err := s.inOrder(t).TakeBack(t.Context(), plan.Run, receipts); err != nil {
				t.Error(err)
			}
		}
		s.sameContents(t, before)
	}},
	{"an earlier run that may still show is waited for", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		next := s.after(plan, 1)
		s.prepare(t, next)
		receipts := s.upload(t, next)
		s.waits(t, next, receipts)
		own := s.upload(t, plan)
		s.waits(t, next, receipts)
		own = s.show(t, plan, own)
		s.waits(t, next, receipts)
		s.finish(t, plan, own)
		s.finish(t, next, receipts)
	}},
	{"a closed run holds nobody, and shows nothing any more", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		own := s.upload(t, plan)
		next := s.after(plan, 1)
		s.prepare(t, next)
		receipts := s.upload(t, next)
		s.waits(t, next, receipts)
		s.close(t, plan, "closer")
		before := s.showing(t)
		_, err := s.inOrder(t).Show(t.Context(), plan, own)
		var closed *export.ClosedError
		if !errors.As(err, &closed) {
			// Its uploads are gone, so that it may as well be told that.
			if shown, again := s.inOrder(t).Show(t.Context(), plan, own); again != nil || len(shown.Lost) == 0 {
				t.Errorf("a closed run is shown: %+v, %v", shown, again)
			}
		}
		if after := s.files(t, before); len(after) > 0 {
			t.Errorf("it shows %q", after)
		}
		s.finish(t, next, receipts)
	}},
	{"a run that comes too late is closed, and stands apart", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		next := s.after(plan, 1)
		s.prepare(t, next)
		s.finish(t, next, s.write(t, next))
		prepared, err := s.Open(t).Prepare(t.Context(), plan)
		if err != nil || prepared.Closed == nil || prepared.Published != nil {
			t.Fatalf("prepare answered %+v, %v", prepared, err)
		}
		s.notPublished(t)
		last := s.after(plan, 2)
		s.prepare(t, last)
		receipts := s.show(t, last, s.upload(t, last))
		apart := s.finishNext(t, plan)
		if folder(apart.Receipts[0].Location) == folder(receipts[0].Location) || strings.HasPrefix(apart.Receipts[0].Location, folder(receipts[0].Location)) {
			t.Errorf("the late run's file is %s, others are like %s", apart.Receipts[0].Location, receipts[0].Location)
		}
		s.finish(t, last, receipts)
	}},
}

// folder is the first name of a location.
func folder(location string) string {
	first, _, _ := strings.Cut(location, "/")
	return first
}

// after is a plan of an interval that many lengths later.
func (s Subject) after(plan export.Plan, lengths int) export.Plan {
	for range lengths {
		plan.Run.Start, plan.Run.End = plan.Run.End, plan.Run.End.Add(theRun.Length())
	}
	return plan
}

func (s Subject) inOrder(t testing.TB) destinations.ShowsInOrder {
	t.Helper()
	files, can := s.Open(t).(destinations.ShowsInOrder)
	if !can {
		t.Fatal("the destination does not show in order")
	}
	return files
}

// upload writes all chunks of a plan, and leaves them out of sight.
func (s Subject) upload(t *testing.T, plan export.Plan) []export.Receipt {
	t.Helper()
	var receipts []export.Receipt
	for i, chunk := range plan.Chunks {
		receipt, err := s.Open(t).WriteChunk(t.Context(), task(plan, i, rows(chunk.Rows)))
		if err != nil || receipt.Upload == "" {
			t.Fatalf("write chunk %d: %+v, %v", i, receipt, err)
		}
		receipts = append(receipts, receipt)
	}
	return receipts
}

// show has what was written show where that is a step of its own. Of a closed revision nothing shows.
func (s Subject) show(t *testing.T, plan export.Plan, receipts []export.Receipt) []export.Receipt {
	t.Helper()
	if !plan.Definition.InOrder(plan.Run) || len(receipts) < len(plan.Chunks) {
		return receipts
	}
	shown, err := s.inOrder(t).Show(t.Context(), plan, receipts)
	var closed *export.ClosedError
	if errors.As(err, &closed) {
		return receipts
	}
	if err != nil || shown.Waits != "" || len(shown.Lost) > 0 {
		t.Errorf("show: %+v, %v", shown, err)
		return receipts
	}
	return shown.Receipts
}

func (s Subject) waits(t *testing.T, plan export.Plan, receipts []export.Receipt) {
	t.Helper()
	before := s.showing(t)
	shown, err := s.inOrder(t).Show(t.Context(), plan, receipts)
	if err != nil || shown.Waits == "" {
		t.Errorf("show does not wait: %+v, %v", shown, err)
	}
	if after := s.files(t, before); len(after) > 0 {
		t.Errorf("it shows %q", after)
	}
}

// showing is everything at the place that is not unfinished.
func (s Subject) showing(t testing.TB) []string {
	t.Helper()
	return slices.DeleteFunc(s.contents(t), func(line string) bool { return strings.HasPrefix(line, "unfinished ") })
}

// files are what shows and did not before, but for marks of the destination's own.
func (s Subject) files(t testing.TB, before []string) []string {
	t.Helper()
	return slices.DeleteFunc(s.showing(t), func(line string) bool { return slices.Contains(before, line) || strings.Contains(line, ".json:") })
}

// oneShows holds that of several receipts of one chunk, each of a write of its own, the first that is shown stands for all.
func (s Subject) oneShows(t *testing.T, plan export.Plan, receipts []export.Receipt) {
	t.Helper()
	var shown []export.Receipt
	for _, receipt := range receipts {
		shown = append(shown, s.show(t, plan, []export.Receipt{receipt})...)
	}
	for i, receipt := range shown {
		receipt.Adopted = shown[0].Adopted
		same(t, "the receipt of what shows", receipt, shown[0])
		if _, err := s.Open(t).Prove(t.Context(), plan, shown[i:i+1]); err != nil {
			t.Errorf("prove receipt %d: %v", i, err)
		}
	}
	s.published(t, s.finish(t, plan, shown[:1]))
	s.nothingUnfinished(t)
}
