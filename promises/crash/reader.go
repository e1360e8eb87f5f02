package crash

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/millrace/millrace/eventstore"
)

// Reader reads the watermark as an export does, again and again, and counts right after how many rows are at or below it.
// That number must never change.
type Reader struct {
	mu      sync.Mutex
	samples []Sample
	back    int // times that the watermark went back
	stop    context.CancelFunc
	reading sync.WaitGroup
}

// Sample is a watermark in microseconds since 1970, and the rows seen at or below it.
type Sample struct {
	At   int64
	Rows uint64
}

// StartReader reads until Close. Errors are passed over: the event store is down now and then.
func StartReader(store *eventstore.Store, rows driver.Conn) *Reader {
	ctx, stop := context.WithCancel(context.Background())
	r := &Reader{stop: stop}
	r.reading.Go(func() {
		for last := int64(0); ctx.Err() == nil; wait(ctx, 20*time.Millisecond) {
			watermark, err := store.Watermark(ctx)
			if err != nil || !watermark.Complete {
				continue
			}
			at := watermark.At.UnixMicro()
			if at < last {
				r.mu.Lock()
				r.back++
				r.mu.Unlock()
			}
			if at <= last {
				continue
			}
			var count uint64
			if rows.QueryRow(ctx, "SELECT count() FROM events WHERE inserted_at <= fromUnixTimestamp64Micro(?)", at).Scan(&count) != nil {
				continue
			}
			last = at
			r.mu.Lock()
			r.samples = append(r.samples, Sample{at, count})
			r.mu.Unlock()
		}
	})
	return r
}

// Close ends the reading.
func (r *Reader) Close() {
	r.stop()
	r.reading.Wait()
}

// Samples are what was seen so far, and how often the watermark went back.
func (r *Reader) Samples() (samples []Sample, back int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.samples), r.back
}
