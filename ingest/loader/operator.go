package loader

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
)

// Operator looks at what loaders keep, and mends it, from outside of them. It is for people and their commands. Make it
// with OpenOperator, and close it.
type Operator struct {
	store   *eventstore.Store
	offsets *broker.Offsets
	group   string
	name    string // who signs what is written
}

// OpenOperator connects to Kafka. An empty group is DefaultGroup; name is who acts.
func OpenOperator(store *eventstore.Store, kafka broker.Config, group, name string) (*Operator, error) {
	if group == "" {
		group = DefaultGroup
	}
	offsets, err := broker.NewOffsets(kafka, group)
	if err != nil {
		return nil, err
	}
	return &Operator{store: store, offsets: offsets, group: group, name: name}, nil
}

// Close ends the connections to Kafka.
func (o *Operator) Close() error { return o.offsets.Close() }

// Partition is where a partition stands, as its next owner would find it.
type Partition struct {
	Partition int32  `json:"partition"`
	Source    string `json:"source"`
	// Owner is the process that published last, and Host where the partition's present member connects from; empty if
	// nobody has it.
	Owner string `json:"owner,omitempty"`
	Host  string `json:"host,omitempty"`
	// Next is the group's offset, -1 if there is none; Start and End are those of Kafka's log. Lag is in messages.
	Next  int64 `json:"next"`
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	Lag   int64 `json:"lag"`
	// Watermark is the published one; nil if none was ever.
	Watermark *time.Time `json:"watermark,omitempty"`
	// Plan is the block that is being inserted, or was when its loader died.
	Plan *Plan `json:"plan,omitempty"`
	// Doubt is why a loader would stop here and wait for people; empty if it would go on.
	Doubt string `json:"doubt,omitempty"`

	state   State
	witness eventstore.Mark
	isSeen  bool
}

// Partitions tells where all partitions of the topic stand.
func (o *Operator) Partitions(ctx context.Context) ([]Partition, error) {
	topic, err := o.offsets.Topic(ctx)
	if err != nil {
		return nil, err
	}
	members, _, err := o.offsets.Members(ctx)
	if err != nil {
		return nil, err
	}
	roster, err := o.store.Watermark(ctx)
	if err != nil {
		return nil, err
	}
	partitions := make([]Partition, topic.Settings.Partitions)
	for i := range partitions {
		p := &partitions[i]
		if *p, err = o.partition(ctx, topic, int32(i), roster); err != nil {
			return nil, err
		}
		if member, has := members[p.Partition]; has {
			p.Host = member.Host
		} else {
			p.Owner = ""
		}
	}
	return partitions, nil
}

func (o *Operator) partition(ctx context.Context, topic broker.Topic, number int32, roster eventstore.Watermark) (Partition, error) {
	p := Partition{Partition: number, Source: topic.Source(number)}
	for _, mark := range roster.Marks {
		if mark.Source == p.Source {
			p.witness, p.isSeen, p.Owner = mark, true, mark.Owner
			if !mark.At.IsZero() {
				p.Watermark = &mark.At
			}
		}
	}
	committed, metadata, err := o.offsets.Committed(ctx, number)
	if err != nil {
		return p, err
	}
	if p.Start, p.End, err = o.offsets.Bounds(number); err != nil {
		return p, err
	}
	p.Next, p.Lag = committed, p.End-max(committed, p.Start)
	state, unreadable := ParseState(metadata)
	p.state, p.Plan = state, state.Plan
	switch {
	case unreadable != nil:
		p.Doubt = fmt.Sprintf("the metadata of its committed offset cannot be read: %v", unreadable)
	default:
		p.Doubt = doubt(committed, metadata, state, topic.ID, p.witness, p.isSeen)
	}
	if p.Doubt == "" && committed >= 0 && p.Plan == nil { // with a plan, a loader counts first
		p.Doubt = missing(committed, nil, p.Start, p.End)
	}
	return p, nil
}
