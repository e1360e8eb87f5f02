//go:build bench

package benchmark

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// TestMemoryOfAWorker has a new worker write an interval of a tenth of the rows, and others all rows, with four chunks in
// flight each, as a format that ClickHouse gives in pieces and as one that it gives row by row.
func TestMemoryOfAWorker(t *testing.T) {
	rows := number(t, "MILLRACE_BENCH_ROWS", 10_000_000)
	past := newPast(t, rows)
	starts := newStarter(t)
	fmt.Printf("rows: %d, %d B of properties on average; four chunks at once; proof: readback\n", rows, past.properties/rows)
	fmt.Printf("peak memory of a new worker (VmHWM), after one run\n%36s", "")
	sizes := []struct {
		title         string
		every         time.Duration
		rows, inChunk int
	}{
		{"a tenth, 4 chunks", 6 * time.Minute, rows / 10, rows / 40},
		{"all, 40 chunks", time.Hour, rows, rows / 40},
		{"all, 10 chunks", time.Hour, rows, rows / 10},
	}
	for _, size := range sizes {
		fmt.Printf(" %17s", size.title)
	}
	fmt.Println()
	for _, format := range []string{`"format":"parquet","compression":"zstd"`, `"format":"jsoneachrow","compression":"none"`} {
		fmt.Printf("%36s", format[len(`"format":`):])
		for _, size := range sizes {
			part := *past
			part.rows = size.rows
			part.interval.End = part.interval.Start.Add(size.every)
			definition := definition(testworld.Name(t), uint64(size.inChunk))
			definition.Every = export.Duration(size.every)
			definition.Settings = json.RawMessage(`{"prefix":"bench",` + format + `}`)
			stop, worker := startStoppable(t, past, bucketAt("lake", testworld.Env(t, "MILLRACE_S3_ENDPOINT")))
			part.export(t, starts, definition, export.ProofReadback)
			fmt.Printf(" %13d MiB", peak(t, worker))
			stop()
		}
		fmt.Println()
	}
}
