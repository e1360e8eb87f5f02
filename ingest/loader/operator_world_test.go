//go:build world

package loader_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/testworld"
)

func (w *world) operator(t *testing.T) *loader.Operator {
	t.Helper()
	operator, err := loader.OpenOperator(w.store, w.kafka, w.group, "the test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = operator.Close() })
	return operator
}

func (w *world) partition(t *testing.T, operator *loader.Operator, number int32) loader.Partition {
	t.Helper()
	partitions, err := operator.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(partitions) != w.topic.Settings.Partitions {
		t.Fatalf("%d partitions", len(partitions))
	}
	return partitions[number]
}

func TestStatusShowsOwnersLagPlanAndWatermark(t *testing.T) {
	w := newWorldOf(t, 2)
	operator := w.operator(t)
	w.send(t, 1000)
	if p := w.partition(t, operator, 1); p.Owner != "" || p.Host != "" || p.Next != -1 || p.Lag != p.End || p.Lag == 0 || p.Watermark != nil || p.Doubt != "" {
		t.Errorf("before any loader: %+v", p)
	}
	running := start(t, w.config(t))
	w.awaitLoaded(t, running)
	w.awaitWatermark(t, w.lastArrival(t))
	if p := w.partition(t, operator, 1); p.Owner == "" || p.Host == "" || p.Next != p.End || p.Lag != 0 || p.Watermark == nil || p.Plan != nil || p.Doubt != "" {
		t.Errorf("while a loader runs: %+v", p)
	}
	disarm := arm(t, "loader.insert=wait")
	w.send(t, 1000)
	testworld.Eventually(t, 30*time.Second, func() error {
		if p := w.partition(t, operator, 1); p.Plan == nil || p.Plan.Rows == 0 || p.Plan.End <= p.Next || p.Lag == 0 {
			return fmt.Errorf("while a block is inserted: %+v", p)
		}
		return nil
	})
	disarm()
	running.stop()
	if p := w.partition(t, operator, 1); p.Owner != "" || p.Host != "" {
		t.Errorf("after the loader: %+v", p)
	}
}

// With each watermark a loader says how many messages still wait, for those that have no connection to Kafka.
func TestAWatermarkSaysHowManyMessagesWaitBehindIt(t *testing.T) {
	w := newWorldOf(t, 1)
	w.send(t, 4000)
	config := w.config(t)
	config.BlockRows = 1000
	disarm := arm(t, "loader.insert=wait@3")
	running := start(t, config)
	behind := func() (messages uint64) {
		watermark, err := w.store.Watermark(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, mark := range watermark.Marks {
			messages += mark.Behind
		}
		return messages
	}
	testworld.Eventually(t, 30*time.Second, func() error {
		if waiting := behind(); waiting == 0 || waiting >= 4000 {
			return fmt.Errorf("%d messages wait", waiting)
		}
		return nil
	})
	disarm()
	w.awaitLoaded(t, running)
	testworld.Eventually(t, 30*time.Second, func() error {
		if waiting := behind(); waiting != 0 {
			return fmt.Errorf("%d messages wait after all were loaded", waiting)
		}
		return nil
	})
}

// mend proposes and mends, as soon as no copy of the last block can come any more.
func (w *world) mend(t *testing.T, operator *loader.Operator, number int32, offset int64) (m loader.Mending) {
	t.Helper()
	testworld.Eventually(t, 30*time.Second, func() (err error) {
		m, err = operator.Propose(t.Context(), number, offset)
		if err != nil && !errors.Is(err, loader.ErrTooEarly) {
			t.Fatal(err)
		}
		return err
	})
	if err := operator.Mend(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAMendedPartitionGoesOnExactlyWhereItWas(t *testing.T) {
	w := newWorldOf(t, 2)
	w.shorten(t, 2)
	operator := w.operator(t)
	first := start(t, w.config(t))
	w.send(t, 1000)
	w.awaitRows(t, time.Minute)
	w.awaitWatermark(t, w.lastArrival(t))
	reader := w.startReader(t)
	if _, err := operator.Propose(t.Context(), 0, -1); !errors.Is(err, loader.ErrLoadersRun) {
		t.Errorf("while a loader runs: %v", err)
	}
	first.stop()
	if _, err := operator.Propose(t.Context(), 7, -1); err == nil {
		t.Error("a partition that is not there was mended")
	}
	if err := w.offsets(t).CommitByHand(t.Context(), 0, 0, ""); err != nil {
		t.Fatal(err)
	}
	w.send(t, 1000)
	if p := w.partition(t, operator, 0); p.Doubt == "" {
		t.Errorf("no doubt: %+v", p)
	}
	if m := w.mend(t, operator, 0, -1); m.Skipped != 0 || m.Repeated != 0 || m.Offset == 0 {
		t.Errorf("the proposal: %+v", m)
	}
	second := start(t, w.config(t))
	w.awaitRows(t, time.Minute)
	w.awaitWatermark(t, w.lastArrival(t))
	second.stop()
	reader.stop()
	w.checkEachOnce(t)
	reader.check(t, w)
}

func TestAMendedPartitionSkipsOnlyWhatKafkaHasDeleted(t *testing.T) {
	w := newWorldOf(t, 2)
	w.shorten(t, 2)
	operator := w.operator(t)
	first := start(t, w.config(t))
	w.send(t, 1000)
	w.awaitRows(t, time.Minute)
	first.stop()
	w.send(t, 1000)
	lost := w.deleteRecords(t, 1)
	m := w.mend(t, operator, 1, -1)
	if int(m.Skipped) != lost || m.Repeated != 0 || m.Offset != m.Partition.Start {
		t.Errorf("%d messages are lost: %+v", lost, m)
	}
	w.send(t, 1000)
	second := start(t, w.config(t))
	w.awaitLoaded(t, second)
	if count := w.number(t, "SELECT count() FROM events"); count != uint64(len(w.sent)-lost) {
		t.Errorf("%d rows of %d events, of which %d are lost", count, len(w.sent), lost)
	}
}

// A plan whose insert may still come is never given up.
func TestAPlanIsNotMendedWhileItsInsertMayCome(t *testing.T) {
	w := newWorldOf(t, 1)
	w.shorten(t, 8)
	operator := w.operator(t)
	w.send(t, 400)
	w.runUntilKilled(t, "loader.planned=kill@1")
	testworld.Eventually(t, 30*time.Second, func() error { // the dead member is thrown out
		_, err := operator.Propose(t.Context(), 0, -1)
		if errors.Is(err, loader.ErrLoadersRun) {
			return err
		}
		if !errors.Is(err, loader.ErrTooEarly) {
			t.Fatalf("proposed too early: %v", err)
		}
		return nil
	})
	if m := w.mend(t, operator, 0, -1); m.Offset != 0 || m.Skipped != 0 || m.Repeated != 0 {
		t.Errorf("the proposal: %+v", m)
	}
	last := start(t, w.config(t))
	w.awaitRows(t, time.Minute)
	last.stop()
	w.checkEachOnce(t)
}

func TestATopicLeavesTheRosterWhenItIsDrainedOrLost(t *testing.T) {
	w := newWorldOf(t, 2)
	operator := w.operator(t)
	first := start(t, w.config(t))
	w.send(t, 1000)
	w.awaitRows(t, time.Minute)
	w.awaitWatermark(t, w.lastArrival(t))
	if _, err := operator.ProposeRetirement(t.Context(), w.topic.ID, false); !errors.Is(err, loader.ErrLoadersRun) {
		t.Errorf("while a loader runs: %v", err)
	}
	first.stop()
	w.send(t, 10)
	if _, err := operator.ProposeRetirement(t.Context(), w.topic.ID, true); !errors.Is(err, loader.ErrNotDrained) {
		t.Errorf("with events left: %v", err)
	}
	w.admin(t, func(admin clusterAdmin) error { return admin.DeleteTopic(w.kafka.Topic) })
	old := w.topic.ID
	ensured, err := broker.EnsureTopic(t.Context(), w.kafka, broker.Settings{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	w.topic = ensured.Topic
	w.connectProducer(t)
	second := start(t, w.config(t))
	if _, err := operator.ProposeRetirement(t.Context(), old, false); !errors.Is(err, loader.ErrLost) {
		t.Errorf("a deleted topic: %v", err)
	}
	if _, err := operator.ProposeRetirement(t.Context(), "unheard of", true); err == nil {
		t.Error("a topic that is not on the roster was retired")
	}
	held := w.watermark(t)
	r, err := operator.ProposeRetirement(t.Context(), old, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Offsets) != 2 || r.Offsets[0]+r.Offsets[1] != 1000 || !r.Lost {
		t.Errorf("the proposal: %+v", r)
	}
	if err := operator.Retire(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	w.awaitWatermark(t, held.Add(time.Second))
	second.stop()

	// Drained and retired, and then taken up again: it does not fall behind what readers saw meanwhile.
	drained, err := operator.ProposeRetirement(t.Context(), w.topic.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := operator.Retire(t.Context(), drained); err != nil {
		t.Fatal(err)
	}
	if watermark, err := w.store.Watermark(t.Context()); err != nil || watermark.Complete {
		t.Errorf("all are retired: %+v, error %v", watermark, err)
	}
	third := start(t, w.config(t))
	w.send(t, 500)
	w.awaitLoaded(t, third)
	if at := w.awaitWatermark(t, held); at.Before(held) {
		t.Errorf("the watermark fell from %s to %s", held, at)
	}
	third.stop()
}

func (w *world) watermark(t *testing.T) time.Time {
	t.Helper()
	watermark, err := w.store.Watermark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return watermark.At
}
