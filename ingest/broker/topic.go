package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

// ErrNoTopic says that the topic is absent and how to make it.
var ErrNoTopic = errors.New("the kafka topic is not there: run `millrace setup` to make it")

// Topic is a topic as the cluster describes it.
type Topic struct {
	// ClusterID and ID identify it for ever; a topic that was deleted and made again has another ID.
	ClusterID string
	ID        string
	Name      string
	// Settings as the cluster holds them, read back.
	Settings Settings
}

// Source is the identity of a partition, "cluster id/topic id/number": what `events.source` holds. The topic's name is
// no part of it, because a topic made again under the same name counts its offsets from 0.
func (t Topic) Source(partition int32) string {
	return t.ClusterID + "/" + t.ID + "/" + strconv.Itoa(int(partition))
}

// Warnings are sentences for people about settings under which a promise is weaker than it sounds; none if all is well.
// Capture prints them at start.
func (t Topic) Warnings() []string {
	var warnings []string
	if t.Settings.MinInsyncReplicas <= 1 {
		warnings = append(warnings, fmt.Sprintf("topic %s: min.insync.replicas is %d, so an accepted event may lie on a single disk and be lost with it; "+
			"with three brokers use replication factor 3 and min.insync.replicas 2", t.Name, t.Settings.MinInsyncReplicas))
	}
	if t.Settings.UncleanLeaderElection {
		warnings = append(warnings, fmt.Sprintf("topic %s: unclean.leader.election.enable is true, so accepted events may be lost when a broker dies; set it to false", t.Name))
	}
	return warnings
}

// Describe reads a topic's identity and settings back from the cluster. An absent topic is ErrNoTopic, also on
// clusters that make topics by themselves: it is never made here.
func Describe(ctx context.Context, config Config) (Topic, error) {
	client, err := NewClient(config)
	if err != nil {
		return Topic{}, err
	}
	defer client.Close()
	return DescribeBy(ctx, client, config.WithDefaults().Topic)
}

// DescribeBy is Describe by a client that is open already.
func DescribeBy(ctx context.Context, client sarama.Client, name string) (Topic, error) {
	metadata, err := topicMetadata(ctx, client, name)
	if err != nil {
		return Topic{}, fmt.Errorf("describe kafka topic %s: %w", name, err)
	}
	if metadata.ClusterID == nil || *metadata.ClusterID == "" {
		return Topic{}, fmt.Errorf("describe kafka topic %s: the cluster has no id", name)
	}
	if len(metadata.Topics) != 1 {
		return Topic{}, fmt.Errorf("describe kafka topic %s: the answer names %d topics", name, len(metadata.Topics))
	}
	described := metadata.Topics[0]
	switch {
	case errors.Is(described.Err, sarama.ErrUnknownTopicOrPartition):
		return Topic{}, fmt.Errorf("topic %s: %w", name, ErrNoTopic)
	case !errors.Is(described.Err, sarama.ErrNoError):
		return Topic{}, fmt.Errorf("describe kafka topic %s: %w", name, described.Err)
	case described.Uuid == sarama.Uuid{}:
		return Topic{}, fmt.Errorf("describe kafka topic %s: the brokers know no topic ids; Millrace needs Kafka 2.8 or later", name)
	case len(described.Partitions) == 0:
		return Topic{}, fmt.Errorf("describe kafka topic %s: it has no partitions", name)
	}
	settings, err := readSettings(client, name)
	if err != nil {
		return Topic{}, fmt.Errorf("read the settings of kafka topic %s: %w", name, err)
	}
	settings.Partitions = len(described.Partitions)
	settings.ReplicationFactor = len(described.Partitions[0].Replicas)
	return Topic{ClusterID: *metadata.ClusterID, ID: described.Uuid.String(), Name: name, Settings: settings}, nil
}

// topicMetadata asks brokers in turn until one answers. The request is made here, because sarama's own keeps neither
// the cluster's id nor the topic's.
func topicMetadata(ctx context.Context, client sarama.Client, name string) (*sarama.MetadataResponse, error) {
	var failed error
	for range 3 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		broker := client.LeastLoadedBroker()
		if broker == nil {
			return nil, errors.Join(sarama.ErrOutOfBrokers, failed)
		}
		if err := broker.Open(client.Config()); err != nil && !errors.Is(err, sarama.ErrAlreadyConnected) {
			failed = err
			forgetDead(client, name)
			continue
		}
		request := sarama.NewMetadataRequest(client.Config().Version, []string{name})
		request.AllowAutoTopicCreation = false
		answer, err := broker.GetMetadata(request)
		if err == nil {
			return answer, nil
		}
		failed = err
		_ = broker.Close() // so that the next round opens it anew
		forgetDead(client, name)
	}
	return nil, failed
}

// forgetDead has sarama find out which brokers there are; those that it asks in vain it does not ask again. On its own it
// does so every ten minutes, and goes on drawing a dead broker by lot.
func forgetDead(client sarama.Client, name string) { _ = client.RefreshMetadata(name) }

// Ensured is what EnsureTopic found or made.
type Ensured struct {
	Topic   Topic
	Created bool
	// Differences says, one sentence each, where an existing topic has other settings than Millrace would give it.
	// Nothing is changed: the topic may be shaped by somebody who knows why.
	Differences []string
}

// EnsureTopic makes the topic unless it is there, and reads it back. Called twice, also at the same time, it makes one
// topic. A topic that is there is left as it is, and its differences are told. It waits until every partition's
// leader answers, or ctx ends.
func EnsureTopic(ctx context.Context, config Config, wanted Settings) (Ensured, error) {
	config = config.WithDefaults()
	client, err := NewClient(config)
	if err != nil {
		return Ensured{}, err
	}
	defer client.Close()
	wanted = wanted.withDefaults(len(client.Brokers()))

	created := false
	topic, err := DescribeBy(ctx, client, config.Topic)
	if errors.Is(err, ErrNoTopic) {
		if created, err = createTopic(client, config.Topic, wanted); err != nil {
			return Ensured{}, fmt.Errorf("create kafka topic %s: %w", config.Topic, err)
		}
		topic, err = awaitTopic(ctx, client, config.Topic)
	}
	if err != nil {
		return Ensured{}, err
	}
	return Ensured{Topic: topic, Created: created, Differences: wanted.differences(topic)}, nil
}

func createTopic(client sarama.Client, name string, wanted Settings) (created bool, err error) {
	// The admin is not closed: that would close the client, which is the caller's.
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return false, err
	}
	err = admin.CreateTopic(name, &sarama.TopicDetail{
		NumPartitions:     int32(wanted.Partitions),
		ReplicationFactor: int16(wanted.ReplicationFactor),
		ConfigEntries:     wanted.entries(),
	}, false)
	if errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return false, nil // somebody was faster
	}
	return err == nil, err
}

// awaitTopic waits until the cluster has spread the word of a new topic, also to the leaders themselves: those of Apache
// Kafka refuse for a moment what the others send them to lead.
func awaitTopic(ctx context.Context, client sarama.Client, name string) (Topic, error) {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		topic, err := DescribeBy(ctx, client, name)
		if err == nil {
			if err = askLeaders(client, name); err == nil {
				return topic, nil
			}
		}
		select {
		case <-ctx.Done():
			return Topic{}, fmt.Errorf("wait for the new kafka topic %s: %w", name, errors.Join(ctx.Err(), err))
		case <-again.C:
		}
	}
}

// askLeaders asks every partition's leader for something that only a leader tells.
func askLeaders(client sarama.Client, name string) error {
	if err := client.RefreshMetadata(name); err != nil {
		return err
	}
	partitions, err := client.Partitions(name)
	if err != nil {
		return err
	}
	for _, partition := range partitions {
		if _, err := client.GetOffset(name, partition, sarama.OffsetNewest); err != nil {
			return fmt.Errorf("ask the leader of partition %d: %w", partition, err)
		}
	}
	return nil
}
