package loader

import (
	"context"
	"errors"
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
	owner   broker.Owner // since Setup
	group   sarama.ConsumerGroup
	claims  map[int32]*claim
	failed  atomic.Bool // a claim ended with an error, and the session with it
}

// Setup finds out where each claimed partition stands, before the first message is read. It waits for ClickHouse and
// Kafka as long as the session lasts.
func (s *session) Setup(group sarama.ConsumerGroupSession) error {
	ctx := group.Context()
	owner := broker.Owner{Member: group.MemberID(), Generation: group.GenerationID()}
	s.owner = owner
	partitions := group.Claims()[s.topic.Name]
	backoff := newBackoff()
	s.loader.awaits(partitions)
	s.loader.keepWindows(s.topic, partitions)
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
	for _, c := range s.claims {
		s.loader.windows[c.source] = c.window
	}
	s.loader.took(nil)
	return nil
}

// keepWindows lets go of the windows of partitions that went to other loaders.
func (l *Loader) keepWindows(topic broker.Topic, partitions []int32) {
	kept := map[string]*window{}
	for _, partition := range partitions {
		source := topic.Source(partition)
		if w := l.windows[source]; w != nil {
			kept[source] = w
		}
	}
	for source, w := range l.windows {
		if kept[source] == nil {
			w.close()
		}
	}
	l.windows = kept
}

// ConsumeClaim loads one partition until the session ends. When it returns, the session does; so a partition that is
// stopped waits for that end, and does not stop its neighbours.
func (s *session) ConsumeClaim(group sarama.ConsumerGroupSession, kafka sarama.ConsumerGroupClaim) error {
	c := s.claims[kafka.Partition()]
	err := errStopped
	if c.stopped == "" {
		work, stop := outlive(group.Context(), s.loader.config.Drain)
		defer stop()
		c.highWater = kafka.HighWaterMarkOffset
		ahead := newFeed(s.group, s.topic.Name, c.partition, &s.loader.running)
		feeding, enough := context.WithCancel(group.Context())
		var fed sync.WaitGroup
		fed.Go(func() { ahead.run(feeding, kafka.Messages()) })
		err = c.run(group.Context(), work, ahead.out)
		enough()
		fed.Wait()
	}
	switch {
	case errors.Is(err, errStopped):
		s.loader.log.Error("partition is stopped, for people to look at; exports wait for it", "source", c.source, "reason", c.stopped)
		<-group.Context().Done()
		return nil
	case broker.IsFenced(err):
		s.loader.log.Info("partition belongs to another loader by now", "source", c.source, "offset", c.done)
		return nil
	case err != nil && group.Context().Err() != nil && errors.Is(err, context.Canceled):
		s.loader.log.Info("partition is let go with an open block, which its next owner settles", "source", c.source, "offset", c.done)
		return nil
	case err != nil:
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
	witnesses := map[string]eventstore.Mark{}
	for _, mark := range roster.Marks {
		witnesses[mark.Source] = mark
	}
	claims := make(map[int32]*claim, len(partitions))
	errs := make([]error, len(partitions))
	var each sync.WaitGroup
	for i, partition := range partitions {
		c := newClaim(s.loader, s.topic, s.offsets, owner, partition)
		claims[partition] = c
		witness, isSeen := witnesses[c.source]
		each.Go(func() { errs[i] = c.resume(ctx, witness, isSeen) })
	}
	each.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return claims, s.enroll(ctx, claims, witnesses)
}

// enroll puts partitions on the roster that it does not know, that never promised anything, or that were retired. They go
// on the roster first and look after: from then on readers wait for them, so no promise that they do not see can pass
// them by. They promise a W above all others before they plan anything. One that has an open plan did all that already.
func (s *session) enroll(ctx context.Context, claims map[int32]*claim, witnesses map[string]eventstore.Mark) error {
	var newcomers []*claim
	var marks []eventstore.Mark
	for _, c := range claims {
		if c.isNew = c.isNew && c.plan == nil && c.stopped == ""; !c.isNew {
			continue
		}
		mark := c.mark(time.Time{})
		mark.New = true
		if witness := witnesses[c.source]; witness.IsRetired() {
			mark.At = witness.At.Add(time.Microsecond)
		} else {
			mark.At = witness.At
		}
		newcomers, marks = append(newcomers, c), append(marks, mark)
	}
	if len(newcomers) == 0 {
		return nil
	}
	if err := s.loader.config.Store.PublishWatermarks(ctx, marks); err != nil {
		return fmt.Errorf("put new partitions on the roster: %w", err)
	}
	roster, err := s.loader.config.Store.Watermark(ctx)
	if err != nil {
		return fmt.Errorf("read the roster again: %w", err)
	}
	for _, mark := range roster.Marks {
		for _, c := range newcomers {
			c.watermark = later(c.watermark, mark.At)
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// awaits notes the partitions that are assigned in a new session.
func (l *Loader) awaits(partitions []int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = map[int32]time.Time{}
	for _, partition := range partitions {
		l.waiting[partition] = time.Now()
	}
}

// awaited lists the partitions of which it is not known yet where they stand.
func (l *Loader) awaited() []PartitionStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	var statuses []PartitionStatus
	for partition, since := range l.waiting {
		statuses = append(statuses, PartitionStatus{Partition: partition, progressed: since, isWaiting: true})
	}
	return statuses
}

// took notes the claims of the present session; nil between sessions.
func (l *Loader) took(claims map[int32]*claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims, l.waiting = claims, nil
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
