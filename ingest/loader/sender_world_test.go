//go:build world

package loader_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/ingest/capture"
	"github.com/millrace/millrace/internal/testworld"
)

// sender is a client that sends events to a capture of the test's own, and each request again until it is answered 200,
// as client libraries do. While it runs, the world's record of what was sent is its own.
type sender struct {
	world    *world
	accepted atomic.Int64
	again    atomic.Int64 // requests that were not answered 200
	stop     func()
}

// startSender sends until stop is called, which returns when the last request is answered 200.
func (w *world) startSender(t *testing.T) *sender {
	t.Helper()
	service, err := capture.Open(capture.Config{
		Teams: []capture.Team{{ID: 1, Name: "shop", Token: "mr_shop"}}, Broker: w.kafka,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service.Handler())
	s := &sender{world: w}
	stopped := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for {
			select {
			case <-stopped:
				return
			default:
				s.batch(t, server)
			}
		}
	})
	s.stop = sync.OnceFunc(func() {
		close(stopped)
		sending.Wait()
		server.Close()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := service.Close(ctx); err != nil {
			t.Error(err)
		}
		t.Logf("%d events were accepted, %d requests had to be sent again", s.accepted.Load(), s.again.Load())
	})
	t.Cleanup(s.stop)
	return s
}

// batch sends some events of random persons until they are accepted. Events of a request that was refused as a whole can
// be in Kafka all the same, and then come once more.
func (s *sender) batch(t *testing.T, server *httptest.Server) {
	const events = 50
	type sent map[string]any
	var batch []sent
	for range events {
		batch = append(batch, sent{"event": "seen", "uuid": s.world.uuid().String(), "distinct_id": "person-" + strconv.Itoa(s.world.rand.IntN(1000)), "properties": sent{"n": 1}})
	}
	text, err := json.Marshal(sent{"api_key": "mr_shop", "batch": batch})
	if err != nil {
		t.Error(err)
		return
	}
	for began := time.Now(); ; s.again.Add(1) {
		answer, err := server.Client().Post(server.URL+"/batch/", "application/json", strings.NewReader(string(text)))
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		switch {
		case answer.StatusCode == http.StatusOK:
			s.accepted.Add(events)
			return
		case answer.StatusCode != http.StatusServiceUnavailable || time.Since(began) > 2*time.Minute:
			t.Errorf("after %s capture answers %s", time.Since(began), answer.Status)
			return
		}
		time.Sleep(100 * time.Millisecond) // a client's pause between tries
	}
}

// awaitMore waits until so many more events were accepted.
func (s *sender) awaitMore(t *testing.T, events int64) {
	t.Helper()
	want := s.accepted.Load() + events
	testworld.Eventually(t, 2*time.Minute, func() error {
		if accepted := s.accepted.Load(); accepted < want {
			return fmt.Errorf("%d of %d events are accepted", accepted, want)
		}
		return nil
	})
}

// end stops the sender, has everything loaded, and holds all promises up to what came of it.
func (s *sender) end(t *testing.T, reader *reader, stopLoaders func()) {
	t.Helper()
	w := s.world
	s.stop()
	// What was sent again may be in Kafka twice. So that each partition ends with an event of its own, some come after.
	w.connectProducer(t)
	w.send(t, 500)
	var ends int64
	offsets := w.offsets(t)
	for partition := range int32(w.topic.Settings.Partitions) {
		end, err := offsets.End(partition)
		if err != nil {
			t.Fatal(err)
		}
		ends += end
	}
	w.copies = int(ends) - len(w.sent)
	t.Logf("%d events are in kafka twice", w.copies)
	w.awaitRows(t, 2*time.Minute)
	w.awaitWatermark(t, w.lastArrival(t))
	reader.stop()
	stopLoaders()
	w.checkEachOnce(t)
	w.checkCommitted(t)
	reader.check(t, w)
}
