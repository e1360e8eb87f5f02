package loader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
)

// ErrLoadersRun says that a partition cannot be mended while the group has members.
var ErrLoadersRun = errors.New("loaders of the group are running: stop all of them first, and start them again afterwards; what comes meanwhile waits in kafka")

// ErrTooEarly says that a copy of the last block may still come, so nothing may be decided yet.
var ErrTooEarly = errors.New("a copy of the last block may still be taken by clickhouse: call again in a while")

// Mending is a proposal where a partition goes on.
type Mending struct {
	Partition Partition `json:"partition"`
	// Offset is where it would go on, and Watermark what it would start from.
	Offset    int64     `json:"offset"`
	Watermark time.Time `json:"watermark"`
	// Loaded is one after the last row that ClickHouse has of the partition, 0 if it has none.
	Loaded int64 `json:"loaded"`
	// Skipped offsets are given up, and Repeated ones are loaded though they may be in ClickHouse already.
	Skipped  int64 `json:"skipped"`
	Repeated int64 `json:"repeated"`

	topic broker.Topic
}

// Propose finds out where a partition could go on, and what that would cost. Offset says where people want it to go on;
// negative leaves that to ClickHouse: after the last row and the last published offset that it knows, within Kafka's log.
// It changes nothing.
func (o *Operator) Propose(ctx context.Context, number int32, offset int64) (Mending, error) {
	topic, err := o.offsets.Topic(ctx)
	if err != nil {
		return Mending{}, err
	}
	if number < 0 || int(number) >= topic.Settings.Partitions {
		return Mending{}, fmt.Errorf("partition %d: topic %s has the partitions 0 to %d", number, topic.Name, topic.Settings.Partitions-1)
	}
	if _, isEmpty, err := o.offsets.Members(ctx); err != nil {
		return Mending{}, err
	} else if !isEmpty {
		return Mending{}, ErrLoadersRun
	}
	roster, err := o.store.Watermark(ctx)
	if err != nil {
		return Mending{}, err
	}
	p, err := o.partition(ctx, topic, number, roster)
	if err != nil {
		return Mending{}, err
	}
	m := Mending{Partition: p, topic: topic, Watermark: later(time.Unix(0, 0).UTC(), later(p.state.Watermark(), p.witness.At))}
	if err := o.settleByHand(ctx, &m); err != nil {
		return Mending{}, err
	}
	if m.Offset = m.Loaded; offset >= 0 {
		m.Offset = offset
	}
	if m.Offset < p.Start || m.Offset > p.End {
		if offset >= 0 {
			return Mending{}, fmt.Errorf("offset %d: kafka's log of partition %d holds %d to %d", offset, number, p.Start, p.End)
		}
		m.Offset = min(max(m.Offset, p.Start), p.End)
	}
	m.Skipped, m.Repeated = max(0, m.Offset-m.Loaded), max(0, m.Loaded-m.Offset)
	return m, nil
}

// settleByHand finds what ClickHouse has, and refuses while a copy of the last block may still come.
func (o *Operator) settleByHand(ctx context.Context, m *Mending) error {
	p := m.Partition
	last, err := o.store.LastLoaded(ctx, p.Source)
	if err != nil {
		return err
	}
	m.Loaded = int64(p.witness.Offset)
	if p.Doubt == "" {
		m.Loaded = max(m.Loaded, p.Next)
	}
	if last.Found {
		m.Loaded = max(m.Loaded, int64(last.Offset)+1)
		m.Watermark = later(m.Watermark, last.Arrival)
	}
	limits, err := o.store.Limits(ctx)
	if err != nil {
		return err
	}
	// Without a plan that can be read, the last sign of life stands for it.
	arrival, token := m.Watermark, ""
	if p.Plan != nil {
		arrival, token = p.Plan.arrival(), p.Plan.token(p.Source, p.Next)
		m.Watermark = later(m.Watermark, arrival)
	}
	standing, err := o.store.StandingOf(ctx, p.Source, arrival, token)
	if err != nil {
		return err
	}
	isIn := p.Plan != nil && standing.Rows == uint64(p.Plan.Rows)
	if standing.Running || !isIn && !limits.Expired(standing.Age) {
		return fmt.Errorf("partition %d: %w (it is %s old, and %s are waited for)", p.Partition, ErrTooEarly,
			standing.Age.Round(time.Second), limits.MaxAge+limits.MaxAge/5)
	}
	if isIn {
		m.Loaded = max(m.Loaded, p.Plan.End)
	}
	return nil
}

// Mend makes a proposal the partition's state: first the commit, which a group with members refuses, then the witness.
// Killed in between, the partition is in doubt as before, and Propose and Mend may be called again.
func (o *Operator) Mend(ctx context.Context, m Mending) error {
	m.Watermark = m.Watermark.Add(time.Microsecond) // above what the witness has, which it must replace
	metadata, err := State{TopicID: m.topic.ID, W: micros(m.Watermark)}.Text()
	if err != nil {
		return err
	}
	err = o.offsets.CommitByHand(ctx, m.Partition.Partition, m.Offset, metadata)
	if broker.IsFenced(err) {
		return errors.Join(ErrLoadersRun, err)
	}
	if err != nil {
		return err
	}
	mark := m.Partition.witness
	mark.Source, mark.Topic, mark.Partition, mark.Partitions = m.Partition.Source, m.topic.ID, m.Partition.Partition, int32(m.topic.Settings.Partitions)
	mark.Offset, mark.At, mark.Owner = uint64(m.Offset), m.Watermark, o.name
	mark.New = !m.Partition.isSeen || m.Partition.witness.IsNew() || m.Partition.witness.IsRetired()
	mark.Retired = false
	return o.store.PublishWatermarks(ctx, []eventstore.Mark{mark})
}
