package loader

import (
	"context"
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

// claim is one partition in one generation. All but status belongs to the goroutine of load.
type claim struct {
	loader    *Loader
	topic     broker.Topic
	offsets   *broker.Offsets
	owner     broker.Owner
	partition int32
	source    string

	readFrom  int64     // where sarama opens the partition
	next      int64     // the first offset that is neither loaded nor in the block
	done      int64     // the first offset that is not committed
	watermark time.Time // W, the last that was committed or found
	promised  time.Time // when W was committed, by this process's monotonic clock
	stopped   string    // why only people can go on; empty if all is well
	block     block

	mu     sync.Mutex
	status PartitionStatus
}

func newClaim(l *Loader, topic broker.Topic, offsets *broker.Offsets, owner broker.Owner, partition int32) *claim {
	source := topic.Source(partition)
	return &claim{
		loader: l, topic: topic, offsets: offsets, owner: owner, partition: partition, source: source,
		status: PartitionStatus{Partition: partition, Source: source},
	}
}

// note changes what Status tells.
func (c *claim) note(change func(*PartitionStatus)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.status)
}

// resume finds where the partition stands: by the group's commit, by the rows in ClickHouse, and by what Kafka still has.
func (c *claim) resume(ctx context.Context, store *eventstore.Store) error {
	committed, metadata, err := c.offsets.Committed(ctx, c.partition)
	if err != nil {
		return err
	}
	last, err := store.LastLoaded(ctx, c.source)
	if err != nil {
		return fmt.Errorf("read the last row of %s: %w", c.source, err)
	}
	start, end, err := c.offsets.Bounds(c.partition)
	if err != nil {
		return err
	}
	state, err := parseState(metadata)
	switch {
	case err != nil:
		c.stopped = fmt.Sprintf("the metadata of its committed offset cannot be read: %v", err)
	case state.TopicID != "" && state.TopicID != c.topic.ID:
		c.stopped = fmt.Sprintf("group %s has committed for another topic of the same name (id %s, now %s); if that topic's events are given up, delete the group's offsets of topic %s",
			c.loader.config.Group, state.TopicID, c.topic.ID, c.topic.Name)
	}
	c.next = max(committed, 0)
	if committed < 0 {
		c.next = start
	}
	if last.Found {
		c.next = max(c.next, int64(last.Offset)+1)
	}
	switch {
	case c.stopped != "":
	case c.next < start:
		c.stopped = fmt.Sprintf("offset %d is to be loaded next, but kafka has deleted everything before %d; if these events are given up, set the group's offset to %d", c.next, start, start)
	case c.next > end:
		c.stopped = fmt.Sprintf("offset %d is to be loaded next, but kafka's log ends at %d: it has lost events that were loaded before", c.next, end)
	}
	c.readFrom, c.done = c.next, c.next
	if c.stopped != "" {
		c.readFrom = end // which sarama can open; nothing of it is read
	}
	c.watermark = later(state.watermark(), last.Arrival)
	c.note(func(s *PartitionStatus) {
		s.Next, s.End, s.Watermark, s.watermarkKnown, s.Stopped = c.next, end, c.watermark, time.Now(), c.stopped
	})
	return nil
}

// load goes round until the session ends, then drains. What it does for a block and for the watermark may take until
// work ends, which is a while after the session: the generation is ours until we let go.
func (c *claim) load(session, work context.Context, messages <-chan *sarama.ConsumerMessage) error {
	if err := c.promise(work); err != nil {
		return err
	}
	ticker := time.NewTicker(promiseEvery)
	defer ticker.Stop()
	for {
		select {
		case <-session.Done():
			return c.drain(work)
		case message, open := <-messages:
			if !open {
				return c.drain(work)
			}
			if err := c.collect(work, message); err != nil {
				return err
			}
		case <-c.block.due:
			if err := c.finish(work); err != nil {
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

// collect adds a message to the block, and finishes the block when it is full.
func (c *claim) collect(ctx context.Context, message *sarama.ConsumerMessage) error {
	if message.Offset < c.next {
		return nil // sarama reads whole batches, also from their middle
	}
	if err := failpoint.Hit(ctx, "loader.polled"); err != nil {
		return err
	}
	if err := c.block.add(message, c.loader.config.BlockAge); err != nil {
		c.loader.metrics.unreadable.Inc()
		c.loader.log.Error("message left out: it cannot be read", "source", c.source, "offset", message.Offset, "reason", err)
	}
	c.next = message.Offset + 1
	if c.block.messages >= c.loader.config.BlockRows || c.block.bytes >= c.loader.config.BlockBytes {
		return c.finish(ctx)
	}
	return nil
}

// finish inserts the block and commits the offset after it.
func (c *claim) finish(ctx context.Context) error {
	arrival := c.watermark
	if len(c.block.rows) > 0 {
		var err error
		if arrival, err = c.insert(ctx); err != nil {
			return err
		}
	}
	if err := c.commit(ctx, c.next, arrival); err != nil {
		return err
	}
	c.loader.metrics.rows.Add(float64(len(c.block.rows)))
	c.block.reset()
	return nil
}

// drain finishes an open block. If that does not work in time, its offsets are still uncommitted and are read again.
func (c *claim) drain(ctx context.Context) error {
	if c.block.messages == 0 {
		return nil
	}
	if err := c.finish(ctx); err != nil {
		return fmt.Errorf("drain the open block from offset %d, which will be read again: %w", c.done, err)
	}
	return nil
}

// promise moves the watermark to ClickHouse's clock. Nothing is being inserted here, and the next block's T will be
// above whatever is promised, so the time that was read may be old by any amount.
func (c *claim) promise(ctx context.Context) error {
	now, err := c.now(ctx)
	if err != nil {
		c.loader.log.Warn("the watermark stands still: clickhouse does not tell the time", "source", c.source, "error", err)
		return nil
	}
	if !now.After(c.watermark) {
		return nil
	}
	return c.commit(ctx, c.done, now)
}

// commit makes offset and watermark the partition's state, and hands them to be published. An error ends the session,
// because a commit without an answer may still arrive, and only a new generation keeps it from undoing a later one.
func (c *claim) commit(ctx context.Context, offset int64, watermark time.Time) error {
	if err := failpoint.Hit(ctx, "loader.commit"); err != nil {
		return err
	}
	metadata, err := state{TopicID: c.topic.ID, Watermark: watermark.UnixMicro()}.text()
	if err != nil {
		return err
	}
	if err := c.offsets.Commit(ctx, c.owner, c.partition, offset, metadata); err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "loader.committed"); err != nil {
		return err
	}
	c.done, c.watermark, c.promised = offset, watermark, time.Now()
	c.loader.publisher.offer(c.mark(watermark))
	c.note(func(s *PartitionStatus) {
		s.Next, s.End, s.Watermark, s.watermarkKnown = offset, max(s.End, offset), watermark, c.promised
	})
	return nil
}

func (c *claim) mark(at time.Time) eventstore.Mark {
	return eventstore.Mark{
		Source: c.source, Topic: c.topic.ID, Partition: c.partition, Partitions: int32(c.topic.Settings.Partitions),
		At: at, Offset: uint64(c.done), Owner: c.loader.config.Owner,
	}
}
