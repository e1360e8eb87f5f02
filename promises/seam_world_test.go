//go:build world

package promises

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// arriving are rows that arrive all the time, as a loader would bring them.
type arriving struct {
	mu   sync.Mutex
	rows map[string]time.Time // arrival by uuid
}

// arrive has some rows arrive three times a second until stop is called; the watermark follows them.
func (t *thread) arrive() (rows *arriving, stop func()) {
	t.Helper()
	rows = &arriving{rows: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		ticker := time.NewTicker(time.Second / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			now, err := t.events.Now(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				t.Errorf("ask ClickHouse for the time: %v", err)
				return
			}
			made, ids := block(now.UTC().Truncate(time.Microsecond), 1, 20, `{"n": 1}`)
			made.Token = uuid.NewString()
			if err := t.events.InsertBlock(context.WithoutCancel(ctx), made); err != nil {
				t.Errorf("insert a block: %v", err)
				return
			}
			rows.mu.Lock()
			for _, id := range ids {
				rows.rows[id] = made.Arrival
			}
			rows.mu.Unlock()
			mark := eventstore.Mark{Source: made.Source, Topic: "topic", Partitions: 1, At: made.Arrival, Owner: "test"}
			if err := t.events.PublishWatermarks(context.WithoutCancel(ctx), []eventstore.Mark{mark}); err != nil {
				t.Errorf("publish the watermark: %v", err)
				return
			}
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
	t.Cleanup(stop)
	return rows, stop
}

// within are the ids of the rows that arrived in a span, sorted.
func (a *arriving) within(span export.Interval) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []string
	for id, arrival := range a.rows {
		if !arrival.Before(span.Start) && arrival.Before(span.End) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// (promise 8) A schedule and backfills until the present run over the same minutes while rows arrive: each row is exported, and
// none twice, whoever came first to an interval.
func TestThereIsNoSeamBetweenBackfillAndSchedule(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.events = behind(t, day) // the watermark is that of the rows that arrive
	rows, stop := t.arrive()
	t.work()
	definition := hourly("seamless", 1)
	definition.Every = export.Duration(time.Minute)
	grid, err := definition.Grid()
	if err != nil {
		t.Fatal(err)
	}
	first := grid.Containing(time.Now())
	start := first.Start
	const minutes = 2
	span := export.Interval{Start: start, End: start.Add(minutes * time.Minute)}
	// Backfills until the present, one after the other, so that some are under way whenever a minute ends.
	published, backfills, scheduled := 0, 0, false
	for again := time.NewTicker(200 * time.Millisecond); time.Now().Before(span.End.Add(5 * time.Second)); <-again.C {
		progress, err := t.backfill(export.Backfill{Definition: definition, Start: &start})
		if err != nil {
			t.Fatal(err)
		}
		published += progress.Published
		backfills++
		if published > 0 && !scheduled {
			t.apply(definition) // which takes over from here
			scheduled = true
		}
	}
	testworld.Eventually(tt, patience, func() error {
		manifests := t.manifests()
		for at := start; at.Before(span.End); at = at.Add(time.Minute) {
			if interval := grid.Containing(at); manifests[interval.Key()].Run.Revision == 0 {
				return fmt.Errorf("%s is not published", interval)
			}
		}
		return nil
	})
	stop()
	inSpan := map[string]bool{}
	for _, id := range rows.within(span) {
		inSpan[id] = true
	}
	seen := map[string]int{}
	for _, id := range uuids(t.rows(definition.Name)) {
		if seen[id]++; seen[id] > 1 {
			t.Errorf("row %s was exported %d times", id, seen[id])
		}
		delete(inSpan, id)
	}
	if len(inSpan) > 0 || len(seen) < 500 {
		t.Errorf("%d rows of the span are in no file; %d are", len(inSpan), len(seen))
	}
	if published == 0 || published == minutes {
		t.Errorf("backfills have published %d of %d minutes: both were to have a part", published, minutes)
	}
	runs, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: definition.Name, Within: span})
	if err != nil || len(runs) != minutes {
		t.Errorf("the ledger has %d runs of %d minutes, %v", len(runs), minutes, err)
	}
	t.Logf("%d backfills published %d of %d minutes, the schedule the others; %d rows", backfills, published, minutes, len(seen))
}
