package capture_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/posthog/posthog-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/testworld"
)

const unavailable = `{"status":0,"error":"kafka_unavailable","message":"kafka has not acknowledged the events; send this request again, the same events with the same uuids are kept once","kept":0}`

func bodyOf(id, distinctID string) string {
	return fmt.Sprintf(`{"api_key":"mr_shop","batch":[{"event":"e","distinct_id":%q,"uuid":%q}]}`, distinctID, id)
}

// A replica too few is not an acknowledgement, and the client is told when to come again.
func TestTooFewReplicas(t *testing.T) {
	t.Parallel()
	kafka := startKafka(t)
	server := openCapture(t, configFor(kafka.ListenAddrs()))
	fault := kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	begun := time.Now()
	got := post(t, server.URL+"/batch/", bodyOf(oneID, "d"))
	if got.code != http.StatusServiceUnavailable || got.text != unavailable || got.retryAfter != "2" {
		t.Errorf("got %d, Retry-After %q, %s", got.code, got.retryAfter, got.text)
	}
	if took := time.Since(begun); took > 7*time.Second {
		t.Errorf("the answer took %s", took)
	}
	fault.Remove()
	if got := post(t, server.URL+"/batch/", bodyOf(oneID, "d")); got.code != http.StatusOK {
		t.Errorf("after the replicas are back: %d %s", got.code, got.text)
	}
}

// One partition that cannot take its events makes the whole request come again; with its uuids it is kept once.
func TestPartOfARequestFails(t *testing.T) {
	t.Parallel()
	kafka := startKafka(t)
	server := openCapture(t, configFor(kafka.ListenAddrs()))
	var events []string
	for i := range 20 {
		events = append(events, fmt.Sprintf(`{"event":"e","distinct_id":"d%d","uuid":"0192f2a0-7c4e-7d2a-9f00-0000000000%02d"}`, i, i))
	}
	body := `{"api_key":"mr_shop","batch":[` + strings.Join(events, ",") + `]}`
	fault := kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{1}, Err: kerr.NotEnoughReplicas, Count: -1})
	if got := post(t, server.URL+"/batch/", body); got.code != http.StatusServiceUnavailable || got.text != unavailable {
		t.Errorf("got %d %s", got.code, got.text)
	}
	fault.Remove()
	if got := post(t, server.URL+"/batch/", body); got.code != http.StatusOK || got.Kept != 20 {
		t.Errorf("the second time: %d %s", got.code, got.text)
	}
	ids := map[uuid.UUID]int{}
	for _, record := range readTopic(t, kafka.ListenAddrs(), broker.DefaultTopic) {
		ids[record.row.UUID]++
	}
	if len(ids) != 20 {
		t.Errorf("%d uuids in kafka, want 20: %v", len(ids), ids)
	}
}

// A broker that takes the request and never answers does not hold the client up.
func TestKafkaDoesNotAnswer(t *testing.T) {
	t.Parallel()
	kafka := startKafka(t)
	config := configFor(kafka.ListenAddrs())
	config.AckTimeout = 300 * time.Millisecond
	config.MaxBodyBytes, config.MaxInFlightBytes = 60_000, 300_000
	server := openCapture(t, config)
	release := make(chan struct{})
	kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		kafka.SleepControl(func() { <-release })
		return nil, nil, false
	})
	large := `{"api_key":"mr_shop","batch":[{"event":"e","distinct_id":"d","properties":{"a":"` + strings.Repeat("x", 50_000) + `"}}]}`
	begun := time.Now()
	got := post(t, server.URL+"/batch/", large)
	if took := time.Since(begun); got.code != http.StatusServiceUnavailable || got.text != unavailable || took > 2*time.Second {
		t.Errorf("after %s: %d %s", took, got.code, got.text)
	}
	// What the producer still holds counts, so that a long outage does not fill the memory.
	for range 3 {
		got = post(t, server.URL+"/batch/", large)
	}
	const busy = `{"status":0,"error":"busy","message":"too many requests are in flight; nothing was kept, send this request again","kept":0}`
	if got.code != http.StatusServiceUnavailable || got.text != busy || got.retryAfter != "1" {
		t.Errorf("with the memory full: %d, Retry-After %q, %s", got.code, got.retryAfter, got.text)
	}
	close(release)
	testworld.Eventually(t, 10*time.Second, func() error {
		if got := post(t, server.URL+"/batch/", large); got.code != http.StatusOK {
			return errors.New(got.text)
		}
		return nil
	})
}

// Capture may be started before Kafka is, and before the topic is made.
func TestStartedBeforeKafka(t *testing.T) {
	port := freePort(t)
	var log lockedBuffer
	config := configFor([]string{fmt.Sprintf("127.0.0.1:%d", port)})
	config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	url := runCapture(t, config)
	if got := post(t, url+"/batch/", bodyOf(oneID, "d")); got.code != http.StatusServiceUnavailable || got.text != unavailable || got.retryAfter != "2" {
		t.Errorf("without kafka: %d, Retry-After %q, %s", got.code, got.retryAfter, got.text)
	}
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	testworld.Eventually(t, 10*time.Second, func() error {
		if !strings.Contains(log.String(), "run `millrace setup`") {
			return errors.New("the log does not name the missing topic's remedy: " + log.String())
		}
		return nil
	})
	if _, err := broker.EnsureTopic(t.Context(), config.Broker, broker.Settings{}); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, url)
	if got := post(t, url+"/batch/", bodyOf(oneID, "d")); got.code != http.StatusOK {
		t.Errorf("with kafka: %d %s", got.code, got.text)
	}
	if !strings.Contains(log.String(), "min.insync.replicas is 1") {
		t.Errorf("the log does not warn of min.insync.replicas: %s", log.String())
	}
}

// posthog-go's own retry brings the events over an outage of Kafka.
func TestClientRetriesUntilKafkaIsBack(t *testing.T) {
	port, dir := freePort(t), t.TempDir()
	start := func() *kfake.Cluster {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.DataDir(dir), kfake.SeedTopics(3, broker.DefaultTopic))
		if err != nil {
			t.Fatal(err)
		}
		return cluster
	}
	kafka := start()
	config := configFor([]string{fmt.Sprintf("127.0.0.1:%d", port)})
	server := openCapture(t, config)
	if got := post(t, server.URL+"/batch/", bodyOf(oneID, "before")); got.code != http.StatusOK {
		t.Fatalf("before the outage: %d %s", got.code, got.text)
	}
	kafka.Close()

	var refused atomic.Int64
	outcome := make(chan error, 10)
	client, err := posthog.NewWithConfig("mr_shop", posthog.Config{
		Endpoint: server.URL, BatchSize: 5, Logger: quiet{}, Callback: callback(outcome),
		Transport: transport(func(request *http.Request) (*http.Response, error) {
			answer, err := http.DefaultTransport.RoundTrip(request)
			if err == nil && answer.StatusCode == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") == "2" {
				refused.Add(1)
			}
			return answer, err
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := client.Enqueue(posthog.Capture{DistinctId: fmt.Sprint("d", i), Event: "during"}); err != nil {
			t.Fatal(err)
		}
	}
	testworld.Eventually(t, 20*time.Second, func() error {
		if refused.Load() < 2 {
			return errors.New("the client was not told 503 twice")
		}
		return nil
	})
	kafka = start()
	t.Cleanup(kafka.Close)
	back := time.Now()
	for range 5 {
		select {
		case err := <-outcome:
			if err != nil {
				t.Errorf("the client gave up: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the client's retry did not succeed")
		}
	}
	// The producer's own circuit breaker would hold for ten seconds more; the client's pauses here are below one.
	if took := time.Since(back); took > 5*time.Second {
		t.Errorf("kafka was back for %s before events went in", took)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	// The client sent no uuids; its timestamps are fine enough to make the same ones each time.
	seen := map[string]map[uuid.UUID]bool{}
	for _, record := range readTopic(t, kafka.ListenAddrs(), broker.DefaultTopic) {
		name := record.row.Event + " " + record.row.DistinctID
		if seen[name] == nil {
			seen[name] = map[uuid.UUID]bool{}
		}
		seen[name][record.row.UUID] = true
	}
	if len(seen) != 6 {
		t.Errorf("in kafka: %v", seen)
	}
	for name, ids := range seen { // five, and the one from before the outage
		if len(ids) != 1 {
			t.Errorf("%s has %d identities", name, len(ids))
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

type quiet struct{}

func (quiet) Logf(string, ...any)   {}
func (quiet) Errorf(string, ...any) {}

type callback chan error

func (c callback) Success(posthog.APIMessage)              { c <- nil }
func (c callback) Failure(_ posthog.APIMessage, err error) { c <- err }

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// A cluster that comes back without its past, another topic under the same name, takes events again without a restart
// of capture.
func TestKafkaComesBackEmpty(t *testing.T) {
	port := freePort(t)
	start := func() *kfake.Cluster {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.SeedTopics(3, broker.DefaultTopic))
		if err != nil {
			t.Fatal(err)
		}
		return cluster
	}
	kafka := start()
	server := openCapture(t, configFor([]string{fmt.Sprintf("127.0.0.1:%d", port)}))
	for i := range 10 {
		if got := post(t, server.URL+"/batch/", bodyOf(uuid.NewString(), fmt.Sprint("d", i))); got.code != http.StatusOK {
			t.Fatalf("before: %d %s", got.code, got.text)
		}
	}
	kafka.Close()
	kafka = start()
	t.Cleanup(kafka.Close)
	kept := 0
	testworld.Eventually(t, 20*time.Second, func() error {
		got := post(t, server.URL+"/batch/", bodyOf(uuid.NewString(), fmt.Sprint("d", kept)))
		if got.code != http.StatusOK {
			return errors.New(got.text)
		}
		if kept++; kept < 10 {
			return errors.New("not enough yet")
		}
		return nil
	})
	if got := len(readTopic(t, kafka.ListenAddrs(), broker.DefaultTopic)); got < kept {
		t.Errorf("%d records in kafka, want at least the %d that were accepted", got, kept)
	}
}
