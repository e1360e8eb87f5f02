//go:build world

package loader_test

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/event"
)

// sendTwice gives Kafka events of which each comes a second time, some at once and some after all others.
func (w *world) sendTwice(t *testing.T, count int) (copies []*sarama.ProducerMessage) {
	t.Helper()
	var all []*sarama.ProducerMessage
	for i := range count {
		message := w.event(i%100, `{"event":"seen","distinct_id":"p"}`)
		again := &sarama.ProducerMessage{Topic: message.Topic, Key: message.Key, Value: message.Value}
		all = append(all, message)
		if i%3 == 0 {
			all = append(all, again)
		} else {
			copies = append(copies, again)
		}
	}
	w.copies += count
	w.sendAgain(t, all)
	return copies
}

// sendAgain gives Kafka messages that were made before.
func (w *world) sendAgain(t *testing.T, copies []*sarama.ProducerMessage) {
	t.Helper()
	go func() {
		for _, message := range copies {
			w.producer.Input() <- message
		}
	}()
	w.acknowledged(t, len(copies))
}

// Copies are found in the same block, in a later one, after a restart, after a kill amid a block, and by whoever repeats a
// block: which messages are copies is a function of the log.
func TestACopyOfAnEventIsNotLoadedAgain(t *testing.T) {
	w := newWorld(t)
	early := w.sendTwice(t, 3000)
	w.runUntilKilled(t, "loader.planned=kill@3")
	w.sendAgain(t, early[:1000])
	w.runUntilKilled(t, "loader.inserted=kill@5")
	config := w.config(t)
	registry := prometheus.NewRegistry()
	config.Registerer = registry
	running := start(t, config)
	w.sendAgain(t, early[1000:])
	w.send(t, 500) // so that what follows the last copy shows
	w.awaitRows(t, time.Minute)
	w.awaitLoaded(t, running)
	if families, err := registry.Gather(); err != nil {
		t.Error(err)
	} else {
		for _, family := range families {
			if family.GetName() == "millrace_loader_duplicates_total" && family.GetMetric()[0].GetCounter().GetValue() < 500 {
				t.Errorf("only %v duplicates are counted", family.GetMetric()[0].GetCounter().GetValue())
			}
		}
	}
	running.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}

func TestACopyBeyondTheWindowIsLoadedAndHiddenByTheView(t *testing.T) {
	w := newWorldOf(t, 1)
	config := w.config(t)
	config.Duplicates = 1000
	running := start(t, config)
	first := w.event(1, `{"event":"seen","distinct_id":"p","timestamp":"2026-11-01T00:00:00.000001Z"}`)
	again := &sarama.ProducerMessage{Topic: first.Topic, Key: first.Key, Value: first.Value}
	w.sendAgain(t, []*sarama.ProducerMessage{first})
	w.send(t, 2500)
	w.sendAgain(t, []*sarama.ProducerMessage{again})
	w.awaitLoaded(t, running)
	running.stop()
	if count := w.number(t, "SELECT count() FROM events"); count != 2502 {
		t.Errorf("%d rows, want 2502", count)
	}
	if count := w.number(t, "SELECT count() FROM events_once"); count != 2501 {
		t.Errorf("the view shows %d rows, want 2501", count)
	}
	if kept := w.number(t, "SELECT source_offset FROM events_once WHERE timestamp = '2026-11-01 00:00:00.000001'"); kept != 0 {
		t.Errorf("the view shows offset %d, want the first arrival", kept)
	}
}

// A client that has no answer sends its request again: the same events, sent and received at another time.
func TestARequestThatIsSentAgainIsLoadedOnce(t *testing.T) {
	w := newWorldOf(t, 1)
	running := start(t, w.config(t))
	received := time.Now()
	for _, body := range []string{
		`{"event":"seen","distinct_id":"p","timestamp":"2026-11-01T00:00:00.123Z"}`, `{"event":"seen","distinct_id":"p"}`,
	} {
		id := w.uuid()
		for try := range 3 {
			at := received.Add(time.Duration(try) * 1234567 * time.Microsecond)
			w.producer.Input() <- w.message("p", event.Message{
				TeamID: 1, UUID: id, ReceivedAt: at, SentAt: at.Add(-time.Duration(try) * time.Millisecond), Event: []byte(body),
			}.AppendJSON(nil))
		}
		w.copies += 2
		w.acknowledged(t, 3)
	}
	w.send(t, 1)
	w.awaitLoaded(t, running)
	running.stop()
	w.checkEachOnce(t)
}
