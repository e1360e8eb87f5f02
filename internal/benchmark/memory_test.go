//go:build bench

package benchmark

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// TestMemoryOfAWorker has a new worker write an interval of a tenth of the rows, and another one all rows, both with four chunks
// in flight as far as there are so many, in every format that is not like another one.
func TestMemoryOfAWorker(t *testing.T) {
	rows := number(t, "MILLRACE_BENCH_ROWS", 10_000_000)
	past := newPast(t, rows)
	temporal, err := client.Dial(client.Options{HostPort: testworld.Env(t, "TEMPORAL_ADDRESS"), Namespace: testworld.Env(t, "TEMPORAL_NAMESPACE")})
	if err != nil {
		t.Fatal(err)
	}
	defer temporal.Close()
	starts := &starter.Starter{Temporal: temporal}
	const chunks = 10 // of the larger interval; the smaller has as many, of a tenth of the rows
	fmt.Printf("rows: %d, %d B of properties on average; %d chunks, four at once; proof: readback\n", rows, past.properties/rows, chunks)
	fmt.Printf("peak memory of a new worker (VmHWM), after one run\n%28s %16s %16s %16s\n", "", "a tenth", "a tenth, 1 chunk", "all")
	for _, format := range []string{`"format":"parquet","compression":"zstd"`, `"format":"jsoneachrow","compression":"none"`} {
		fmt.Printf("%28s", format[len(`"format":`):])
		for _, size := range []struct {
			every     time.Duration
			chunkRows int
		}{{6 * time.Minute, rows / 10 / chunks}, {6 * time.Minute, rows / 10}, {time.Hour, rows / chunks}} {
			part := *past
			part.rows = int(float64(rows) * size.every.Hours())
			part.interval.End = part.interval.Start.Add(size.every)
			definition := definition(testworld.Name(t), uint64(size.chunkRows))
			definition.Every = export.Duration(size.every)
			definition.Settings = json.RawMessage(`{"prefix":"bench",` + format + `}`)
			stop, worker := startStoppable(t, past, bucketAt("lake", testworld.Env(t, "MILLRACE_S3_ENDPOINT")))
			part.export(t, starts, definition, export.ProofReadback)
			fmt.Printf(" %12d MiB", peak(t, worker))
			stop()
		}
		fmt.Println()
	}
}
