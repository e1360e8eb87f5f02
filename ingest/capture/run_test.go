package capture_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/capture"
	"github.com/millrace/millrace/internal/testworld"
)

// sarama's counters tick in one goroutine for the whole process, and its circuit breaker sleeps out its ten seconds;
// nothing ends either of them.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"),
		goleak.Cleanup(func(int) { http.DefaultClient.CloseIdleConnections() }))
}

// startRun runs capture on a free port; the results are its URL, what stops it, and what Run returned.
func startRun(t *testing.T, config capture.Config) (url string, stop context.CancelFunc, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	bound := make(chan net.Addr, 1)
	result := make(chan error, 1)
	config.Listen = "127.0.0.1:0"
	config.OnListen = func(address net.Addr) { bound <- address }
	go func() { result <- capture.Run(ctx, config) }()
	select {
	case address := <-bound:
		return "http://" + address.String(), cancel, result
	case err := <-result:
		cancel()
		t.Fatal(err)
		return "", nil, nil
	}
}

// runCapture is startRun for as long as the test runs.
func runCapture(t *testing.T, config capture.Config) string {
	t.Helper()
	url, stop, ended := startRun(t, config)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return url
}

// Told to stop, capture finishes what is in flight: the client has its 200, and the event is in Kafka.
func TestStopFinishesWhatIsInFlight(t *testing.T) {
	kafka := startKafka(t)
	url, stop, ended := startRun(t, configFor(kafka.ListenAddrs()))
	defer stop()
	awaitReady(t, url)

	arrived, release := make(chan struct{}, 1), make(chan struct{})
	kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		arrived <- struct{}{}
		kafka.SleepControl(func() { <-release })
		return nil, nil, false
	})
	answered := make(chan reply, 1)
	go func() { answered <- post(t, url+"/batch/", bodyOf(oneID, "d")) }()
	<-arrived
	stop()
	testworld.Eventually(t, 5*time.Second, func() error {
		connection, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), time.Second)
		if err == nil {
			connection.Close()
			return errors.New("it still takes connections")
		}
		return nil
	})
	select {
	case got := <-answered:
		t.Fatalf("answered before kafka did: %d %s", got.code, got.text)
	case err := <-ended:
		t.Fatalf("ended with a request in flight: %v", err)
	default:
	}
	close(release)
	if got := <-answered; got.code != http.StatusOK {
		t.Errorf("got %d %s", got.code, got.text)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if got := len(readTopic(t, kafka.ListenAddrs(), broker.DefaultTopic)); got != 1 {
		t.Errorf("%d records in kafka, want 1", got)
	}
}

// Stopped under load, whatever was answered 200 is in Kafka.
func TestStopUnderLoadLosesNothingAccepted(t *testing.T) {
	config := anyKafka(t)
	url, stop, ended := startRun(t, config)
	defer stop()
	awaitReady(t, url)
	const clients = 8
	accepted := make(chan []string, clients)
	for client := range clients {
		go func() {
			var ids []string
			for i := 0; ; i++ {
				id := fmt.Sprintf("0192f2a0-7c4e-7d2a-%04d-%012d", client, i)
				answer, err := http.Post(url+"/batch/", "application/json", strings.NewReader(bodyOf(id, fmt.Sprint("d", i))))
				if err != nil {
					accepted <- ids
					return
				}
				if answer.StatusCode == http.StatusOK {
					ids = append(ids, id)
				}
				answer.Body.Close()
				if client == 0 && len(ids) == 50 {
					stop()
				}
			}
		}()
	}
	all := map[string]bool{}
	for range clients {
		for _, id := range <-accepted {
			all[id] = true
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	sent := len(all)
	for _, record := range readTopic(t, config.Broker.Brokers, config.Broker.Topic) {
		delete(all, record.row.UUID.String())
	}
	if sent < 50 || len(all) > 0 {
		t.Errorf("of %d accepted events %d are not in kafka", sent, len(all))
	}
}

// A client that never ends its request does not hold the stop up beyond its bound.
func TestStopIsBounded(t *testing.T) {
	config := configFor(startKafka(t).ListenAddrs())
	config.DrainTimeout = 300 * time.Millisecond
	url, stop, ended := startRun(t, config)
	defer stop()
	awaitReady(t, url)
	connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := fmt.Fprintf(connection, "POST /batch/ HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	// Once another request is answered, the one above has been accepted too.
	if got := post(t, url+"/batch/", bodyOf(oneID, "d")); got.code != http.StatusOK {
		t.Fatalf("got %d %s", got.code, got.text)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(time.Minute): // the client sends nothing more, ever
		t.Fatal("it does not stop")
	}
}

func TestAddressInUse(t *testing.T) {
	kafka := startKafka(t)
	config := configFor(kafka.ListenAddrs())
	config.Listen = kafka.ListenAddrs()[0]
	err := capture.Run(t.Context(), config)
	if want := "listen for events: listen tcp " + config.Listen + ": bind: address already in use"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
