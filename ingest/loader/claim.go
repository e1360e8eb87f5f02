package loader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/failpoint"
)

// promiseEvery is how often an idle partition moves its watermark, and at most how often marks are published.
const promiseEvery = time.Second

// claim is one partition in one generation. All but status belongs to the goroutine of run.
type claim struct {
	loader    *Loader
	topic     broker.Topic
	offsets   *broker.Offsets
	owner     broker.Owner
	partition int32
	source    string

	// The partition's state, as it was found or last committed.
	done      int64     // c, the first offset that is not loaded
	watermark time.Time // W
	published int64     // p
	plan      *Plan     // the open one

	isNew    bool      // it has to commit a W before it may plan
	promised time.Time // when W was committed, by this process's monotonic clock
	start    int64     // of Kafka's log, when the partition was claimed
	end      int64     // of Kafka's log, likewise
	readFrom int64     // where sarama opens the partition

	knownFrom int64 // from where on the messages' keys are known
	next      int64 // the first offset that was not taken up
	window    *window
	block     block
	rest      []block                   // what follows block, when it was cut into pieces
	ahead     []*sarama.ConsumerMessage // read, and not taken up yet
	highWater func() int64              // the end of Kafka's log, as the last fetch told; nil for none
	average   int                       // bytes of a message of the last block
	hasTurn   bool                      // to make a large block
	stopped   string                    // why only people can go on; empty if all is well

	mu     sync.Mutex
	status PartitionStatus
}

func newClaim(l *Loader, topic broker.Topic, offsets *broker.Offsets, owner broker.Owner, partition int32) *claim {
	source := topic.Source(partition)
	return &claim{
		loader: l, topic: topic, offsets: offsets, owner: owner, partition: partition, source: source, average: 1024,
		status: PartitionStatus{Partition: partition, Source: source},
	}
}

// note changes what Status tells.
func (c *claim) note(change func(*PartitionStatus)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.status)
}

// errStopped says that the partition waits for people.
var errStopped = errors.New("the partition is stopped, for people to look at")

// stop leaves the partition as it stands, says why, and how people can mend it.
func (c *claim) stop(format string, args ...any) error {
	c.stopped = fmt.Sprintf(format, args...) + fmt.Sprintf("; look at it with `millrace ingest repair --partition %d`", c.partition)
	c.note(func(s *PartitionStatus) { s.Stopped = c.stopped })
	return errStopped
}

// run settles the plan that it finds, and then goes round until the session ends, and drains. What it does for a block
// may take until work ends, which is a while after the session: the generation is ours until we let go.
func (c *claim) run(session, work context.Context, messages <-chan []*sarama.ConsumerMessage) error {
	if c.plan != nil {
		if err := c.repair(session, work, messages); err != nil {
			return err
		}
	}
	if err := c.checkLog(); err != nil {
		return err
	}
	if err := c.promise(work); err != nil {
		return err
	}
	return c.load(session, work, messages)
}

// atOnce is how many messages are taken up before it is looked whether there is anything else to do.
const atOnce = 256

// always is a channel that can be read from at any time.
var always = func() <-chan struct{} { closed := make(chan struct{}); close(closed); return closed }()

func (c *claim) load(session, work context.Context, messages <-chan []*sarama.ConsumerMessage) error {
	defer c.leaveTurn()
	ticker := time.NewTicker(promiseEvery)
	defer ticker.Stop()
	for {
		var readable <-chan []*sarama.ConsumerMessage
		var turn chan<- struct{}
		var more <-chan struct{}
		switch {
		case len(c.ahead) == 0:
			readable = messages
			if c.hasTurn && c.highWater() <= c.next {
				c.leaveTurn() // it has caught up, and its block may stand open until it is old
			}
		case c.needsTurn():
			turn = c.loader.turns
		default:
			more = always
		}
		select {
		case <-session.Done():
			return c.drain(session, work)
		case ahead, open := <-readable:
			if !open {
				return c.drain(session, work)
			}
			c.ahead = ahead
		case turn <- struct{}{}:
			c.hasTurn = true
		case <-more:
			if err := c.collectAhead(session, work); err != nil {
				return err
			}
		case <-c.block.due:
			if err := c.finish(session, work); err != nil {
				return err
			}
		case <-ticker.C:
			if time.Since(c.promised) < promiseEvery/2 {
				continue // a block has just moved it
			}
			if err := c.promise(work); err != nil {
				return err
			}
		}
	}
}

// collectAhead collects some of what was read.
func (c *claim) collectAhead(session, work context.Context) error {
	for range min(atOnce, len(c.ahead)) {
		if c.needsTurn() {
			return nil
		}
		message := c.ahead[0]
		c.ahead[0] = nil // lets go of it when its block is in
		c.ahead = c.ahead[1:]
		if err := c.collect(session, work, message); err != nil {
			return err
		}
	}
	return nil
}

// needsTurn tells that a large block is about to begin. A partition that is behind by more than a quarter of a block waits
// until one of a few turns is free, and keeps it until its block is in: more blocks at once would not be faster, for they
// share processors and server, but each takes memory, and eight of them more than all windows of duplicates. A partition
// that keeps up never waits for those that do not, nor does one that still learns what is loaded already.
func (c *claim) needsTurn() bool {
	if c.hasTurn || c.block.messages > 0 || c.window.end < c.next || c.highWater == nil {
		return false
	}
	return (c.highWater()-c.next)*int64(c.average) >= int64(c.loader.config.BlockBytes/4)
}

// leaveTurn lets another partition make a large block. It may be called without a turn.
func (c *claim) leaveTurn() {
	if c.hasTurn {
		<-c.loader.turns
		c.hasTurn = false
	}
}

// collect adds a message to the block, and finishes the block when it is full. Messages before the committed offset only
// tell which events are there already.
func (c *claim) collect(session, work context.Context, message *sarama.ConsumerMessage) error {
	if message.Offset < c.next {
		c.remember(message)
		return nil
	}
	if err := failpoint.Hit(work, "loader.polled"); err != nil {
		return err
	}
	if c.block.messages == 0 {
		c.window.forget(c.next - c.loader.config.Duplicates)
	}
	c.take(message)
	if c.block.messages >= c.loader.config.BlockRows || c.block.bytes >= c.loader.config.BlockBytes {
		return c.finish(session, work)
	}
	return nil
}

// take adds a message to the block.
func (c *claim) take(message *sarama.ConsumerMessage) {
	c.block.add(message, c.window, c.loader.config.BlockAge)
	c.next = message.Offset + 1
}

// drain finishes an open block. If that does not work in time, its offsets are still uncommitted, and the next owner
// settles its plan or reads them again.
func (c *claim) drain(session, work context.Context) error {
	if err := c.finish(session, work); err != nil {
		return fmt.Errorf("drain the open block from offset %d: %w", c.done, err)
	}
	return nil
}

// finish brings what was collected into the table, block by block.
func (c *claim) finish(session, work context.Context) error {
	for c.block.messages > 0 {
		if err := c.planBlock(work, 0, time.Time{}); err != nil {
			return err
		}
		if err := c.settle(session, work, true); err != nil {
			return err
		}
	}
	c.leaveTurn()
	return nil
}

// promise moves the watermark to ClickHouse's clock. No plan is open here, and the next plan's T will be above whatever
// is promised, so the time that was read may be old by any amount.
func (c *claim) promise(ctx context.Context) error {
	now, err := c.loader.clock.now(ctx)
	if err != nil && !c.isNew {
		c.loader.log.Warn("the watermark stands still: clickhouse does not tell the time", "source", c.source, "error", err)
		return nil
	}
	if c.isNew { // above the mark that says so
		now = later(now, c.watermark.Add(time.Microsecond))
	}
	if !now.After(c.watermark) {
		return nil
	}
	if err := failpoint.Hit(ctx, "loader.promise"); err != nil {
		return err
	}
	if err := c.commit(ctx, c.done, now, nil); err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "loader.promised"); err != nil {
		return err
	}
	c.isNew = false
	c.publish()
	return nil
}

// commit makes offset, watermark and plan the partition's state. An error ends the session, because a commit without an
// answer may still arrive, and only a new generation keeps it from undoing a later one.
func (c *claim) commit(ctx context.Context, offset int64, watermark time.Time, plan *Plan) error {
	p := max(c.published, c.loader.publisher.answered(c.source))
	metadata, err := State{TopicID: c.topic.ID, W: micros(watermark), P: p, Plan: plan}.Text()
	if err != nil {
		return err
	}
	if err := c.offsets.Commit(ctx, c.owner, c.partition, offset, metadata); err != nil {
		return err
	}
	c.done, c.watermark, c.plan, c.published = offset, watermark, plan, p
	return nil
}

// publish hands the committed watermark over to be published.
func (c *claim) publish() {
	c.promised = time.Now()
	c.loader.publisher.offer(c.mark(c.watermark))
	c.note(func(s *PartitionStatus) {
		if c.done > s.Next || c.done >= s.End {
			s.progressed = c.promised
		}
		s.Next, s.End, s.Watermark = c.done, max(s.End, c.done), c.watermark
	})
}

func (c *claim) mark(at time.Time) eventstore.Mark {
	var end int64
	c.note(func(s *PartitionStatus) { end = s.End })
	return eventstore.Mark{
		Source: c.source, Topic: c.topic.ID, Partition: c.partition, Partitions: int32(c.topic.Settings.Partitions),
		At: at, Offset: uint64(c.done), Behind: uint64(max(0, end-c.done)), Owner: c.loader.config.Owner,
	}
}
