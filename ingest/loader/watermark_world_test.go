//go:build world

package loader_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/failpoint"
	"github.com/millrace/millrace/internal/testworld"
)

func TestTheWatermarkAdvancesWhileNothingIsSent(t *testing.T) {
	w := newWorld(t)
	before, err := w.store.Watermark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before.Complete {
		t.Fatalf("a watermark before any loader: %+v", before)
	}
	running := start(t, w.config(t))
	first := w.awaitWatermark(t, time.Time{})
	w.awaitWatermark(t, first.Add(3*time.Second))
	marks := 0
	for _, p := range running.Status() {
		if p.Stopped == "" && time.Since(p.Watermark) < 5*time.Second {
			marks++
		}
	}
	if marks != 8 {
		t.Errorf("%d partitions have a fresh watermark, want 8", marks)
	}
}

// awaitWatermark waits until the watermark is above a time, and returns it.
func (w *world) awaitWatermark(t *testing.T, above time.Time) time.Time {
	t.Helper()
	var at time.Time
	testworld.Eventually(t, 30*time.Second, func() error {
		watermark, err := w.store.Watermark(t.Context())
		if err != nil {
			return err
		}
		if !watermark.Complete || !watermark.At.After(above) {
			return fmt.Errorf("the watermark is %v (%s), want above %v", watermark.At, watermark.Reason, above)
		}
		at = watermark.At
		return nil
	})
	return at
}

// sample is a watermark that a reader saw, and how many rows it saw at or below it, right after.
type sample struct {
	at   time.Time
	rows uint64
}

const rowsUpTo = "SELECT count() FROM events WHERE inserted_at <= fromUnixTimestamp64Micro(?)"

// reader samples like an export would, again and again, and tells when the watermark has moved.
type reader struct {
	samples []sample
	moved   chan struct{}
	stop    func()
}

func (w *world) startReader(t *testing.T) *reader {
	ctx, cancel := context.WithCancel(t.Context())
	r := &reader{moved: make(chan struct{}, 1)}
	var reading sync.WaitGroup
	reading.Go(func() {
		var last time.Time
		for ctx.Err() == nil {
			watermark, err := w.store.Watermark(ctx)
			if err != nil || !watermark.Complete || !watermark.At.After(last) {
				continue
			}
			last = watermark.At
			r.samples = append(r.samples, sample{last, w.number(t, rowsUpTo, last.UnixMicro())})
			select {
			case r.moved <- struct{}{}:
			default:
			}
		}
	})
	r.stop = func() { cancel(); reading.Wait() }
	t.Cleanup(r.stop)
	return r
}

func (r *reader) awaitMove(t *testing.T) {
	t.Helper()
	select {
	case <-r.moved:
	case <-time.After(30 * time.Second):
		t.Fatal("the watermark has not moved for 30 s")
	}
}

// check counts again what the reader saw.
func (r *reader) check(t *testing.T, w *world) {
	t.Helper()
	for _, fault := range r.faults(t, w) {
		t.Error(fault)
	}
	t.Logf("%d watermarks were sampled", len(r.samples))
}

func (r *reader) faults(t *testing.T, w *world) (faults []string) {
	t.Helper()
	for _, s := range r.samples {
		if now := w.number(t, rowsUpTo, s.at.UnixMicro()); now != s.rows {
			faults = append(faults, fmt.Sprintf("at the watermark %s a reader saw %d rows, and there are %d now", s.at.Format(time.RFC3339Nano), s.rows, now))
		}
	}
	return faults
}

func TestNoRowEverAppearsAtOrBelowAPublishedWatermark(t *testing.T) {
	w := newWorld(t)
	reader := w.startReader(t)
	config := w.config(t)
	config.BlockAge = 5 * time.Millisecond
	present := start(t, config)
	for range 3 {
		// Rows arrive right after a watermark was promised while nothing came, also from an owner that has just begun.
		for range 4 {
			reader.awaitMove(t)
			w.send(t, 200)
		}
		next := start(t, config)
		w.send(t, 2000)
		present.stop()
		present = next
	}
	w.awaitRows(t, time.Minute)
	w.awaitWatermark(t, w.lastArrival(t))
	reader.stop()
	present.stop()
	w.checkEachOnce(t)
	if len(reader.samples) < 10 {
		t.Errorf("only %d watermarks were sampled", len(reader.samples))
	}
	reader.check(t, w)
}

// last is the arrival of the last row.
func (w *world) lastArrival(t *testing.T) time.Time {
	return time.UnixMicro(int64(w.number(t, "SELECT toUInt64(toUnixTimestamp64Micro(max(inserted_at))) FROM events"))).UTC()
}

func TestAnOpenBlockHoldsTheWatermarkBack(t *testing.T) {
	w := newWorld(t)
	reader := w.startReader(t)
	running := start(t, w.config(t))
	reader.awaitMove(t)
	disarm, err := failpoint.Arm("loader.insert=wait@1")
	if err != nil {
		t.Fatal(err)
	}
	defer disarm()
	w.send(t, 2000)
	// The block that waits has its arrival time. All other partitions go on, and leave it behind.
	testworld.Eventually(t, 30*time.Second, func() error {
		statuses := running.Status()
		slices.SortFunc(statuses, func(a, b loader.PartitionStatus) int { return a.Watermark.Compare(b.Watermark) })
		if len(statuses) != 8 || statuses[1].Watermark.Sub(statuses[0].Watermark) < 3*time.Second {
			return fmt.Errorf("no partition is 3 s behind the others")
		}
		return nil
	})
	disarm()
	w.awaitRows(t, 30*time.Second)
	w.awaitWatermark(t, w.lastArrival(t))
	reader.stop()
	running.stop()
	w.checkEachOnce(t)
	reader.check(t, w)
}
