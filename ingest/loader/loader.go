// Package loader carries events from Kafka into the events table of ClickHouse, each exactly once.
//
// Every partition that it claims goes the same round, in one goroutine, one step after the other:
//
//	collect   messages of a contiguous range of offsets, until the block is full or old enough
//	arrive    T = ClickHouse's time, or 1 µs after W if that is later
//	insert    the block, as one native block, one part and one token, again and again until its outcome is known
//	commit    the next offset with W = T beside it, fenced by the group's generation
//	publish   (partition, offset, W) to the watermark table, at most once a second
//
// W, the partition's watermark, is a promise: no row with inserted_at ≤ W will appear that is not visible now. It holds
// because T is only chosen when nothing is being inserted, is above every W that was promised before, and becomes W when
// the block is known to be in. While nothing is being inserted, W may follow ClickHouse's clock, whether messages have
// been collected or not: their block's T is chosen later. It is committed first and published after, so a member that
// was thought dead cannot promise time that its successor fills: the commit of an old generation is refused.
//
// Who claims a partition takes up from the greater of the committed offset and one after the greatest offset that
// ClickHouse has, and from the greatest W that the commit, the rows and the watermark table know. So a loader that is
// killed anywhere in the round leaves nothing out and doubles nothing.
//
// Not covered yet: a zombie that was stopped (SIGSTOP, a frozen machine) between choosing T and the insert, and wakes
// after another has taken the partition over; and a server that still works at the insert of a killed loader when the
// next owner looks, which it does only when the session timeout has passed. Both can double a block. The plan in the
// commit's metadata, made before the insert, and its repair will close them.
//
// A message that cannot be read is left out, logged with its source, offset and reason, and counted in
// millrace_loader_unreadable_messages_total; it never blocks its partition. Capture produces none.
package loader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/ingest/broker"
)

// Loader loads the partitions that its group assigns to it. Make it with New.
type Loader struct {
	config    Config
	log       *slog.Logger
	metrics   *metrics
	publisher *publisher

	mu     sync.Mutex
	claims map[int32]*claim
	ready  chan struct{}
	isRun  bool
}

// New makes a loader and registers its metrics. It reaches out to nobody: Run does.
func New(config Config) (*Loader, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Loader{config: config, log: config.Log, claims: map[int32]*claim{}, ready: make(chan struct{})}
	l.publisher = newPublisher(config.Store, config.Log)
	if l.metrics, err = newMetrics(config.Registerer, l.Status); err != nil {
		return nil, fmt.Errorf("register the loader's metrics: %w", err)
	}
	return l, nil
}

// Run makes a loader and runs it.
func Run(ctx context.Context, config Config) error {
	l, err := New(config)
	if err != nil {
		return err
	}
	return l.Run(ctx)
}

// Ready is closed when the loader has claimed partitions for the first time, also if its share is none.
func (l *Loader) Ready() <-chan struct{} { return l.ready }

// Run loads until ctx ends, and then returns nil: open blocks were inserted and committed, or, if that took longer than
// Config.Drain, will be read again by the next owner. It returns an error when going on makes no sense: the topic or the
// tables are not set up, the server refuses us or cannot keep what is promised. All other trouble is waited out, also at
// the start, for capture may run beside us and must go on accepting. A loader runs once.
func (l *Loader) Run(ctx context.Context) error {
	l.mu.Lock()
	again := l.isRun
	l.isRun = true
	l.mu.Unlock()
	if again {
		return errors.New("run the loader: it has run already; make a new one")
	}
	defer l.metrics.unregister()

	offsets, group, err := l.connect(ctx)
	if err != nil || offsets == nil {
		return err
	}
	defer offsets.Close()

	var background sync.WaitGroup
	watched, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	background.Go(func() { l.publisher.run(watched) })
	background.Go(func() { l.followEnds(watched, offsets) })
	background.Go(func() {
		for err := range group.Errors() {
			l.log.Warn("kafka consumer group has trouble", "error", err)
		}
	})
	loaded := l.consume(ctx, group, offsets)
	left := group.Close()
	stopWatching()
	background.Wait()
	if loaded == nil && left != nil {
		l.log.Warn("leaving the kafka consumer group met an error; the group notices after the session timeout", "error", left)
	}
	return loaded
}

// settledAfter is how long a session lasts that no longer counts as one of a row of failures.
const settledAfter = 30 * time.Second

// consume joins the group again whenever a session ends: a rebalance, a coordinator's death, an unknown commit.
func (l *Loader) consume(ctx context.Context, group sarama.ConsumerGroup, offsets *broker.Offsets) error {
	backoff := newBackoff()
	for ctx.Err() == nil {
		began := time.Now()
		next := &session{loader: l, offsets: offsets}
		topic, err := offsets.Topic(ctx)
		if err == nil {
			next.topic = topic
			err = group.Consume(ctx, []string{topic.Name}, next)
		}
		if time.Since(began) > settledAfter {
			backoff = newBackoff()
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && !next.failed.Load():
			continue // a rebalance
		case broker.ClassOf(err) == broker.NoTopic, broker.ClassOf(err) == broker.Denied:
			return fmt.Errorf("load from kafka: %w", err)
		}
		pause := backoff.next()
		l.log.Warn("the session with the kafka consumer group has ended; joining again", "error", err, "after", pause)
		sleep(ctx, pause)
	}
	return nil
}

// endsEvery is how often the ends of claimed partitions are asked for: lag is for people and alerts.
const endsEvery = 2 * time.Second

// followEnds keeps the ends of the claimed partitions known, so that lag also grows while nothing is read.
func (l *Loader) followEnds(ctx context.Context, offsets *broker.Offsets) {
	ticker := time.NewTicker(endsEvery)
	defer ticker.Stop()
	for {
		for _, c := range l.claimed() {
			if end, err := offsets.End(c.partition); err == nil {
				c.note(func(s *PartitionStatus) { s.End = max(s.End, end) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// backoff grows from 100 ms to 5 s, each pause shortened at random by up to a half so that loaders do not march in step.
type backoff struct{ pause time.Duration }

func newBackoff() *backoff { return &backoff{pause: 100 * time.Millisecond} }

func (b *backoff) next() time.Duration {
	pause := b.pause - rand.N(b.pause/2)
	b.pause = min(2*b.pause, 5*time.Second)
	return pause
}

func sleep(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
