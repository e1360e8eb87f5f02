package loader

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
)

// session is one generation of the group: the partitions that this loader owns until the next rebalance.
type session struct {
	loader  *Loader
	topic   broker.Topic
	offsets *broker.Offsets
	claims  map[int32]*claim
	failed  atomic.Bool // a claim ended with an error, and the session with it
}

// Setup finds out where each claimed partition stands, before the first message is read. It waits for ClickHouse and
// Kafka as long as the session lasts.
func (s *session) Setup(group sarama.ConsumerGroupSession) error {
	ctx := group.Context()
	owner := broker.Owner{Member: group.MemberID(), Generation: group.GenerationID()}
	partitions := group.Claims()[s.topic.Name]
	backoff := newBackoff()
	for {
		claims, err := s.resume(ctx, owner, partitions)
		if err == nil {
			s.claims = claims
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pause := backoff.next()
		s.loader.log.Warn("where the claimed partitions stand is not known yet; looking again", "error", err, "after", pause)
		sleep(ctx, pause)
	}
	for partition, c := range s.claims {
		// Only where sarama starts reading, and it commits nothing. The first call moves forward alone, the second back.
		group.MarkOffset(s.topic.Name, partition, c.readFrom, "")
		group.ResetOffset(s.topic.Name, partition, c.readFrom, "")
		s.loader.log.Info("partition claimed", "source", c.source, "offset", c.next, "watermark", c.watermark, "generation", owner.Generation)
	}
	s.loader.took(s.claims)
	return nil
}

// Cleanup lets go of the partitions. Their goroutines have ended.
func (s *session) Cleanup(sarama.ConsumerGroupSession) error {
	s.loader.took(nil)
	return nil
}

// ConsumeClaim loads one partition until the session ends. When it returns, the session does.
func (s *session) ConsumeClaim(group sarama.ConsumerGroupSession, kafka sarama.ConsumerGroupClaim) error {
	c := s.claims[kafka.Partition()]
	if c.stopped != "" {
		s.loader.log.Error("partition is stopped, for people to look at; exports wait for it", "source", c.source, "reason", c.stopped)
		<-group.Context().Done()
		return nil
	}
	work, stop := outlive(group.Context(), s.loader.config.Drain)
	defer stop()
	err := c.load(group.Context(), work, kafka.Messages())
	if broker.IsFenced(err) {
		s.loader.log.Info("partition belongs to another loader by now", "source", c.source, "offset", c.done)
		return nil
	}
	if err != nil {
		s.failed.Store(true)
	}
	return err
}

// outlive is a context that ends a while after its parent.
func outlive(parent context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	var mu sync.Mutex
	var timer *time.Timer
	release := context.AfterFunc(parent, func() {
		mu.Lock()
		defer mu.Unlock()
		timer = time.AfterFunc(by, cancel)
	})
	return ctx, func() {
		release()
		cancel()
		mu.Lock()
		defer mu.Unlock()
		if timer != nil {
			timer.Stop()
		}
	}
}

// resume makes the claims of a session, each with its next offset and watermark.
func (s *session) resume(ctx context.Context, owner broker.Owner, partitions []int32) (map[int32]*claim, error) {
	store := s.loader.config.Store
	roster, err := store.Watermark(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the roster: %w", err)
	}
	claims := make(map[int32]*claim, len(partitions))
	errs := make([]error, len(partitions))
	var each sync.WaitGroup
	for i, partition := range partitions {
		c := newClaim(s.loader, s.topic, s.offsets, owner, partition)
		claims[partition] = c
		each.Go(func() { errs[i] = c.resume(ctx, store) })
	}
	each.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}

	// A partition that the roster does not know, or that never promised anything, goes on the roster first and looks
	// after: from then on readers wait for it, so no promise that it does not see can pass it by.
	var newcomers []*claim
	for _, c := range claims {
		if at := greatest(roster, c.source); at.IsZero() {
			newcomers = append(newcomers, c)
		} else {
			c.watermark = later(c.watermark, at)
		}
	}
	if len(newcomers) == 0 {
		return claims, nil
	}
	marks := make([]eventstore.Mark, 0, len(newcomers))
	for _, c := range newcomers {
		marks = append(marks, c.mark(time.Time{}))
	}
	if err := store.PublishWatermarks(ctx, marks); err != nil {
		return nil, fmt.Errorf("put new partitions on the roster: %w", err)
	}
	if roster, err = store.Watermark(ctx); err != nil {
		return nil, fmt.Errorf("read the roster again: %w", err)
	}
	for _, c := range newcomers {
		c.watermark = later(c.watermark, greatest(roster, ""))
	}
	return claims, nil
}

// greatest is the latest time that a source has promised, or that any has if source is empty; zero if none.
func greatest(roster eventstore.Watermark, source string) time.Time {
	var at time.Time
	for _, mark := range roster.Marks {
		if source == "" || mark.Source == source {
			at = later(at, mark.At)
		}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// took notes the claims of the present session; nil between sessions.
func (l *Loader) took(claims map[int32]*claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims = claims
	if claims == nil {
		return
	}
	select {
	case <-l.ready:
	default:
		close(l.ready)
	}
}

// claimed lists the claims of the present session by partition.
func (l *Loader) claimed() []*claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	claims := make([]*claim, 0, len(l.claims))
	for _, c := range l.claims {
		claims = append(claims, c)
	}
	slices.SortFunc(claims, func(a, b *claim) int { return int(a.partition - b.partition) })
	return claims
}
