package loader

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/eventstore"
)

// resume finds where the partition stands: by the group's commit, by the witness, which is its row in the watermark table,
// and by what Kafka still has. Only the commit says where to go on; the witness tells whether it can be believed.
func (c *claim) resume(ctx context.Context, witness eventstore.Mark, isSeen bool) error {
	committed, metadata, err := c.offsets.CommittedFor(ctx, c.owner, c.partition)
	if err != nil {
		return err
	}
	state, unreadable := ParseState(metadata)
	inLog := committed
	if state.Plan != nil {
		inLog = max(inLog, state.Plan.End)
	}
	if c.start, c.end, err = c.offsets.BoundsHolding(ctx, c.partition, inLog); err != nil {
		return err
	}
	c.isNew = !isSeen || witness.IsNew() || witness.IsRetired()
	c.done, c.watermark, c.published, c.plan = committed, state.Watermark(), state.P, state.Plan
	switch reason := doubt(committed, metadata, state, c.topic.ID, witness, isSeen); {
	case unreadable != nil:
		_ = c.stop("the metadata of its committed offset cannot be read: %v", unreadable)
	case reason != "":
		_ = c.stop("%s", reason)
	case committed < 0:
		c.done = c.start
	}
	c.done = max(c.done, 0)
	if c.plan == nil && c.stopped == "" {
		_ = c.checkLog()
	}
	c.next = c.done
	c.openWindow()
	c.note(func(s *PartitionStatus) {
		s.Next, s.End, s.Watermark, s.Stopped, s.Plan = c.done, c.end, c.watermark, c.stopped, c.plan
		s.progressed = time.Now()
	})
	return nil
}

// doubt says why a commit cannot be believed; empty if it can. Nothing anywhere, or only the witness's word that the
// partition is new, is a new partition. A witness that is behind the commit, but not behind what the commit knows to be
// published, is an ordinary crash before a publish.
func doubt(committed int64, metadata string, state State, topicID string, witness eventstore.Mark, isSeen bool) string {
	switch {
	case metadata == "" && committed < 0 && (!isSeen || witness.IsNew() && witness.At.IsZero()):
		return ""
	case metadata == "" && committed < 0:
		return fmt.Sprintf("the group has no offset, and clickhouse was at %d: the offset has expired or was deleted, or the group was renamed", witness.Offset)
	case metadata == "":
		return fmt.Sprintf("the group's offset is %d without metadata, and clickhouse was at %d: somebody has set it", committed, witness.Offset)
	case state.TopicID != topicID:
		return fmt.Sprintf("the group has committed for another topic of the same name (id %s, now %s)", state.TopicID, topicID)
	case !isSeen:
		return fmt.Sprintf("the group is at offset %d, and clickhouse does not know the partition: its watermark table was emptied or restored", committed)
	case committed < int64(witness.Offset):
		return fmt.Sprintf("the group is at offset %d, and clickhouse was at %d: the group's offset was set back", committed, witness.Offset)
	case !witness.IsNew() && !witness.IsRetired() && state.W < micros(witness.At):
		return fmt.Sprintf("the group's watermark is %s, and %s was published", state.Watermark().Format(time.RFC3339Nano), witness.At.Format(time.RFC3339Nano))
	case int64(witness.Offset) < state.P:
		return fmt.Sprintf("offset %d was published, and clickhouse knows only of %d: it was restored to an earlier state", state.P, witness.Offset)
	}
	return ""
}

// checkLog stops the partition if Kafka's log does not hold what comes next.
func (c *claim) checkLog() error {
	if reason := missing(c.done, c.plan, c.start, c.end); reason != "" {
		return c.stop("%s", reason)
	}
	return nil
}

// missing says what Kafka's log from start to end lacks of what comes next; empty if nothing.
func missing(next int64, plan *Plan, start, end int64) string {
	switch {
	case next < start:
		return fmt.Sprintf("offset %d is to be loaded next, but kafka has deleted everything before %d", next, start)
	case next > end:
		return fmt.Sprintf("offset %d is to be loaded next, but kafka's log ends at %d: it has lost events that were loaded before", next, end)
	case plan != nil && plan.End > end:
		return fmt.Sprintf("offsets to %d were planned, but kafka's log ends at %d: it has lost events", plan.End, end)
	}
	return ""
}

// openWindow decides where reading begins: early enough to know the events before the committed offset, which may be
// there already in Kafka's log. A window that this process has kept spares that.
func (c *claim) openWindow() {
	config := c.loader.config
	c.readFrom = max(c.done-config.Duplicates, c.start)
	if c.plan != nil {
		c.readFrom = max(c.plan.Window, c.start)
	}
	c.readFrom = min(c.readFrom, c.end) // which sarama can open
	kept := c.loader.windows[c.source]
	if kept != nil && kept.end == c.done && c.plan == nil {
		c.window, c.readFrom = kept, min(max(c.done, c.start), c.end)
	} else {
		if kept != nil {
			kept.close() // it is of no use any more, and another is to come
		}
		// Blocks of ordinary events are of some thousand.
		c.window = newWindow(c.readFrom, config.Duplicates+config.Duplicates/128, config.Duplicates+int64(config.BlockRows))
	}
	c.knownFrom = c.window.from
}
