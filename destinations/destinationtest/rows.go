package destinationtest

import (
	"bufio"
	"crypto/md5" //nolint:gosec // it is the hash of docs/proof.md, and no signature
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// inRows holds destinations whose chunks are rows in a database (destinations.HoldsRows).
var inRows = []promise{
	{"what was written is read back from its values", func(t *testing.T, s Subject) {
		plan := s.plan("first", 500)
		s.prepare(t, plan)
		d := s.rows(t)
		columns, err := d.Compared(t.Context())
		if err != nil || len(columns) == 0 {
			t.Fatalf("compared are %v, %v", columns, err)
		}
		work := task(plan, 0, rows(500))
		work.Compared = columns
		receipt, err := s.Open(t).WriteChunk(t.Context(), work)
		if err != nil {
			t.Fatal(err)
		}
		before := s.contents(t)
		for range 2 {
			got, err := d.ReadRows(t.Context(), plan.Run, receipt, columns)
			if want := canonicalContent(t, rows(500), columns); err != nil || got != want {
				t.Errorf("read back are %s, %v; written were %s", got, err, want)
			}
		}
		s.sameContents(t, before)
	}},
	{"a row with another value is read back as another content", func(t *testing.T, s Subject) {
		plan := s.plan("first", 500)
		s.prepare(t, plan)
		d := s.rows(t)
		columns, err := d.Compared(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := s.Open(t).WriteChunk(t.Context(), task(plan, 0, &source{rows: 500, salt: "other"}))
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.ReadRows(t.Context(), plan.Run, receipt, columns)
		if err != nil || got.Rows != 500 || got == canonicalContent(t, rows(500), columns) || got != canonicalContent(t, &source{rows: 500, salt: "other"}, columns) {
			t.Errorf("read back are %s, %v", got, err)
		}
	}},
	{"a chunk is not written by other columns than are compared", func(t *testing.T, s Subject) {
		plan := s.plan("first", 500)
		s.prepare(t, plan)
		before := s.contents(t)
		work := task(plan, 0, rows(500))
		work.Compared = []export.Column{{Name: "another", Type: "String"}}
		if _, err := s.Open(t).WriteChunk(t.Context(), work); err == nil {
			t.Error("it is written")
		}
		s.sameContents(t, before)
	}},
	{"a receipt that says something else is not read back", func(t *testing.T, s Subject) {
		plan := s.plan("first", 500)
		s.prepare(t, plan)
		d, receipt := s.rows(t), s.write(t, plan)[0]
		columns, err := d.Compared(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for what, change := range map[string]func(*export.Receipt){
			"rows":       func(r *export.Receipt) { r.Rows-- },
			"entity tag": func(r *export.Receipt) { r.ETag += "0" },
			"place": func(r *export.Receipt) {
				last := len(r.Location) - 1
				r.Location = r.Location[:last] + map[bool]string{true: "8", false: "7"}[r.Location[last] == '7']
			},
		} {
			changed := receipt
			change(&changed)
			if _, err := d.ReadRows(t.Context(), plan.Run, changed, columns); !export.IsUnworkable(err) {
				t.Errorf("another %s: %v does not end the revision", what, err)
			}
		}
		if _, err := d.ReadRows(t.Context(), plan.Run, receipt, columns[1:]); !export.IsUnworkable(err) {
			t.Errorf("other columns: %v does not end the revision", err)
		}
	}},
}

func (s Subject) rows(t *testing.T) destinations.HoldsRows {
	t.Helper()
	d, can := s.Open(t).(destinations.HoldsRows)
	if !can {
		t.Fatal("the destination does not hold rows")
	}
	return d
}

// canonicalContent is what rows amount to by docs/proof.md, computed a third time, from the lines that the suite makes.
func canonicalContent(t *testing.T, from *source, columns []export.Column) export.Content {
	t.Helper()
	file, err := from.file(export.Encoding{Format: export.FormatTabSeparated})
	if err != nil {
		t.Fatal(err)
	}
	var content export.Content
	model := export.EventColumns()
	lines := bufio.NewScanner(strings.NewReader(string(file)))
	for lines.Scan() {
		var text strings.Builder
		for i, field := range strings.Split(lines.Text(), "\t") {
			if !slices.Contains(columns, model[i]) {
				continue
			}
			if strings.HasPrefix(model[i].Type, "DateTime64") {
				instant, err := time.Parse(time.RFC3339Nano, field)
				if err != nil {
					t.Fatal(err)
				}
				field = strconv.FormatInt(instant.UnixMicro(), 10)
			}
			fmt.Fprintf(&text, "%d:%s", len(field), field)
		}
		sum := md5.Sum([]byte(text.String())) //nolint:gosec // as above
		content = content.Plus(export.Content{Rows: 1, Hash: binary.BigEndian.Uint64(sum[8:])})
	}
	return content
}
