//go:build bench

package benchmark

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/testworld"
)

// TestProfileLoader runs a loader in this process and writes what it spends its time on, and what it holds when half is
// loaded, into the folder $MILLRACE_BENCH_PROFILE. MILLRACE_BENCH_WINDOW says how many events of each partition are known
// already; then the profile is mostly of learning them.
func TestProfileLoader(t *testing.T) {
	folder := testworld.Env(t, "MILLRACE_BENCH_PROFILE")
	known := 0
	if os.Getenv("MILLRACE_BENCH_WINDOW") != "" {
		known = number(t, "MILLRACE_BENCH_WINDOW", 0)
	}
	backlog := fill(t, known, number(t, "MILLRACE_BENCH_ROWS", 1_000_000))
	size := backlog.size()
	backlog.rows = [partitions][]event.Row{} // so that the profile of the heap is the loader's
	config := eventstoretest.Config(t)
	store, err := eventstore.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, config)
	group := backlog.kafka.Topic + ".loader"
	backlog.startAt(t, store, group)
	profile, err := os.Create(filepath.Join(folder, "cpu.pprof"))
	if err != nil {
		t.Fatal(err)
	}
	if err := pprof.StartCPUProfile(profile); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	before, began := ownCPU(t), time.Now()
	go func() {
		ended <- loader.Run(ctx, loader.Config{Store: store, Kafka: backlog.kafka, Group: group, Log: slog.New(slog.DiscardHandler)})
	}()
	halfway := false
	testworld.Eventually(t, 10*time.Minute, func() error {
		var rows uint64
		if err := conn.QueryRow(t.Context(), "SELECT count() FROM events").Scan(&rows); err != nil {
			return err
		}
		if !halfway && rows > uint64(size/2) {
			halfway = true
			heap, err := os.Create(filepath.Join(folder, "heap.pprof"))
			if err != nil {
				return err
			}
			defer heap.Close()
			if err := pprof.WriteHeapProfile(heap); err != nil {
				return err
			}
		}
		if rows < uint64(size) {
			return fmt.Errorf("%d of %d rows are loaded", rows, size)
		}
		return nil
	})
	pprof.StopCPUProfile()
	if err := profile.Close(); err != nil {
		t.Fatal(err)
	}
	used := ownCPU(t) - before
	fmt.Printf("%d rows: %.2fs, %.2fs CPU, %.0f rows per CPU-second, with the profiler\n", size, time.Since(began).Seconds(), used.Seconds(), float64(size)/used.Seconds())
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
