package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// DefaultSessionTimeout is GroupTiming.SessionTimeout unless told otherwise.
const DefaultSessionTimeout = 15 * time.Second

// GroupTiming is how fast a group notices that a member died. The zero value means the defaults.
type GroupTiming struct {
	// SessionTimeout is after how much silence a member counts as dead and its partitions go to others. Brokers allow
	// 6 s to 30 min unless told otherwise. Default: 15 s.
	SessionTimeout time.Duration
	// Heartbeat is how often a member speaks up; a third of SessionTimeout at most. Default: a fifth of SessionTimeout.
	Heartbeat time.Duration
	// RebalanceTimeout is how long members may take to let go of their partitions. Default: 30 s.
	RebalanceTimeout time.Duration
}

// WithDefaults fills the fields that are empty.
func (g GroupTiming) WithDefaults() GroupTiming {
	if g.SessionTimeout == 0 {
		g.SessionTimeout = DefaultSessionTimeout
	}
	if g.Heartbeat == 0 {
		g.Heartbeat = g.SessionTimeout / 5
	}
	if g.RebalanceTimeout == 0 {
		g.RebalanceTimeout = 30 * time.Second
	}
	return g
}

// NewConsumerGroup joins nothing yet: Consume does. Offsets are never committed by sarama, only by Offsets of this
// package; a partition without a committed offset is read from its start, and an offset that the log does not have is
// an error, never a jump. Partitions are handed over eagerly (sticky): everybody lets go before anybody takes, so a
// claim never outlives its generation.
func NewConsumerGroup(config Config, group string, timing GroupTiming) (sarama.ConsumerGroup, error) {
	config = config.WithDefaults()
	if err := config.Validate(); err != nil {
		return nil, err
	}
	timing = timing.WithDefaults()
	consumer := config.clientConfig()
	consumer.Metadata.RefreshFrequency = 30 * time.Second // how soon added partitions are seen
	consumer.Consumer.Return.Errors = true
	consumer.Consumer.Offsets.AutoCommit.Enable = false
	consumer.Consumer.Offsets.Initial = sarama.OffsetOldest
	consumer.Consumer.Group.ResetInvalidOffsets = false
	consumer.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	consumer.Consumer.Group.Rebalance.Timeout = timing.RebalanceTimeout
	consumer.Consumer.Group.Session.Timeout = timing.SessionTimeout
	consumer.Consumer.Group.Heartbeat.Interval = timing.Heartbeat
	// For each partition and request, compressed: JSON grows tenfold when it is unpacked. A larger batch comes whole.
	consumer.Consumer.Fetch.Default = 128 << 10
	consumer.Consumer.MaxWaitTime = 250 * time.Millisecond
	consumer.Consumer.Retry.Backoff = 500 * time.Millisecond
	// A join is answered when every member has let go.
	watchBrokers(consumer, timing.RebalanceTimeout+10*time.Second)
	joined, err := sarama.NewConsumerGroup(config.addresses(), group, consumer)
	if err != nil {
		return nil, fmt.Errorf("connect to kafka at %s: %w", strings.Join(config.Brokers, ","), err)
	}
	return joined, nil
}

// Owner is a member of the group in one generation: the fence of its commits.
type Owner struct {
	Member     string
	Generation int32
}

// Offsets commits offsets with metadata, and reads them back. It has connections of its own, because on the group's
// own connection a commit queues behind a fetch. It is safe for use by many goroutines.
//
// sarama's session cannot do this: it drops a commit whose offset is not greater than the last, tells no outcome, and
// cannot read metadata.
type Offsets struct {
	client sarama.Client
	group  string
	topic  string
}

// NewOffsets connects. Close ends it.
func NewOffsets(config Config, group string) (*Offsets, error) {
	config = config.WithDefaults()
	if err := config.Validate(); err != nil {
		return nil, err
	}
	committer := config.clientConfig()
	watchBrokers(committer, 0)
	client, err := sarama.NewClient(config.addresses(), committer)
	if err != nil {
		return nil, fmt.Errorf("connect to kafka at %s: %w", strings.Join(config.Brokers, ","), err)
	}
	return &Offsets{client: client, group: group, topic: config.Topic}, nil
}

// Close ends the connections.
func (o *Offsets) Close() error { return o.client.Close() }

// Topic describes the topic that these offsets count in.
func (o *Offsets) Topic(ctx context.Context) (Topic, error) {
	return DescribeBy(ctx, o.client, o.topic)
}

// Bounds are the offsets of a partition's first message and one after its last.
func (o *Offsets) Bounds(partition int32) (start, end int64, err error) {
	if start, err = o.client.GetOffset(o.topic, partition, sarama.OffsetOldest); err != nil {
		return 0, 0, fmt.Errorf("find the start of partition %d: %w", partition, err)
	}
	end, err = o.End(partition)
	return start, end, err
}

// BoundsHolding is Bounds, asked again for some seconds while the log seems to end before an offset that is known to be in
// it: a leader that was frozen and replaced knows an earlier end, until it learns that it leads no more.
func (o *Offsets) BoundsHolding(ctx context.Context, partition int32, offset int64) (start, end int64, err error) {
	const tries = 25
	for try := 1; ; try++ {
		start, end, err = o.Bounds(partition)
		if err != nil || end >= offset || try == tries {
			return start, end, err
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		if err := o.client.RefreshMetadata(o.topic); err != nil {
			return 0, 0, fmt.Errorf("find the leader of partition %d: %w", partition, err)
		}
	}
}

// End is one after the offset of a partition's last message.
func (o *Offsets) End(partition int32) (int64, error) {
	end, err := o.client.GetOffset(o.topic, partition, sarama.OffsetNewest)
	if err != nil {
		return 0, fmt.Errorf("find the end of partition %d: %w", partition, err)
	}
	return end, nil
}

// MaxMetadataBytes is the most that a Kafka broker takes by default (offset.metadata.max.bytes); kfake takes any.
const MaxMetadataBytes = 4096

// Commit stores the first offset that is not done yet, and metadata beside it, if owner is still the partition's
// owner's generation; IsFenced tells the refusal. After any other error it is unknown whether the commit was or will
// be stored: only a new generation keeps it out. One commit of a partition may be under way at a time.
func (o *Offsets) Commit(ctx context.Context, owner Owner, partition int32, offset int64, metadata string) error {
	if len(metadata) > MaxMetadataBytes {
		return fmt.Errorf("commit offset %d of partition %d: its metadata has %d bytes, brokers take %d", offset, partition, len(metadata), MaxMetadataBytes)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit offset %d of partition %d: %w", offset, partition, err)
	}
	coordinator, err := o.client.Coordinator(o.group)
	if err != nil {
		return fmt.Errorf("find the coordinator of group %s: %w", o.group, err)
	}
	request := sarama.NewOffsetCommitRequest(o.client.Config(), o.group)
	request.ConsumerGroupGeneration = owner.Generation
	request.ConsumerID = owner.Member
	request.AddBlockWithLeaderEpoch(o.topic, partition, offset, -1, sarama.ReceiveTime, metadata)
	answer, err := coordinator.CommitOffset(request)
	if err != nil {
		_ = coordinator.Close()
		_ = o.client.RefreshCoordinator(o.group)
		return fmt.Errorf("commit offset %d of partition %d: %w", offset, partition, err)
	}
	code, answered := answer.Errors[o.topic][partition]
	if !answered {
		return fmt.Errorf("commit offset %d of partition %d: %w", offset, partition, sarama.ErrIncompleteResponse)
	}
	if !errors.Is(code, sarama.ErrNoError) {
		if isElsewhere(code) {
			_ = o.client.RefreshCoordinator(o.group)
		}
		return fmt.Errorf("commit offset %d of partition %d: %w", offset, partition, code)
	}
	return nil
}

// Committed reads the group's offset of a partition and its metadata; -1 when there is none, also for a group that
// nobody has joined yet. It is for looking: who acts on what it reads uses CommittedFor.
func (o *Offsets) Committed(ctx context.Context, partition int32) (offset int64, metadata string, err error) {
	return o.committedAgain(ctx, partition, nil)
}

// CommittedFor is Committed for the owner of a partition, by a coordinator that knows of the owner's generation; IsFenced
// tells that none does any more.
//
// A coordinator that was frozen, and replaced meanwhile, answers once it is woken from what it knew, until it learns that
// it was replaced. It refuses commits, for they need the other replicas, but reading needs nobody. An owner that believed
// it would plan events that are loaded, and commit that plan at the coordinator that is one. But a coordinator that has
// seen the owner's generation begin has seen all commits of those before it.
func (o *Offsets) CommittedFor(ctx context.Context, owner Owner, partition int32) (offset int64, metadata string, err error) {
	return o.committedAgain(ctx, partition, &owner)
}

func (o *Offsets) committedAgain(ctx context.Context, partition int32, owner *Owner) (offset int64, metadata string, err error) {
	const tries = 5
	for try := 1; ; try++ {
		offset, metadata, err = o.committed(partition, owner)
		if err == nil || try == tries || !isElsewhere(err) {
			return offset, metadata, err
		}
		select {
		case <-ctx.Done():
			return 0, "", ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (o *Offsets) committed(partition int32, owner *Owner) (int64, string, error) {
	failed := func(err error) (int64, string, error) {
		return 0, "", fmt.Errorf("read the committed offset of partition %d: %w", partition, err)
	}
	coordinator, err := o.client.Coordinator(o.group)
	if err != nil {
		return failed(err)
	}
	request := sarama.NewOffsetFetchRequest(o.client.Config().Version, o.group, map[string][]int32{o.topic: {partition}})
	request.RequireStable = true
	answer, err := coordinator.FetchOffset(request)
	if err != nil {
		_ = coordinator.Close()
		_ = o.client.RefreshCoordinator(o.group)
		return failed(err)
	}
	if owner != nil {
		if err := o.knows(coordinator, *owner); err != nil {
			return failed(err)
		}
	}
	block := answer.GetBlock(o.topic, partition)
	code := answer.Err
	if block != nil {
		code = block.Err
	}
	switch {
	case errors.Is(code, sarama.ErrGroupIDNotFound):
		return -1, "", nil // nobody has ever joined; Kafka says -1 itself, kfake this
	case !errors.Is(code, sarama.ErrNoError):
		if isElsewhere(code) {
			_ = o.client.RefreshCoordinator(o.group)
		}
		return failed(code)
	case block == nil:
		return failed(sarama.ErrIncompleteResponse)
	}
	return block.Offset, block.Metadata, nil
}

// knows asks the very node that has just answered whether it knows the owner. That the group is about to rebalance is
// said only to a member of the present generation.
func (o *Offsets) knows(coordinator *sarama.Broker, owner Owner) error {
	answer, err := coordinator.Heartbeat(&sarama.HeartbeatRequest{Version: 4, GroupId: o.group, MemberId: owner.Member, GenerationId: owner.Generation})
	if err != nil {
		_ = coordinator.Close()
		_ = o.client.RefreshCoordinator(o.group)
		return err
	}
	if errors.Is(answer.Err, sarama.ErrNoError) || errors.Is(answer.Err, sarama.ErrRebalanceInProgress) {
		return nil
	}
	// Also when it says that there is no such member: another node may know better.
	_ = o.client.RefreshCoordinator(o.group)
	return answer.Err
}

// isElsewhere tells that the coordinator has moved or is not ready: ask again soon.
func isElsewhere(err error) bool {
	return errors.Is(err, sarama.ErrNotCoordinatorForConsumer) || errors.Is(err, sarama.ErrConsumerCoordinatorNotAvailable) ||
		errors.Is(err, sarama.ErrOffsetsLoadInProgress)
}

// IsFenced tells that a commit came from a member that is no longer one, or of an older generation: its partitions
// belong to somebody else. Kafka and kfake choose between these codes differently.
func IsFenced(err error) bool {
	return errors.Is(err, sarama.ErrUnknownMemberId) || errors.Is(err, sarama.ErrIllegalGeneration) ||
		errors.Is(err, sarama.ErrFencedInstancedId) || errors.Is(err, sarama.ErrRebalanceInProgress)
}
