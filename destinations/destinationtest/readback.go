package destinationtest

import (
	"bufio"
	"context"
	"hash/fnv"
	"io"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// readback holds destinations that read back (destinations.ReadsBack); the others prove what they stored in their own way,
// which their own tests show.
var readback = []promise{
	{"what was written is read back", func(t *testing.T, s Subject) {
		plan := s.plan("first", 500)
		receipt := s.readable(t, plan, rows(500))
		before := s.contents(t)
		for range 2 {
			if err := s.readsBack(t, plan, receipt); err != nil {
				t.Error(err)
			}
		}
		s.sameContents(t, before)
	}},
	{"a big chunk is read back", func(t *testing.T, s Subject) {
		plan := s.plan("first", 500)
		receipt := s.readable(t, plan, wide(500, s.BigChunk))
		if err := s.readsBack(t, plan, receipt); err != nil {
			t.Error(err)
		}
	}},
	{"other rows, or others than the receipt names, are told as data", func(t *testing.T, s Subject) {
		plan := s.plan("first", 500)
		receipt := s.readable(t, plan, rows(500))
		for what, change := range map[string]func(*export.Receipt){
			"hash":       func(r *export.Receipt) { r.Hash = "0000000000000001" },
			"rows":       func(r *export.Receipt) { r.Rows-- },
			"entity tag": func(r *export.Receipt) { r.ETag += "0" },
			"checksum":   func(r *export.Receipt) { r.Checksum += "0" },
			"place":      func(r *export.Receipt) { r.Location += "0" },
		} {
			changed := receipt
			change(&changed)
			err := s.readsBack(t, plan, changed)
			kindIs(t, err, export.KindData)
			if !export.IsUnworkable(err) {
				t.Errorf("another %s: %v does not end the revision", what, err)
			}
		}
	}},
}

// readable writes a plan's only chunk, and completes its receipt as a source would.
func (s Subject) readable(t *testing.T, plan export.Plan, from *source) export.Receipt {
	t.Helper()
	s.prepare(t, plan)
	receipt, err := s.Open(t).WriteChunk(t.Context(), task(plan, 0, from))
	if err != nil {
		t.Fatal(err)
	}
	receipt = s.show(t, plan, []export.Receipt{receipt})[0]
	stream, err := from.Open(t.Context(), export.Encoding{Format: export.FormatJSONEachRow, Compression: export.CompressionNone})
	if err != nil {
		t.Fatal(err)
	}
	content, err := contentOf(stream)
	if err != nil {
		t.Fatal(err)
	}
	receipt.Hash = content.HashText()
	return receipt
}

func (s Subject) readsBack(t *testing.T, plan export.Plan, receipt export.Receipt) error {
	t.Helper()
	files, can := s.Open(t).(destinations.ReadsBack)
	if !can {
		t.Fatal("the destination does not read back")
	}
	return files.ReadBack(t.Context(), plan.Run, receipt, lines{})
}

// lines reads plain JSON lines, with a hash of their text.
type lines struct{}

// Holds reads the file; see destinations.Reader.
func (lines) Holds(_ context.Context, _ export.Encoding, file io.Reader, want export.Content) (bool, string, error) {
	content, err := contentOf(file)
	return content == want, content.String(), err
}

func contentOf(file io.Reader) (export.Content, error) {
	var content export.Content
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		sum := fnv.New64a()
		_, _ = sum.Write(scanner.Bytes())
		content = content.Plus(export.Content{Rows: 1, Hash: sum.Sum64()})
	}
	return content, scanner.Err()
}
