//go:build world

package assumptions

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/internal/testworld"
)

// kafka is a client with a topic of its own for one test.
type kafka struct {
	sarama.Client
	addresses []string
	config    *sarama.Config
	topic     string
}

func connectKafka(t *testing.T) *kafka {
	t.Helper()
	k := &kafka{addresses: strings.Split(testworld.Env(t, "MILLRACE_KAFKA_BROKERS"), ","), config: sarama.NewConfig(), topic: testworld.Name(t)}
	k.config.Version = sarama.V4_3_1_0
	k.config.Metadata.AllowAutoTopicCreation = false
	k.config.Producer.Return.Successes = true
	k.config.Producer.RequiredAcks = sarama.WaitForAll
	k.config.Consumer.Offsets.AutoCommit.Enable = false
	k.config.Consumer.Offsets.Initial = sarama.OffsetOldest
	k.config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	client, err := sarama.NewClient(k.addresses, k.config)
	if err != nil {
		t.Fatal(err)
	}
	k.Client = client
	t.Cleanup(func() { _ = client.Close() })
	return k
}

func (k *kafka) createTopic(t *testing.T, partitions int32) {
	t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(k.Client)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.CreateTopic(k.topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(t, 30*time.Second, func() error { return k.RefreshMetadata(k.topic) })
}

func (k *kafka) deleteTopic(t *testing.T) {
	t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(k.Client)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.DeleteTopic(k.topic); err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(t, 30*time.Second, func() error {
		if described := k.describe(t); !errors.Is(described.Topics[0].Err, sarama.ErrUnknownTopicOrPartition) {
			return errors.New("the topic is still there")
		}
		return nil
	})
}

func (k *kafka) describe(t *testing.T) *sarama.MetadataResponse {
	t.Helper()
	described, err := k.LeastLoadedBroker().GetMetadata(sarama.NewMetadataRequest(k.config.Version, []string{k.topic}))
	if err != nil {
		t.Fatal(err)
	}
	if len(described.Topics) != 1 {
		t.Fatalf("metadata of %d topics for one", len(described.Topics))
	}
	return described
}

// A partition is cluster id / topic id / number: both ids must be had, stay, and be new for a topic made again.
func TestMetadataTellsTheClusterAndTheTopicByIDs(t *testing.T) {
	k := connectKafka(t)
	k.createTopic(t, 3)
	first := k.describe(t)
	if first.ClusterID == nil || *first.ClusterID == "" {
		t.Error("the cluster has no id")
	}
	if first.Topics[0].Uuid == (sarama.Uuid{}) {
		t.Error("the topic has no id")
	}
	if again := k.describe(t); again.Topics[0].Uuid != first.Topics[0].Uuid || *again.ClusterID != *first.ClusterID {
		t.Error("the ids change")
	}
	k.deleteTopic(t)
	k.createTopic(t, 3)
	if again := k.describe(t); again.Topics[0].Uuid == first.Topics[0].Uuid {
		t.Error("a topic made again has the old id")
	}
}

// Looking at a topic must not make it with the broker's settings: the answer is a code.
func TestMetadataOfAnAbsentTopicIsACode(t *testing.T) {
	k := connectKafka(t)
	for range 2 {
		if described := k.describe(t); !errors.Is(described.Topics[0].Err, sarama.ErrUnknownTopicOrPartition) {
			t.Errorf("got %v", described.Topics[0].Err)
		}
	}
}
