package destinationtest

import (
	"testing"

	"github.com/millrace/millrace/export"
)

var proofs = []promise{
	{"a proof holds what was planned, written and stored together", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300, 200)
		s.prepare(t, plan)
		receipts := s.write(t, plan)
		before := s.contents(t)
		proof, err := s.Open(t).Prove(t.Context(), plan, receipts)
		if err != nil {
			t.Fatal(err)
		}
		want := export.Proof{Level: export.ProofStream, PlannedRows: 500, WrittenRows: 500, StoredBytes: receipts[0].Bytes + receipts[1].Bytes}
		same(t, "the proof", proof, want)
		s.sameContents(t, before)
	}},
	{"an empty interval is proved", func(t *testing.T, s Subject) {
		plan := s.plan("first")
		s.prepare(t, plan)
		proof, err := s.Open(t).Prove(t.Context(), plan, nil)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "the proof", proof, export.Proof{Level: export.ProofStream})
	}},
	{"a receipt too few is refused", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300, 200)
		s.prepare(t, plan)
		_, err := s.Open(t).Prove(t.Context(), plan, s.write(t, plan)[:1])
		kindIs(t, err, export.KindInternal)
	}},
	{"a chunk that was never written is missed", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300, 200)
		s.prepare(t, plan)
		first, err := s.Open(t).WriteChunk(t.Context(), task(plan, 0, rows(300)))
		if err != nil {
			t.Fatal(err)
		}
		second := first
		second.Chunk, second.Rows = 1, 200
		if _, err := s.Open(t).Prove(t.Context(), plan, []export.Receipt{first, second}); err == nil {
			t.Error("a receipt that names another chunk's place proves a chunk that nobody wrote")
		}
	}},
	{"a receipt that says something else than the store is refused", func(t *testing.T, s Subject) {
		plan := s.plan("first", 300)
		s.prepare(t, plan)
		receipts := s.write(t, plan)
		for name, change := range map[string]func(*export.Receipt){
			"size":       func(r *export.Receipt) { r.Bytes++ },
			"entity tag": func(r *export.Receipt) { r.ETag += "0" },
			"checksum":   func(r *export.Receipt) { r.Checksum += "0" },
			"rows":       func(r *export.Receipt) { r.Rows++ },
		} {
			changed := receipts[0]
			change(&changed)
			if _, err := s.Open(t).Prove(t.Context(), plan, []export.Receipt{changed}); err == nil {
				t.Errorf("a receipt with another %s was proved", name)
			}
		}
	}},
}
