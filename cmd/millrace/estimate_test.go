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

	"github.com/millrace/millrace/export"
)

// What people see of estimates fits a terminal, and each figure says by what it was found.
func TestEstimatesArePrinted(t *testing.T) {
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	day := export.Interval{Start: start, End: start.Add(24 * time.Hour)}
	hourly := export.Definition{Name: "shop-events", Every: export.Duration(time.Hour)}
	short, long := "1", strings.Repeat("x", export.SampleText)
	parallel := map[string]int{"a range into a table": 4}
	for name, e := range map[string]export.Estimate{
		"a range into a table": {
			Export: "shop-events", Span: day, Intervals: 24, Empty: 3, Rows: 1234567, ValueBytes: 300 << 20, Bytes: 400 << 20, BytesFrom: export.BytesSample,
			Encoded: export.Encoded{Chunks: 12, Rows: 250000, Bytes: 80 << 20}, Chunks: 40, Files: 40, PlannedIntervals: 32,
			Source:    export.SourceRead{Rows: 1300000, Total: 50000000, Tables: []string{"millrace.events", "millrace.people"}},
			Duration:  &export.Forecast{From: export.Duration(80 * time.Second), To: export.Duration(130 * time.Second), Of: export.OfExport, Runs: 20, Rows: 51000},
			Published: export.PublishedRuns{Runs: 2, Rows: 90000, Bytes: 30 << 20}, Left: export.RunsLeft{Runs: 22, Rows: 1144567},
			Destination: export.Arrangement{Kind: "postgres", Place: `table "analytics"."events"`, Format: export.Encoding{Format: export.FormatTabSeparated, Compression: export.CompressionNone},
				Columns: []export.PlacedColumn{{Name: "team_id", Source: "Int64", Type: "bigint"}, {Name: "properties", Source: "String", Type: "jsonb"}}},
		},
		"one interval into files": {
			Export: "shop-events", Span: export.Interval{Start: start, End: start.Add(time.Hour)}, Intervals: 1, Rows: 1000, Bytes: 1 << 20, BytesFrom: export.BytesEncoded, Chunks: 1, Files: 1,
			ChunksPlanned: true, Incomplete: "watermark 2026-11-23T00:40:12Z, needs 2026-11-23T01:00:00Z; held by partition kafka/millrace.events/0",
			Destination: export.Arrangement{Kind: "s3", Place: "files below s3://lake/events/", Format: export.Encoding{Format: export.FormatParquet, Compression: export.CompressionZstd},
				Columns: []export.PlacedColumn{{Name: "team_id", Source: "Int64", Type: "Int64"}, {Name: "properties", Source: "String", Type: "String"}}},
			Sample: &export.RowSample{Rows: [][]*string{{&short, &long}, {&short, nil}}, Cut: 1},
		},
		"nothing and nowhere": {
			Export: "shop-events", Span: day, Intervals: 24, Empty: 24, BytesFrom: export.BytesEncoded, ChunksPlanned: true,
			Destination: export.Arrangement{Kind: "s3", Columns: []export.PlacedColumn{}, Problem: `connection "lake" is not in the configuration`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			for _, width := range []int{0, 100, 60} {
				var text bytes.Buffer
				printEstimate(&text, width, hourly, e, parallel[name])
				fmt.Fprintf(&out, "--- %d\n%s", width, text.String())
				for line := range strings.Lines(text.String()) {
					if length := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > 0 && length > width {
						t.Errorf("%d columns: %s", length, line)
					}
				}
			}
			got := out.String()
			golden := filepath.Join("testdata", "estimates", strings.ReplaceAll(name, " ", "-")+".txt")
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("it reads otherwise; look at it, then write it by `go test ./cmd/millrace -update` (-want +got):\n%s", diff)
			}
		})
	}
}
