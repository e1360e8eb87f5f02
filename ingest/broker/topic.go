package broker

import (
	"context"
	"fmt"
	"time"
)

// Topic is a topic as the cluster describes it.
type Topic struct {
	// ClusterID and ID identify it for ever; a topic that was deleted and made again has another ID.
	ClusterID string
	ID        string
	Name      string
	// Partitions is their number; they count from 0.
	Partitions int
	// Settings as the cluster holds them, read back.
	Settings Settings
}

// Source is the identity of a partition, "cluster id/topic id/number": what `events.source` holds. The topic's name is
// no part of it, because a topic made again under the same name counts its offsets from 0.
func (t Topic) Source(partition int32) string {
	return fmt.Sprintf("%s/%s/%d", t.ClusterID, t.ID, partition)
}

// Sources are the identities of all partitions, by number.
func (t Topic) Sources() []string {
	sources := make([]string, t.Partitions)
	for partition := range sources {
		sources[partition] = t.Source(int32(partition))
	}
	return sources
}

// Warnings are sentences for people about settings under which a promise is weaker than it sounds; none if all is well.
func (t Topic) Warnings() []string {
	var warnings []string
	if t.Settings.MinInsyncReplicas <= 1 {
		warnings = append(warnings, fmt.Sprintf("topic %s: min.insync.replicas is %d, so an accepted event may be on a single disk and die with it; "+
			"with three brokers use replication factor 3 and min.insync.replicas 2", t.Name, t.Settings.MinInsyncReplicas))
	}
	return warnings
}

// Settings are those of a topic that Millrace leans on.
type Settings struct {
	// Partitions is how many the topic has. More can be added by hand later; keys then move. Default: 8.
	Partitions int
	// ReplicationFactor is on how many brokers each partition lies. Default: 3, or the number of brokers if that is less.
	ReplicationFactor int
	// MinInsyncReplicas is how many replicas must have an event before it counts as accepted. Default: 2, or 1 when
	// there is only one replica.
	MinInsyncReplicas int
	// Retention is how long Kafka keeps events, loaded or not. Default: 7 days.
	Retention time.Duration
	// MaxMessageBytes is the largest record batch that the topic takes. Default: the constant MaxMessageBytes and 64 KiB.
	MaxMessageBytes int
}

// Describe reads a topic's identity and settings back from the cluster. An absent topic is ErrNoTopic.
func Describe(ctx context.Context, config Config) (Topic, error) {
	return Topic{}, ErrNoTopic
}

// ErrNoTopic says that the topic is absent and how to make it.
var ErrNoTopic = fmt.Errorf("kafka topic is not there; run `millrace setup` to make it")

// Ensured is what EnsureTopic found or made.
type Ensured struct {
	Topic   Topic
	Created bool
	// Differences says, one sentence each, where an existing topic has other settings than Millrace would give it.
	// Nothing is changed: the topic may be shaped by somebody who knows why.
	Differences []string
}

// EnsureTopic makes the topic unless it is there, and reads it back.
func EnsureTopic(ctx context.Context, config Config, wanted Settings) (Ensured, error) {
	return Ensured{}, ErrNoTopic
}
