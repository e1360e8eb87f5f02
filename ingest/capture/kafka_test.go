package capture_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/capture"
	"github.com/millrace/millrace/internal/testworld"
)

// startKafka runs a broker in this process with an events topic of three partitions.
func startKafka(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(3, broker.DefaultTopic)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func configFor(addresses []string) capture.Config {
	return capture.Config{
		Teams:  []capture.Team{{ID: 1, Name: "shop", Token: "mr_shop"}, {ID: 2, Name: "mill", Token: "mr_mill"}},
		Broker: broker.Config{Brokers: addresses},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// openCapture serves capture's handler by a test server, until the test ends, and waits until it is ready.
func openCapture(t *testing.T, config capture.Config) *httptest.Server {
	t.Helper()
	c, err := capture.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(c.Handler())
	t.Cleanup(func() {
		server.Close()
		if err := c.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	awaitReady(t, server.URL)
	return server
}

func awaitReady(t *testing.T, url string) {
	t.Helper()
	testworld.Eventually(t, 10*time.Second, func() error {
		answer, err := http.Get(url + "/readyz")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		return statusIs(answer, http.StatusOK)
	})
}

type statusError string

func (e statusError) Error() string { return string(e) }

func statusIs(answer *http.Response, want int) error {
	if answer.StatusCode == want {
		return nil
	}
	return statusError("answered " + answer.Status)
}

// reply is what a client reads.
type reply struct {
	code       int
	retryAfter string
	text       string
	Status     int
	Error      string
	Message    string
	Kept       int
	Refused    []struct {
		Index                 int
		UUID, Reason, Message string
	}
}

func do(t *testing.T, request *http.Request) reply {
	t.Helper()
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := reply{code: answer.StatusCode, retryAfter: answer.Header.Get("Retry-After"), text: strings.TrimSpace(string(text))}
	if err := json.Unmarshal(text, &got); err != nil && len(text) > 0 {
		t.Fatalf("%s answered %d with no JSON: %s", request.URL, answer.StatusCode, text)
	}
	return got
}

func post(t *testing.T, url, body string, headers ...string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return do(t, request)
}

// record is a Kafka record and the row that it becomes.
type record struct {
	partition int32
	key       string
	value     string
	row       event.Row
}

// readTopic reads all records that are in the topic now, in the order of each partition.
func readTopic(t *testing.T, addresses []string, topic string) []record {
	t.Helper()
	client, err := broker.NewClient(broker.Config{Brokers: addresses, Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.Config().Consumer.MaxWaitTime = 20 * time.Millisecond // closing waits for the last fetch
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	partitions, err := client.Partitions(topic)
	if err != nil {
		t.Fatal(err)
	}
	var records []record
	for _, partition := range partitions {
		end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		if end == 0 {
			continue
		}
		reader, err := consumer.ConsumePartition(topic, partition, 0)
		if err != nil {
			t.Fatal(err)
		}
		for last := int64(-1); last < end-1; {
			select {
			case message := <-reader.Messages():
				row, err := event.ParseMessage(message.Value)
				if err != nil {
					t.Errorf("partition %d offset %d: %v", partition, message.Offset, err)
				}
				records = append(records, record{partition, string(message.Key), string(message.Value), row})
				last = message.Offset
			case <-time.After(10 * time.Second):
				t.Fatalf("partition %d stopped at offset %d of %d", partition, last, end)
			}
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return records
}

// lockedBuffer is a log that a test may read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
