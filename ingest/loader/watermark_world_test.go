//go:build world

package loader_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

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

// sampler reads like an export would, again and again, until the context ends.
func (w *world) sampler(ctx context.Context, t *testing.T) (samples []sample) {
	for ctx.Err() == nil {
		watermark, err := w.store.Watermark(ctx)
		if err != nil || !watermark.Complete {
			continue
		}
		if len(samples) > 0 && !watermark.At.After(samples[len(samples)-1].at) {
			continue
		}
		samples = append(samples, sample{watermark.At, w.number(t, rowsUpTo, watermark.At.UnixMicro())})
	}
	return samples
}

func TestNoRowEverAppearsAtOrBelowAPublishedWatermark(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var samples []sample
	var reading sync.WaitGroup
	reading.Go(func() { samples = w.sampler(ctx, t) })

	// Under load, through a change of owner, a quiet time, and a loader that comes back.
	config := w.config(t)
	config.BlockRows = 50
	owners := []func() *running{func() *running { return start(t, config) }, func() *running { return start(t, w.config(t)) }}
	var present *running
	for round := range 6 {
		next := owners[round%2]()
		if present != nil {
			w.send(t, 2000)
			present.stop()
		}
		present = next
		w.send(t, 3000)
		present.awaitClaims(t, func(claims int) bool { return claims == 8 })
		w.awaitRows(t, time.Minute)
	}
	last := w.awaitWatermark(t, time.Now().Add(time.Second))
	cancel()
	reading.Wait()
	present.stop()
	w.checkEachOnce(t)

	if len(samples) < 10 || samples[len(samples)-1].at.Before(last.Add(-5*time.Second)) {
		t.Fatalf("only %d samples", len(samples))
	}
	for _, s := range samples {
		if now := w.number(t, rowsUpTo, s.at.UnixMicro()); now != s.rows {
			t.Errorf("at the watermark %s a reader saw %d rows, and there are %d now", s.at.Format(time.RFC3339Nano), s.rows, now)
		}
	}
	t.Logf("%d watermarks were sampled", len(samples))
}
