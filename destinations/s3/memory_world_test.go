//go:build world

package s3

import (
	"context"
	"fmt"
	"io"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// flowing is a source that makes its rows as they are read and keeps none.
type flowing struct {
	line string
	left int
	rest string
}

func (f *flowing) Read(p []byte) (int, error) {
	if f.rest == "" {
		if f.left == 0 {
			return 0, io.EOF
		}
		f.left--
		f.rest = f.line
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *flowing) Close() error { return nil }

type flowingSource struct{ rows int }

func (f flowingSource) Open(context.Context, export.Encoding) (io.ReadCloser, error) {
	return &flowing{line: fmt.Sprintf("{\"padding\":%q}\n", strings.Repeat("x", 8000)), left: f.rows}, nil
}

// A worker of eight slots must stay under 512 MiB, with all it does beside this. Memory is what the Go runtime holds of
// the system, whether in use or not.
func TestEightBigChunksAtOnceStayWithinTheirMemory(t *testing.T) {
	const slots, rows, budget = 8, 6000, 400 << 20 // 48 MiB each
	b := newBucket(t)
	destination := b.open(t, jsonSettings)
	plan := planOf(t, rows)
	plan.Chunks, plan.Rows = nil, 0
	for i := range slots {
		plan.Chunks = append(plan.Chunks, export.Chunk{Index: i, Rows: rows})
		plan.Rows += rows
	}
	ended, peak := make(chan struct{}), make(chan uint64)
	go func() { peak <- peakMemory(ended) }()
	var group sync.WaitGroup
	for _, chunk := range plan.Chunks {
		group.Go(func() {
			_, err := destination.WriteChunk(t.Context(), destinations.ChunkTask{
				Run: plan.Run, Chunk: chunk, PlanHash: plan.Hash(), Execution: "x", Source: flowingSource{rows},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	close(ended)
	highest := <-peak
	t.Logf("peak: %d MiB", highest>>20)
	if highest > budget {
		t.Errorf("%d chunks at once took %d MiB, more than %d", slots, highest>>20, budget>>20)
	}
}

// peakMemory watches until ended is closed.
func peakMemory(ended <-chan struct{}) uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	var peak uint64
	for {
		metrics.Read(samples)
		peak = max(peak, samples[0].Value.Uint64()-samples[1].Value.Uint64())
		select {
		case <-ticker.C:
		case <-ended:
			return peak
		}
	}
}
