package destinationtest

import (
	"sync"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

var chunks = []promise{
	{"a receipt says what was written, in short", func(t *testing.T, s Subject) {
		plan := s.plan("first", 1234)
		s.prepare(t, plan)
		receipt := s.write(t, plan)[0]
		if receipt.Chunk != 0 || receipt.Rows != 1234 || receipt.Bytes == 0 || receipt.Location == "" {
			t.Errorf("the receipt is %+v", receipt)
		}
		receipt.Hash, receipt.ReadBack, receipt.Attempt = export.Content{}.HashText(), true, 1 // as who asks completes it
		if length := len(asJSON(t, receipt)); length > 300 {
			t.Errorf("the receipt has %d bytes of JSON, at most 300 are allowed", length)
		}
	}},
	{"what is foretold of a chunk is so", func(t *testing.T, s Subject) {
		before := s.contents(t)
		knows, can := s.Open(t).(destinations.Foretells)
		if !can {
			return
		}
		told := knows.Foretell(t.Context())
		s.sameContents(t, before)
		if told.Place == "" || told.Problem != "" {
			t.Errorf("it foretells %+v", told)
		}
		plan := s.plan("first", 10)
		s.prepare(t, plan)
		chunk := rows(10)
		if _, err := s.Open(t).WriteChunk(t.Context(), task(plan, 0, chunk)); err != nil {
			t.Fatal(err)
		}
		if asked := chunk.asked.Load(); asked == nil || *asked != told.Encoding {
			t.Errorf("a chunk is asked for as %+v, foretold was %+v", asked, told.Encoding)
		}
	}},
	{"writing twice leaves one copy", func(t *testing.T, s Subject) {
		s.writeTwice(t, rows(500), &source{rows: 500, salt: "other bytes"}, 500)
	}},
	{"writing a big chunk twice leaves one copy", func(t *testing.T, s Subject) {
		again := wide(500, s.BigChunk)
		again.salt = "other bytes"
		s.writeTwice(t, wide(500, s.BigChunk), again, 500)
	}},
	{"a zombie beside its successor leaves one copy", func(t *testing.T, s Subject) {
		s.writeAtOnce(t, 500, 0)
	}},
	{"a zombie beside its successor leaves one copy of a big chunk", func(t *testing.T, s Subject) {
		s.writeAtOnce(t, 500, s.BigChunk)
	}},
	{"what belongs to another plan is never adopted", func(t *testing.T, s Subject) {
		plan, other := s.plan("first", 500), s.plan("other", 500)
		other.Closing.Watermark = "2026-11-23T11:00:09.000000Z"
		if _, err := s.Open(t).WriteChunk(t.Context(), task(other, 0, rows(500))); err != nil {
			t.Fatal(err)
		}
		if s.Order != "" {
			s.write(t, other)
		}
		before := s.contents(t)
		if s.Staged {
			s.prepare(t, plan)
			s.refuseOthers(t, plan, other)
			return
		}
		_, err := s.Open(t).WriteChunk(t.Context(), task(plan, 0, rows(500)))
		kindIs(t, err, export.KindConfig)
		s.sameContents(t, before)
	}},
	{"progress grows to the whole", func(t *testing.T, s Subject) {
		plan := s.plan("first", 500)
		s.prepare(t, plan)
		var mutex sync.Mutex
		var told []uint64
		work := task(plan, 0, wide(500, s.BigChunk))
		work.Progress = func(bytes uint64) {
			mutex.Lock()
			defer mutex.Unlock()
			told = append(told, bytes)
		}
		receipt, err := s.Open(t).WriteChunk(t.Context(), work)
		if err != nil {
			t.Fatal(err)
		}
		if len(told) < 3 || told[len(told)-1] != receipt.Bytes {
			t.Errorf("progress was told %d times, last %v; the chunk has %d bytes", len(told), told[max(0, len(told)-1):], receipt.Bytes)
		}
	}},
}

// writeTwice writes a chunk, and again with other bytes of the same rows.
func (s Subject) writeTwice(t *testing.T, first, second *source, count uint64) {
	plan := s.plan("first", count)
	s.prepare(t, plan)
	receipt, err := s.Open(t).WriteChunk(t.Context(), task(plan, 0, first))
	if err != nil {
		t.Fatal(err)
	}
	if s.Order != "" {
		again, err := s.Open(t).WriteChunk(t.Context(), task(plan, 0, second))
		if err != nil {
			t.Fatal(err)
		}
		s.oneShows(t, plan, []export.Receipt{receipt, again})
		receipt = s.show(t, plan, []export.Receipt{receipt})[0]
	}
	before := s.contents(t)
	again, err := s.Open(t).WriteChunk(t.Context(), task(plan, 0, second))
	if err != nil {
		t.Fatal(err)
	}
	if s.Staged {
		s.oneOf(t, plan, []export.Receipt{receipt, again})
		return
	}
	same(t, "the second receipt", again, receipt)
	s.sameContents(t, before)
	s.nothingUnfinished(t)
}

// writeAtOnce lets several write the same chunk at the same time, each with bytes of its own.
func (s Subject) writeAtOnce(t *testing.T, count uint64, size int) {
	const writers = 4
	plan := s.plan("first", count)
	s.prepare(t, plan)
	receipts := make([]export.Receipt, writers)
	var group sync.WaitGroup
	for i := range writers {
		destination := s.Open(t)
		from := wide(count, size)
		from.salt = string(rune('a' + i))
		group.Go(func() {
			var err error
			if receipts[i], err = destination.WriteChunk(t.Context(), task(plan, 0, from)); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	if s.Staged {
		s.oneOf(t, plan, receipts)
		return
	}
	if s.Order != "" {
		s.oneShows(t, plan, receipts)
		return
	}
	for i, receipt := range receipts {
		if asJSON(t, receipt) != asJSON(t, receipts[0]) {
			t.Errorf("writer %d has receipt %+v, writer 0 %+v", i, receipt, receipts[0])
		}
	}
	if _, err := s.Open(t).Prove(t.Context(), plan, receipts[:1]); err != nil {
		t.Errorf("prove: %v", err)
	}
	s.nothingUnfinished(t)
}

// oneOf holds that each of several receipts of a staged chunk is proved, and that the run that takes one of them is
// published with one copy, and nothing of the others is left.
func (s Subject) oneOf(t *testing.T, plan export.Plan, receipts []export.Receipt) {
	t.Helper()
	places := map[string]bool{}
	for i, receipt := range receipts {
		places[receipt.Location] = true
		if _, err := s.Open(t).Prove(t.Context(), plan, []export.Receipt{receipt}); err != nil {
			t.Errorf("prove receipt %d: %v", i, err)
		}
	}
	if len(places) != len(receipts) {
		t.Errorf("%d writes have %d places", len(receipts), len(places))
	}
	manifest := s.finish(t, plan, receipts[len(receipts)-1:])
	s.published(t, manifest)
	s.nothingUnfinished(t)
}

// refuseOthers holds that a chunk that was staged for another plan is no chunk of this one.
func (s Subject) refuseOthers(t *testing.T, plan, other export.Plan) {
	t.Helper()
	receipts := s.write(t, other)
	if _, err := s.Open(t).Prove(t.Context(), plan, receipts); err == nil {
		t.Error("a chunk of another plan is proved")
	}
	if _, err := s.Open(t).Publish(t.Context(), export.NewManifest(plan, receipts, export.Proof{}, plan.By)); err == nil {
		t.Error("a chunk of another plan is published")
	}
	s.notPublished(t)
}
