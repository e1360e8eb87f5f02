package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

func hour(day, from int, length time.Duration) export.Interval {
	start := time.Date(2026, 11, day, from, 0, 0, 0, time.UTC)
	return export.Interval{Start: start, End: start.Add(length)}
}

// aLedger has what makes lines long: large numbers, names and errors, and days of a zone.
func aLedger() []eventstore.LedgerRow {
	began := time.Date(2026, 11, 26, 16, 0, 1, 0, time.UTC)
	content := &export.Content{Rows: 1_299_034, Hash: 0x9f86d081884c7d65}
	return []eventstore.LedgerRow{
		{
			Run: export.Run{Export: "shop-events", Interval: hour(26, 15, time.Hour), Revision: 1}, Status: eventstore.StatusPublished,
			Rows: 1_299_034, Bytes: 412 << 20, Files: 2, Proof: export.ProofReadback, Source: content, Stored: content,
			StartedAt: began, PublishedAt: began.Add(8400 * time.Millisecond), Attempts: 2,
		},
		{
			Run: export.Run{Export: "shop-events", Interval: hour(26, 14, time.Hour), Revision: 2}, Status: eventstore.StatusFailed, Attempts: 11,
			ErrorKind: export.KindPermission,
			Error:     `write chunk 3 of bucket "lake": s3 refuses PutObject with AccessDenied: give the credentials s3:PutObject on arn:aws:s3:::lake/events/*, or take others`,
		},
		{
			Run: export.Run{Export: "shop-events", Interval: hour(26, 14, time.Hour), Revision: 1}, Status: eventstore.StatusClosed,
			Rows: 640_210, Bytes: 201 << 20, Files: 1, Attempts: 1,
		},
		{
			Run: export.Run{Export: "orders-by-day", Interval: hour(24, 23, 24*time.Hour), Revision: 1}, Status: eventstore.StatusPublished,
			Rows: 18, Bytes: 2310, Files: 1, Proof: export.ProofStream, Source: content, StartedAt: began, PublishedAt: began.Add(time.Second), Attempts: 1,
		},
	}
}

// The golden files are what people see at each width; 0 is a pipe. Look at them when they change.
func TestTheLedgerFitsTheTerminal(t *testing.T) {
	for _, width := range []int{0, 80, 100, 160, 240, 40} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			listed, _ := ledgerTable(aLedger(), false)
			var out bytes.Buffer
			listed.printWithin(&out, width)
			golden := filepath.Join("testdata", "tables", fmt.Sprintf("runs-%d.txt", width))
			if *update {
				write(t, golden, out.String())
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("the table has changed; look at it, then write it by `go test ./cmd/millrace -update` (-want +got):\n%s", diff)
			}
			for line := range strings.Lines(out.String()) {
				if length := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > 0 && length > width {
					t.Errorf("%d columns: %s", length, line)
				}
			}
			if width != 0 && width < 80 {
				return // what matters has no room
			}
			flat := strings.Join(strings.Fields(out.String()), " ")
			for _, want := range []string{"1,299,034", "readback", "8.4s", aLedger()[1].Error} {
				if !strings.Contains(flat, want) {
					t.Errorf("%q is not shown", want)
				}
			}
		})
	}
}

func TestSpans(t *testing.T) {
	for _, test := range []struct {
		start, end string
		withYear   string
		want       string
	}{
		{"2026-11-26T15:00:00Z", "2026-11-26T16:00:00Z", "2026-11-26 15:00–16:00", "11-26 15:00–16:00"},
		{"2026-11-26T23:00:00Z", "2026-11-27T00:00:00Z", "2026-11-26 23:00–24:00", "11-26 23:00–24:00"},
		{"2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z", "2026-11-26 00:00–24:00", "11-26 00:00–24:00"},
		{"2026-11-26T00:00:00+01:00", "2026-11-27T00:00:00+01:00", "2026-11-25 23:00–11-26 23:00", "11-25 23:00–11-26 23:00"},
		{"2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z", "2026-11-23 00:00–11-30 00:00", "11-23 00:00–11-30 00:00"},
		{"2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z", "2026-12-31 00:00–24:00", "12-31 00:00–24:00"},
		{"2026-12-31T12:00:00Z", "2027-01-01T12:00:00Z", "2026-12-31 12:00–2027-01-01 12:00", ""},
		{"2026-11-26T15:00:07Z", "2026-11-26T15:01:07Z", "2026-11-26 15:00:07–15:01:07", "11-26 15:00:07–15:01:07"},
	} {
		start, err := time.Parse(time.RFC3339, test.start)
		if err != nil {
			t.Fatal(err)
		}
		end, err := time.Parse(time.RFC3339, test.end)
		if err != nil {
			t.Fatal(err)
		}
		interval := export.Interval{Start: start, End: end}
		if got := (spans{}).cell(interval).short; got != test.withYear {
			t.Errorf("%s to %s is %s, want %s", test.start, test.end, got, test.withYear)
		}
		alone := spansOf([]export.Interval{interval}, func(i export.Interval) export.Interval { return i })
		switch {
		case test.want == "" && alone.year != 0:
			t.Errorf("%s to %s are all of %d", test.start, test.end, alone.year)
		case test.want != "" && (alone.cell(interval).short != test.want || alone.column().short != "INTERVAL 2026"):
			t.Errorf("%s to %s is %s below %s, want %s", test.start, test.end, alone.cell(interval).short, alone.column().short, test.want)
		}
	}
}

func TestWrapped(t *testing.T) {
	got := wrapped("one two  three\nfour antidisestablishmentarianism", 9)
	if diff := cmp.Diff([]string{"one two", "three", "four", "antidises", "tablishme", "ntarianis", "m"}, got); diff != "" {
		t.Error(diff)
	}
}
