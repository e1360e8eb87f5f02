package loader

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/internal/failpoint"
)

// publisher writes the marks of all partitions to the watermark table, together and at most once a second. Each mark is
// committed already, so it stays true however late it is written, also when its partition has gone to another loader.
type publisher struct {
	store *eventstore.Store
	log   *slog.Logger

	mu        sync.Mutex
	waiting   map[string]eventstore.Mark // the newest of each source
	published map[string]int64           // the greatest offset of each source that ClickHouse has answered for
}

func newPublisher(store *eventstore.Store, log *slog.Logger) *publisher {
	return &publisher{store: store, log: log, waiting: map[string]eventstore.Mark{}, published: map[string]int64{}}
}

// offer hands over a committed mark; it takes the place of an older one of the same source.
func (p *publisher) offer(mark eventstore.Mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if before, waiting := p.waiting[mark.Source]; !waiting || mark.At.After(before.At) {
		p.waiting[mark.Source] = mark
	}
}

// answered is the greatest offset that this process has published of a source, 0 if none.
func (p *publisher) answered(source string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.published[source]
}

// run publishes until ctx ends, and then what is left, once more.
func (p *publisher) run(ctx context.Context) {
	ticker := time.NewTicker(promiseEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.publish(ctx)
		case <-ctx.Done():
			p.publish(context.WithoutCancel(ctx))
			return
		}
	}
}

func (p *publisher) publish(ctx context.Context) {
	p.mu.Lock()
	marks := slices.Collect(maps.Values(p.waiting))
	clear(p.waiting)
	p.mu.Unlock()
	if len(marks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := failpoint.Hit(ctx, "loader.publish")
	if err == nil {
		err = p.store.PublishWatermarks(ctx, marks)
	}
	if err == nil {
		err = failpoint.Hit(ctx, "loader.published")
	}
	if err != nil {
		p.log.Warn("watermarks are not published; trying again", "error", err)
		for _, mark := range marks {
			p.offer(mark)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, mark := range marks {
		p.published[mark.Source] = max(p.published[mark.Source], int64(mark.Offset))
	}
}
