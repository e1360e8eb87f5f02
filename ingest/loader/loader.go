// Package loader carries events from Kafka into the events table of ClickHouse, each exactly once.
//
// Every partition that it claims goes the same round, in one goroutine, one step after the other:
//
//	collect   messages of a contiguous range of offsets, until the block is full or old enough
//	plan      commit(c, W and the plan): end, arrival time T, rows, token of the block; T = ClickHouse's time, above W
//	insert    what cannot be read into quarantine, then the rows: one native block, one part, one token
//	done      commit(end, W = T)
//	publish   (partition, offset, W) to the watermark table, at most once a second
//
// Each commit is fenced by the group's generation. Whatever goes wrong from the plan on, also in another process, takes
// the one path of settle: what the table holds decides, and only what it can never take any more is planned again.
//
// W, the partition's watermark, is a promise: no row with inserted_at ≤ W will appear that is not visible now. While no
// plan is open, W follows ClickHouse's clock. It is committed first and published after, so a member that was thought
// dead cannot promise time that its successor fills: the commit of an old generation is refused.
//
// The proof is in docs/exactly-once.md.
package loader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
)

// Loader loads the partitions that its group assigns to it. Make it with New.
type Loader struct {
	config    Config
	log       *slog.Logger
	metrics   *metrics
	publisher *publisher
	clock     *clock
	limits    eventstore.Limits  // of the table, when Run began
	windows   map[string]*window // kept from one session to the next; of the goroutine that consumes
	turns     chan struct{}      // taken by partitions that make large blocks, see claim.needsTurn
	inserts   chan struct{}      // taken by large blocks while they are inserted
	running   atomic.Int32       // partitions that are not paused, see feed

	mu      sync.Mutex
	claims  map[int32]*claim
	waiting map[int32]time.Time // partitions that are assigned and not claimed yet, and since when
	ready   chan struct{}
	isRun   bool
}

// New makes a loader and registers its metrics. It reaches out to nobody: Run does.
func New(config Config) (*Loader, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Loader{config: config, log: config.Log, claims: map[int32]*claim{}, ready: make(chan struct{})}
	// While so many are inserted one more is made.
	l.inserts, l.turns = make(chan struct{}, eventstore.LargeBlocks()), make(chan struct{}, eventstore.LargeBlocks()+1)
	l.publisher, l.clock = newPublisher(config.Store, config.Log), newClock(config.Store)
	standing := func() []PartitionStatus { return append(l.Status(), l.awaited()...) }
	if l.metrics, err = newMetrics(config.Registerer, standing, l.clock.since); err != nil {
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

	offsets, err := l.connect(ctx)
	if err != nil || offsets == nil {
		return err
	}
	defer offsets.Close()

	var background sync.WaitGroup
	watched, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	background.Go(func() { l.publisher.run(watched) })
	background.Go(func() { l.followEnds(watched, offsets) })
	loaded := l.consume(ctx, offsets)
	l.keepWindows(broker.Topic{}, nil)
	stopWatching()
	background.Wait()
	return loaded
}

// settledAfter is how long a session lasts that no longer counts as one of a row of failures.
const settledAfter = 30 * time.Second

// consume joins the group again and again.
func (l *Loader) consume(ctx context.Context, offsets *broker.Offsets) error {
	backoff := newBackoff()
	for ctx.Err() == nil {
		began := time.Now()
		err := l.member(ctx, offsets)
		if time.Since(began) > settledAfter {
			backoff = newBackoff()
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case broker.ClassOf(err) == broker.NoTopic, broker.ClassOf(err) == broker.Denied:
			return fmt.Errorf("load from kafka: %w", err)
		}
		pause := backoff.next()
		l.log.Warn("the session with the kafka consumer group has ended; joining again", "error", err, "after", pause)
		sleep(ctx, pause)
	}
	return nil
}

// member is one life as a member of the group, from joining to leaving, over any number of rebalances. A session that
// failed ends it: a commit whose answer was lost may still arrive, and only a member that has left is refused for good.
// Joining again under the same name could give the same generation back, which would let it in.
func (l *Loader) member(ctx context.Context, offsets *broker.Offsets) error {
	group, err := broker.NewConsumerGroup(l.config.Kafka, l.config.Group, l.config.Timing)
	if err != nil {
		return err
	}
	var listening sync.WaitGroup
	listening.Go(func() {
		for err := range group.Errors() {
			l.log.Warn("kafka consumer group has trouble", "error", err)
		}
	})
	var owner broker.Owner // in the last session, which may be over
	defer func() {
		err := group.Close()
		if err != nil && owner.Member != "" {
			// sarama tries the coordinator that it has known. Others may do its work by now.
			leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			err = offsets.Leave(leaving, owner)
		}
		if err != nil {
			l.log.Warn("leaving the kafka consumer group met an error; the group notices after the session timeout", "error", err)
		}
		listening.Wait()
	}()
	for ctx.Err() == nil {
		topic, err := offsets.Topic(ctx)
		if err != nil {
			return err
		}
		next := &session{loader: l, offsets: offsets, topic: topic, group: group}
		err = group.Consume(ctx, []string{topic.Name}, next)
		if next.owner.Member != "" {
			owner = next.owner
		}
		if err != nil || next.failed.Load() {
			return err
		}
	}
	return nil
}

// endsEvery is how often the ends of claimed partitions are asked for: lag is for people and alerts.
const endsEvery = 2 * time.Second

// ownersEvery is how often the group is asked who has which partition.
const ownersEvery = 10 * time.Second

// followEnds keeps the ends of the claimed partitions known, so that lag also grows while nothing is read, and how many
// partitions have no owner.
func (l *Loader) followEnds(ctx context.Context, offsets *broker.Offsets) {
	ticker := time.NewTicker(endsEvery)
	defer ticker.Stop()
	var asked time.Time
	for {
		for _, c := range l.claimed() {
			if end, err := offsets.End(c.partition); err == nil {
				c.note(func(s *PartitionStatus) { s.End = max(s.End, end) })
			}
		}
		if time.Since(asked) > ownersEvery {
			asked = time.Now()
			topic, err := offsets.Topic(ctx)
			members, _, unknown := offsets.Members(ctx)
			if err == nil && unknown == nil {
				l.metrics.ownerless.Set(float64(topic.Settings.Partitions - len(members)))
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
