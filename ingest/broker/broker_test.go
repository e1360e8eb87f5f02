package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/testworld"
)

func startKafka(t *testing.T, options ...kfake.Opt) (*kfake.Cluster, broker.Config) {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster, broker.Config{Brokers: cluster.ListenAddrs()}
}

func TestSetupMakesTheTopicOnceWithItsSettings(t *testing.T) {
	config := anyKafka(t)
	first, err := broker.EnsureTopic(t.Context(), config, broker.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if !first.Created || len(first.Differences) > 0 {
		t.Errorf("the first call: created %v, differences %q", first.Created, first.Differences)
	}
	want := broker.Settings{
		Partitions: 8, ReplicationFactor: 1, MinInsyncReplicas: 1, Retention: broker.DefaultRetention,
		MaxMessageBytes: broker.MaxMessageBytes + 64<<10, CleanupPolicy: "delete",
	}
	if len(config.Brokers) >= 3 {
		want.ReplicationFactor, want.MinInsyncReplicas = 3, 2
	}
	if diff := cmp.Diff(want, first.Topic.Settings); diff != "" {
		t.Errorf("settings read back (-want +got):\n%s", diff)
	}

	second, err := broker.EnsureTopic(t.Context(), config, broker.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if second.Created || len(second.Differences) > 0 {
		t.Errorf("the second call: created %v, differences %q", second.Created, second.Differences)
	}
	if diff := cmp.Diff(first.Topic, second.Topic); diff != "" {
		t.Errorf("the topic of the second call (-first +second):\n%s", diff)
	}
	if first.Topic.ClusterID == "" || first.Topic.ID == "" {
		t.Errorf("the topic has no identity: %+v", first.Topic)
	}
	if source, want := first.Topic.Source(3), first.Topic.ClusterID+"/"+first.Topic.ID+"/3"; source != want {
		t.Errorf("source %q, want %q", source, want)
	}
}

func TestATopicWithThreeBrokersNeedsTwoReplicasForEachEvent(t *testing.T) {
	_, config := startKafka(t, kfake.NumBrokers(3))
	ensured, err := broker.EnsureTopic(t.Context(), config, broker.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if got := ensured.Topic.Settings; got.ReplicationFactor != 3 || got.MinInsyncReplicas != 2 {
		t.Errorf("replication factor %d, min.insync.replicas %d; want 3 and 2", got.ReplicationFactor, got.MinInsyncReplicas)
	}
	if warnings := ensured.Topic.Warnings(); len(warnings) > 0 {
		t.Errorf("warnings of a sound topic: %q", warnings)
	}
}

func TestDifferencesOfAnExistingTopicAreToldAndLeft(t *testing.T) {
	config := anyKafka(t)
	shaped := broker.Settings{Partitions: 2, Retention: time.Hour, MaxMessageBytes: 1 << 20, CleanupPolicy: "compact", UncleanLeaderElection: true}
	if _, err := broker.EnsureTopic(t.Context(), config, shaped); err != nil {
		t.Fatal(err)
	}
	ensured, err := broker.EnsureTopic(t.Context(), config, broker.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"number of partitions is 2", "retention.ms is 3600000", "max.message.bytes is 1048576", "cleanup.policy is compact", "unclean.leader.election.enable is true"} {
		if !slices.ContainsFunc(ensured.Differences, func(d string) bool { return strings.Contains(d, name) }) {
			t.Errorf("%q is not told in %q", name, ensured.Differences)
		}
	}
	if ensured.Topic.Settings.Partitions != 2 || ensured.Topic.Settings.CleanupPolicy != "compact" {
		t.Errorf("the topic was changed: %+v", ensured.Topic.Settings)
	}
}

func TestASingleReplicaIsWarnedOf(t *testing.T) {
	_, config := startKafka(t)
	ensured, err := broker.EnsureTopic(t.Context(), config, broker.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"topic millrace.events: min.insync.replicas is 1, so an accepted event may lie on a single disk and be lost with it; " +
		"with three brokers use replication factor 3 and min.insync.replicas 2"}
	if diff := cmp.Diff(want, ensured.Topic.Warnings()); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestAnAbsentTopicIsNeverMadeByLooking(t *testing.T) {
	_, config := startKafka(t, kfake.AllowAutoTopicCreation())
	for range 2 {
		_, err := broker.Describe(t.Context(), config)
		if !errors.Is(err, broker.ErrNoTopic) {
			t.Fatalf("describe an absent topic: %v", err)
		}
		if want := "topic millrace.events: the kafka topic is not there: run `millrace setup` to make it"; err.Error() != want {
			t.Errorf("message %q, want %q", err, want)
		}
	}
}

func TestATopicMadeAgainIsAnotherSource(t *testing.T) {
	config := anyKafka(t)
	first, err := broker.EnsureTopic(t.Context(), config, broker.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := broker.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.DeleteTopic(config.Topic); err != nil {
		t.Fatal(err)
	}
	// Apache Kafka answers before all have forgotten the topic.
	testworld.Eventually(t, 30*time.Second, func() error {
		if _, err := broker.Describe(t.Context(), config); !errors.Is(err, broker.ErrNoTopic) {
			return fmt.Errorf("describe the deleted topic: %w", err)
		}
		return nil
	})
	second, err := broker.EnsureTopic(t.Context(), config, broker.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if first.Topic.Source(0) == second.Topic.Source(0) {
		t.Errorf("both topics have the source %s", first.Topic.Source(0))
	}
}

func TestNobodyListeningIsToldAtOnce(t *testing.T) {
	started := time.Now()
	_, err := broker.NewProducer(broker.Config{Brokers: []string{"127.0.0.1:1"}})
	if !errors.Is(err, sarama.ErrOutOfBrokers) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestConfigurationMistakesNameTheRemedy(t *testing.T) {
	for _, c := range []struct {
		config broker.Config
		want   string
	}{
		{broker.Config{}, "kafka brokers: none given; set MILLRACE_KAFKA_BROKERS to host:port, several separated by commas"},
		{broker.Config{Brokers: []string{"kafka"}}, `kafka brokers: "kafka" is not host:port: address kafka: missing port in address`},
	} {
		if _, err := broker.NewClient(c.config); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if got := broker.ParseBrokers(" a:1, ,b:2,"); !slices.Equal(got, []string{"a:1", "b:2"}) {
		t.Errorf("parsed %q", got)
	}
}

// produce sends one message and waits for its outcome.
func produce(t *testing.T, producer sarama.AsyncProducer, message *sarama.ProducerMessage) error {
	t.Helper()
	producer.Input() <- message
	select {
	case <-producer.Successes():
		return nil
	case failed := <-producer.Errors():
		return failed.Err
	case <-time.After(30 * time.Second):
		t.Fatal("no outcome within 30 s")
		return nil
	}
}

func event(config broker.Config, key, value string) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: config.WithDefaults().Topic, Key: broker.Key(1, key), Value: sarama.StringEncoder(value)}
}

func startProducer(t *testing.T, config broker.Config) sarama.AsyncProducer {
	t.Helper()
	if _, err := broker.EnsureTopic(t.Context(), config, broker.Settings{}); err != nil {
		t.Fatal(err)
	}
	producer, err := broker.NewProducer(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = producer.Close() })
	return producer
}

func TestEventsOfOnePersonShareAPartition(t *testing.T) {
	config := anyKafka(t)
	producer := startProducer(t, config)
	partitions := map[int32]bool{}
	for person := range 40 {
		first, second := event(config, string(rune('a'+person)), "{}"), event(config, string(rune('a'+person)), "{}")
		for _, message := range []*sarama.ProducerMessage{first, second} {
			if err := produce(t, producer, message); err != nil {
				t.Fatal(err)
			}
		}
		if first.Partition != second.Partition {
			t.Errorf("person %d went to partitions %d and %d", person, first.Partition, second.Partition)
		}
		partitions[first.Partition] = true
	}
	if len(partitions) < 6 {
		t.Errorf("40 persons lie in %d partitions of 8", len(partitions))
	}
}

func TestADeadBrokerIsReportedWithinSeconds(t *testing.T) {
	cluster, config := startKafka(t)
	producer := startProducer(t, config)
	if err := produce(t, producer, event(config, "a", "{}")); err != nil {
		t.Fatal(err)
	}
	cluster.Close()
	started := time.Now()
	err := produce(t, producer, event(config, "a", "{}"))
	if err == nil {
		t.Fatal("a closed cluster acknowledged")
	}
	if class := broker.ClassOf(err); class != broker.Retry {
		t.Errorf("%v is of class %s", err, class)
	}
	took := time.Since(started)
	t.Logf("reported after %s: %v", took, err)
	if took > 8*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestTooFewReplicasAreTriedAgainAndThenReported(t *testing.T) {
	cluster, config := startKafka(t)
	producer := startProducer(t, config)
	refuse := func(times int) {
		cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
			if times == 0 {
				return nil, nil, false
			}
			times--
			cluster.KeepControl()
			asked := request.(*kmsg.ProduceRequest)
			answer := asked.ResponseKind().(*kmsg.ProduceResponse)
			for _, topic := range asked.Topics {
				refused := kmsg.ProduceResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
				for _, partition := range topic.Partitions {
					refused.Partitions = append(refused.Partitions, kmsg.ProduceResponseTopicPartition{
						Partition: partition.Partition, ErrorCode: int16(sarama.ErrNotEnoughReplicas), BaseOffset: -1, LogAppendTime: -1,
					})
				}
				answer.Topics = append(answer.Topics, refused)
			}
			return answer, nil, true
		})
	}
	refuse(2)
	if err := produce(t, producer, event(config, "a", "{}")); err != nil {
		t.Errorf("two refusals should be waited out: %v", err)
	}
	refuse(100)
	err := produce(t, producer, event(config, "a", "{}"))
	if !errors.Is(err, sarama.ErrNotEnoughReplicas) || broker.ClassOf(err) != broker.Retry {
		t.Errorf("got %v of class %s", err, broker.ClassOf(err))
	}
}

func TestClassesAreToldByCode(t *testing.T) {
	config := anyKafka(t)
	producer := startProducer(t, config)
	if err := produce(t, producer, event(config, "a", strings.Repeat("x", broker.MaxMessageBytes))); broker.ClassOf(err) != broker.TooLarge {
		t.Errorf("a message above the limit: %v is of class %s", err, broker.ClassOf(err))
	}
	absent := event(config, "a", "{}")
	absent.Topic = testworld.Name(t)
	if err := produce(t, producer, absent); broker.ClassOf(err) != broker.NoTopic {
		t.Errorf("an absent topic: %v is of class %s", err, broker.ClassOf(err))
	}
	for err, want := range map[error]broker.Class{
		sarama.ErrMessageSizeTooLarge:                                 broker.TooLarge,
		sarama.ErrTopicAuthorizationFailed:                            broker.Denied,
		sarama.ErrInvalidRecord:                                       broker.Refused,
		sarama.ErrNotEnoughReplicas:                                   broker.Retry,
		sarama.ErrOutOfBrokers:                                        broker.Retry,
		errors.New("never seen before"):                               broker.Retry,
		context.DeadlineExceeded:                                      broker.Retry,
		&sarama.ProducerError{Err: sarama.ErrUnknownTopicOrPartition}: broker.NoTopic,
	} {
		if got := broker.ClassOf(err); got != want {
			t.Errorf("%v is of class %s, want %s", err, got, want)
		}
	}
}
