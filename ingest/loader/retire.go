package loader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
)

// ErrNotDrained says that a topic still has events that are not loaded, so that exports must wait for it.
var ErrNotDrained = errors.New("the topic is not drained: let loaders finish it first")

// ErrLost says that a topic cannot be looked at, so that nobody knows whether it was drained.
var ErrLost = errors.New("kafka has no such topic under the configured name: if it was deleted, and what was not loaded of it is given up, retire it as lost")

// Retirement is a topic that would leave the roster, and with it stop to hold the watermark back.
type Retirement struct {
	// Topic is the topic's id; Lost tells that it cannot be looked at.
	Topic string `json:"topic"`
	Lost  bool   `json:"lost"`
	// Offsets are where each partition ends on the roster: what came after was never loaded.
	Offsets []int64 `json:"offsets"`

	marks []eventstore.Mark
}

// ProposeRetirement finds out whether a topic may leave the roster. A topic that is there must be drained, and have no
// loaders, which would bring it back at once; one that is not there must be called lost. It changes nothing.
func (o *Operator) ProposeRetirement(ctx context.Context, topicID string, lost bool) (Retirement, error) {
	roster, err := o.store.Watermark(ctx)
	if err != nil {
		return Retirement{}, err
	}
	r := Retirement{Topic: topicID}
	marks := map[int32]eventstore.Mark{}
	var partitions int32
	for _, mark := range roster.Marks {
		if mark.Topic == topicID && !mark.IsRetired() {
			marks[mark.Partition] = mark
			partitions = max(partitions, mark.Partitions)
		}
	}
	if partitions == 0 {
		return r, fmt.Errorf("topic %s is not on the roster: `millrace ingest status` names the topics that are", topicID)
	}
	topic, err := o.offsets.Topic(ctx)
	if err != nil && !errors.Is(err, broker.ErrNoTopic) {
		return r, err
	}
	if isThere := err == nil && topic.ID == topicID; isThere {
		if err := o.checkDrained(ctx, partitions); err != nil {
			return r, err
		}
	} else if r.Lost = true; !lost {
		return r, fmt.Errorf("topic %s: %w", topicID, ErrLost)
	}
	for partition := range partitions {
		mark, isSeen := marks[partition]
		if !isSeen { // it never had a loader, and holds the watermark back all the same
			mark = eventstore.Mark{Topic: topicID, Partition: partition, Partitions: partitions, Source: fmt.Sprintf("retired/%s/%d", topicID, partition)}
		}
		if mark.At.IsZero() {
			mark.At = time.Unix(0, 0)
		}
		mark.At, mark.New, mark.Retired, mark.Owner = mark.At.Add(time.Microsecond), false, true, o.name
		r.marks = append(r.marks, mark)
		r.Offsets = append(r.Offsets, int64(mark.Offset))
	}
	return r, nil
}

func (o *Operator) checkDrained(ctx context.Context, partitions int32) error {
	_, isEmpty, err := o.offsets.Members(ctx)
	if err != nil {
		return err
	}
	if !isEmpty {
		return ErrLoadersRun
	}
	for partition := range partitions {
		committed, metadata, err := o.offsets.Committed(ctx, partition)
		if err != nil {
			return err
		}
		_, end, err := o.offsets.Bounds(partition)
		if err != nil {
			return err
		}
		state, err := ParseState(metadata)
		if err != nil || state.Plan != nil || max(committed, 0) != end {
			return fmt.Errorf("partition %d is at offset %d of %d: %w", partition, committed, end, ErrNotDrained)
		}
	}
	return nil
}

// Retire takes the topic's partitions off the roster, and records where each ended. Twice is harmless. A loader that
// claims one of them later puts it back.
func (o *Operator) Retire(ctx context.Context, r Retirement) error {
	return o.store.PublishWatermarks(ctx, r.marks)
}
