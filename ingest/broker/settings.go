package broker

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

// DefaultPartitions is how many partitions `millrace setup` gives the topic: one loader saturates a ClickHouse server
// long before eight of them, and adding more later moves keys.
const DefaultPartitions = 8

// DefaultRetention is how long Kafka keeps events, loaded or not: a long weekend with ClickHouse down, and then some.
const DefaultRetention = 7 * 24 * time.Hour

// Settings are those of a topic that Millrace leans on. As a wish, the zero value of a field means its default.
type Settings struct {
	// Partitions is how many the topic has. Default: DefaultPartitions.
	Partitions int
	// ReplicationFactor is on how many brokers each partition lies. Default: 3, or the number of brokers if that is less.
	ReplicationFactor int
	// MinInsyncReplicas is how many replicas must have an event before it counts as accepted. Default: 2, or 1 when
	// there is only one replica.
	MinInsyncReplicas int
	// Retention is how long Kafka keeps events; negative means for ever. Default: DefaultRetention.
	Retention time.Duration
	// MaxMessageBytes is the largest batch that the topic takes. Default: the constant MaxMessageBytes and 64 KiB for
	// the batch's frame.
	MaxMessageBytes int
	// CleanupPolicy is "delete" unless somebody changed it: compaction would drop events. Default: "delete".
	CleanupPolicy string
	// UncleanLeaderElection lets a replica lead that lacks accepted events. Never wished for.
	UncleanLeaderElection bool
}

func (s Settings) withDefaults(brokers int) Settings {
	if s.Partitions == 0 {
		s.Partitions = DefaultPartitions
	}
	if s.ReplicationFactor == 0 {
		s.ReplicationFactor = max(min(3, brokers), 1)
	}
	if s.MinInsyncReplicas == 0 {
		s.MinInsyncReplicas = min(2, s.ReplicationFactor)
	}
	if s.Retention == 0 {
		s.Retention = DefaultRetention
	}
	if s.MaxMessageBytes == 0 {
		s.MaxMessageBytes = MaxMessageBytes + 64<<10
	}
	if s.CleanupPolicy == "" {
		s.CleanupPolicy = "delete"
	}
	return s
}

// Names of a topic's settings, as Kafka's documentation has them.
const (
	minInsyncReplicas     = "min.insync.replicas"
	retentionMillis       = "retention.ms"
	maxMessageBytes       = "max.message.bytes"
	cleanupPolicy         = "cleanup.policy"
	uncleanLeaderElection = "unclean.leader.election.enable"
)

func (s Settings) entries() map[string]*string {
	text := func(value string) *string { return &value }
	return map[string]*string{
		minInsyncReplicas:     text(strconv.Itoa(s.MinInsyncReplicas)),
		retentionMillis:       text(strconv.FormatInt(s.retentionMillis(), 10)),
		maxMessageBytes:       text(strconv.Itoa(s.MaxMessageBytes)),
		cleanupPolicy:         text(s.CleanupPolicy),
		uncleanLeaderElection: text(strconv.FormatBool(s.UncleanLeaderElection)),
	}
}

func (s Settings) retentionMillis() int64 {
	if s.Retention < 0 {
		return -1
	}
	return s.Retention.Milliseconds()
}

// differences tells where the topic that is there falls short of the wish. More of a good thing is no difference.
func (s Settings) differences(topic Topic) []string {
	var differences []string
	differ := func(name string, is, wish any, why string) {
		differences = append(differences, fmt.Sprintf("topic %s: %s is %v, Millrace would make it %v: %s", topic.Name, name, is, wish, why))
	}
	is := topic.Settings
	if is.Partitions != s.Partitions {
		differ("the number of partitions", is.Partitions, s.Partitions, "fewer load slower; more are harmless")
	}
	if is.ReplicationFactor < s.ReplicationFactor {
		differ("the replication factor", is.ReplicationFactor, s.ReplicationFactor, "events survive fewer lost disks")
	}
	if is.MinInsyncReplicas < s.MinInsyncReplicas {
		differ(minInsyncReplicas, is.MinInsyncReplicas, s.MinInsyncReplicas, "an accepted event may lie on a single disk")
	}
	if is.retentionMillis() >= 0 && (s.Retention < 0 || is.Retention < s.Retention) {
		differ(retentionMillis, is.retentionMillis(), s.retentionMillis(), "events that wait longer for ClickHouse are deleted")
	}
	if is.MaxMessageBytes < s.MaxMessageBytes {
		differ(maxMessageBytes, is.MaxMessageBytes, s.MaxMessageBytes, "large events are refused")
	}
	if is.CleanupPolicy != s.CleanupPolicy {
		differ(cleanupPolicy, is.CleanupPolicy, s.CleanupPolicy, "compaction deletes all but the last event of a person")
	}
	if is.UncleanLeaderElection && !s.UncleanLeaderElection {
		differ(uncleanLeaderElection, true, false, "accepted events may be lost when a broker dies")
	}
	return differences
}

// readSettings reads what DescribeConfigs knows; partitions and replicas come with the metadata.
func readSettings(client sarama.Client, name string) (Settings, error) {
	// The admin is not closed: that would close the client, which is the caller's.
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return Settings{}, err
	}
	results, err := admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: name}}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return Settings{}, err
	}
	if len(results) != 1 {
		return Settings{}, sarama.ErrIncompleteResponse
	}
	if !errors.Is(results[0].ErrorCode, sarama.ErrNoError) {
		return Settings{}, results[0].ErrorCode
	}
	entries := map[string]string{}
	for _, entry := range results[0].Configs {
		entries[entry.Name] = entry.Value
	}
	var settings Settings
	var problems []error
	number := func(name string) int64 {
		value, err := strconv.ParseInt(entries[name], 10, 64)
		if err != nil {
			problems = append(problems, fmt.Errorf("read %s: %w", name, err))
		}
		return value
	}
	settings.MinInsyncReplicas = int(number(minInsyncReplicas))
	settings.MaxMessageBytes = int(number(maxMessageBytes))
	settings.Retention = -1
	if millis := number(retentionMillis); millis >= 0 {
		settings.Retention = time.Duration(millis) * time.Millisecond
	}
	settings.CleanupPolicy = entries[cleanupPolicy]
	// Brokers that have no such switch elect cleanly.
	settings.UncleanLeaderElection = entries[uncleanLeaderElection] == "true"
	return settings, errors.Join(problems...)
}
