package capture_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/capture"
	"github.com/millrace/millrace/internal/testworld"
)

// eventOf is an event with so many bytes of properties, which can be compressed to three quarters at best.
func eventOf(id string, bytes int) string {
	noise := make([]byte, bytes*3/4)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	return `{"event":"e","distinct_id":"d","uuid":"` + id + `","properties":{"a":"` + base64.StdEncoding.EncodeToString(noise) + `"}}`
}

func requestOf(events ...string) string {
	return `{"api_key":"mr_shop","batch":[` + strings.Join(events, ",") + `]}`
}

// singlePartition is a topic of the test's own whose messages all meet in the same batches.
func singlePartition(t *testing.T, config capture.Config) capture.Config {
	t.Helper()
	config.Broker.Topic += "single"
	config.AckTimeout = time.Minute // it is about what is answered, and the machine may be busy
	if _, err := broker.EnsureTopic(t.Context(), config.Broker, broker.Settings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	return config
}

// lower makes the topic take less than when capture was started, and waits until the cluster says so.
func lower(t *testing.T, config broker.Config, maxMessageBytes int) {
	t.Helper()
	client, err := broker.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	value := strconv.Itoa(maxMessageBytes)
	entry := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	if err := admin.IncrementalAlterConfig(sarama.TopicResource, config.Topic, map[string]sarama.IncrementalAlterConfigsEntry{"max.message.bytes": entry}, false); err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(t, 30*time.Second, func() error {
		topic, err := broker.DescribeBy(t.Context(), client, config.Topic)
		if err == nil && topic.Settings.MaxMessageBytes != maxMessageBytes {
			return fmt.Errorf("the topic takes %d bytes", topic.Settings.MaxMessageBytes)
		}
		return err
	})
}

// wantOnce wants these events in the topic and no others, each once.
func wantOnce(t *testing.T, config broker.Config, ids []string) {
	t.Helper()
	times := map[string]int{}
	for _, record := range readTopic(t, config.Brokers, config.Topic) {
		times[record.row.UUID.String()]++
	}
	for _, id := range ids {
		if times[id] != 1 {
			t.Errorf("event %s is in kafka %d times", id, times[id])
		}
		delete(times, id)
	}
	if len(times) > 0 {
		t.Errorf("in kafka, and not among what was kept: %v", times)
	}
}

func TestAnEventThatKafkaRefusesIsSplitOffItsRequest(t *testing.T) {
	config := singlePartition(t, anyKafka(t))
	registry := prometheus.NewRegistry()
	config.Registerer = registry
	server := openCapture(t, config)
	first, large, last, after := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	lower(t, config.Broker, 20_000)

	got := post(t, server.URL+"/batch/", requestOf(eventOf(first, 100), eventOf(large, 30_000), eventOf(last, 100)))
	if got.code != http.StatusOK || got.Kept != 2 || len(got.Refused) != 1 {
		t.Fatalf("got %d %s", got.code, got.text)
	}
	if refused := got.Refused[0]; refused.Index != 1 || refused.UUID != large || refused.Reason != "too_large" || !strings.Contains(refused.Message, "send less in its properties") {
		t.Errorf("refused %+v", refused)
	}
	if got := post(t, server.URL+"/batch/", requestOf(eventOf(after, 100))); got.code != http.StatusOK || got.Kept != 1 {
		t.Errorf("the next request: %d %s", got.code, got.text)
	}
	wantOnce(t, config.Broker, []string{first, last, after})
	for metric, want := range map[string]string{
		"millrace_capture_events_accepted_total": `millrace_capture_events_accepted_total{team="1"} 3`,
		"millrace_capture_kafka_connected":       `millrace_capture_kafka_connected 1`,
	} {
		if text, err := gathered(registry, metric); err != nil || text != want {
			t.Errorf("%s: got %s, %v; want %s", metric, text, err, want)
		}
	}
	if text, err := gathered(registry, "millrace_capture_events_refused_total"); err != nil || !strings.Contains(text, `{reason="too_large"} 1`) {
		t.Errorf("refused: %s, %v", text, err)
	}
}

func TestAnEventThatKafkaRefusesAloneIsAnswered413(t *testing.T) {
	config := singlePartition(t, anyKafka(t))
	server := openCapture(t, config)
	lower(t, config.Broker, 20_000)
	large := uuid.NewString()
	for range 2 { // the second time capture knows beforehand
		got := post(t, server.URL+"/batch/", requestOf(eventOf(large, 30_000)))
		if got.code != http.StatusRequestEntityTooLarge || got.Error != "too_large" || got.Kept != 0 || len(got.Refused) != 1 || got.Refused[0].UUID != large {
			t.Errorf("got %d %s", got.code, got.text)
		}
	}
	kept := uuid.NewString()
	if got := post(t, server.URL+"/batch/", requestOf(eventOf(kept, 100))); got.code != http.StatusOK {
		t.Errorf("the next request: %d %s", got.code, got.text)
	}
	wantOnce(t, config.Broker, []string{kept})
}

// Small events that only together are more than the topic takes by now are all kept.
func TestABatchThatKafkaRefusesIsSentInSmallerOnes(t *testing.T) {
	config := singlePartition(t, anyKafka(t))
	server := openCapture(t, config)
	lower(t, config.Broker, 20_000)
	var ids, events []string
	for range 100 {
		id := uuid.NewString()
		ids, events = append(ids, id), append(events, eventOf(id, 1000))
	}
	if got := post(t, server.URL+"/batch/", requestOf(events...)); got.code != http.StatusOK || got.Kept != len(ids) {
		t.Fatalf("got %d %.300s", got.code, got.text)
	}
	wantOnce(t, config.Broker, ids)
}

// Other clients send all the time. One sends what Kafka refuses, three times after the limit was lowered; nobody else
// notices.
func TestNeighboursOfAnEventThatKafkaRefusesAreKept(t *testing.T) {
	config := singlePartition(t, anyKafka(t))
	server := openCapture(t, config)
	neighbours(t, config, server.URL, func() {
		for limit := 60_000; limit >= 20_000; limit -= 20_000 {
			lower(t, config.Broker, limit)
			if got := post(t, server.URL+"/batch/", requestOf(eventOf(uuid.NewString(), 2*limit))); got.code != http.StatusRequestEntityTooLarge {
				t.Errorf("the large event: %d %s", got.code, got.text)
			}
		}
	})
}

// neighbours has eight clients send small events until act is done, and wants each of them to be kept, once.
func neighbours(t *testing.T, config capture.Config, url string, act func()) {
	t.Helper()
	done := make(chan struct{})
	var mu sync.Mutex
	var ids []string
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				id := uuid.NewString()
				if got := post(t, url+"/batch/", requestOf(eventOf(id, 500), eventOf(strings.Replace(id, id[:8], "00000000", 1), 500))); got.code != http.StatusOK || got.Kept != 2 {
					t.Errorf("a neighbour is answered %d %s", got.code, got.text)
					return
				}
				mu.Lock()
				ids = append(ids, id, strings.Replace(id, id[:8], "00000000", 1))
				mu.Unlock()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	act()
	close(done)
	clients.Wait()
	t.Logf("%d events of neighbours", len(ids))
	wantOnce(t, config.Broker, ids)
}

// What Kafka refuses for another reason than the setting that capture reads is found out one by one.
func TestAnEventAboveALimitThatCaptureCannotReadIsSplitOff(t *testing.T) {
	kafka := startKafka(t)
	config := singlePartition(t, configFor(kafka.ListenAddrs()))
	const limit = 20_000
	refuseAbove(kafka, limit)
	server := openCapture(t, config)
	neighbours(t, config, server.URL, func() {
		for range 3 {
			got := post(t, server.URL+"/batch/", requestOf(eventOf(uuid.NewString(), 2*limit)))
			if got.code != http.StatusRequestEntityTooLarge || len(got.Refused) != 1 {
				t.Errorf("the large event: %d %s", got.code, got.text)
			}
		}
	})
}

// refuseAbove makes the broker refuse batches of more bytes, whatever the topic's settings say.
func refuseAbove(kafka *kfake.Cluster, bytes int) {
	kafka.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		produce := request.(*kmsg.ProduceRequest)
		for _, topic := range produce.Topics {
			for _, partition := range topic.Partitions {
				if len(partition.Records) <= bytes {
					continue
				}
				answer := produce.ResponseKind().(*kmsg.ProduceResponse)
				refusedTopic, refused := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
				refusedTopic.Topic, refusedTopic.TopicID = topic.Topic, topic.TopicID
				refused.Partition, refused.ErrorCode = partition.Partition, int16(sarama.ErrMessageSetSizeTooLarge)
				refusedTopic.Partitions = append(refusedTopic.Partitions, refused)
				answer.Topics = append(answer.Topics, refusedTopic)
				return answer, nil, true
			}
		}
		return nil, nil, false
	})
}
