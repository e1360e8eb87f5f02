//go:build world

package loader_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/testworld"
)

// committed reads where a partition stands.
func committed(t *testing.T, offsets *broker.Offsets, partition int32) (int64, loader.State) {
	t.Helper()
	offset, metadata, err := offsets.Committed(t.Context(), partition)
	if err != nil {
		t.Fatal(err)
	}
	state, err := loader.ParseState(metadata)
	if err != nil {
		t.Fatal(err)
	}
	return offset, state
}

func (w *world) offsets(t *testing.T) *broker.Offsets {
	t.Helper()
	offsets, err := broker.NewOffsets(w.kafka, w.group)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = offsets.Close() })
	return offsets
}

func metadataOf(t *testing.T, state loader.State) string {
	t.Helper()
	text, err := state.Text()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestACommitThatCannotBeBelievedStopsItsPartitionAlone(t *testing.T) {
	w := newWorld(t)
	first := start(t, w.config(t))
	w.send(t, 4000)
	w.awaitRows(t, time.Minute)
	w.awaitWatermark(t, w.lastArrival(t))
	first.stop()
	before := len(w.sent)
	w.send(t, 4000)

	offsets := w.offsets(t)
	reasons := map[int32]string{}
	spoil := func(partition int32, reason string, how func(offset int64, state loader.State) (int64, string)) {
		offset, state := committed(t, offsets, partition)
		offset, metadata := how(offset, state)
		if err := offsets.CommitByHand(t.Context(), partition, offset, metadata); err != nil {
			t.Fatal(err)
		}
		reasons[partition] = reason
	}
	spoil(0, "somebody has set it", func(int64, loader.State) (int64, string) { return 0, "" })
	spoil(1, "the group's offset was set back", func(offset int64, state loader.State) (int64, string) {
		return offset - 1, metadataOf(t, state)
	})
	spoil(2, "another topic of the same name", func(offset int64, state loader.State) (int64, string) {
		state.TopicID = "another"
		return offset, metadataOf(t, state)
	})
	spoil(3, "the metadata of its committed offset cannot be read", func(offset int64, _ loader.State) (int64, string) {
		return offset, "by hand"
	})
	spoil(4, "restored to an earlier state", func(offset int64, state loader.State) (int64, string) {
		state.P = offset + 1
		return offset + 2, metadataOf(t, state)
	})
	spoil(5, "kafka's log ends at", func(offset int64, state loader.State) (int64, string) {
		return offset + 1_000_000, metadataOf(t, state)
	})
	spoil(6, "was published", func(offset int64, state loader.State) (int64, string) {
		state.W -= 1
		return offset, metadataOf(t, state)
	})

	second := start(t, w.config(t))
	for partition, reason := range reasons {
		awaitStopped(t, second, partition, reason)
	}
	testworld.Eventually(t, 30*time.Second, func() error {
		if count := w.number(t, "SELECT count() FROM events WHERE source LIKE '%/7'"); count != uint64(second.Status()[7].End) {
			return fmt.Errorf("partition 7 has %d rows: %+v", count, second.Status()[7])
		}
		return nil
	})
	if count := w.number(t, "SELECT count() FROM events WHERE source NOT LIKE '%/7'"); count >= uint64(before) {
		t.Errorf("%d rows of the stopped partitions, %d events were loaded before", count, before)
	}
	if watermark, err := w.store.Watermark(t.Context()); err != nil || watermark.At.After(w.lastArrival(t)) {
		t.Errorf("the watermark has passed the stopped partitions: %+v, error %v", watermark, err)
	}
}

func TestAnExpiredGroupStopsAllItsPartitions(t *testing.T) {
	w := newWorldOf(t, 2)
	first := start(t, w.config(t))
	w.send(t, 1000)
	w.awaitRows(t, time.Minute)
	w.awaitWatermark(t, w.lastArrival(t))
	first.stop()
	w.admin(t, func(admin clusterAdmin) error { return admin.DeleteConsumerGroup(w.group) })
	w.send(t, 1000)
	second := start(t, w.config(t))
	for partition := range int32(2) {
		awaitStopped(t, second, partition, "the group has no offset")
	}
	if count := w.number(t, "SELECT count() FROM events"); count != 1000 {
		t.Errorf("%d rows", count)
	}
}

func TestAnEmptiedWatermarkTableStopsAllPartitions(t *testing.T) {
	w := newWorldOf(t, 2)
	first := start(t, w.config(t))
	w.send(t, 1000)
	w.awaitRows(t, time.Minute)
	first.stop()
	eventstoretest.Exec(t, "TRUNCATE TABLE `"+w.database(t)+"`.watermarks")
	second := start(t, w.config(t))
	for partition := range int32(2) {
		awaitStopped(t, second, partition, "clickhouse does not know the partition")
	}
}

// A loader that dies between a commit and its publication is an ordinary crash: the witness is behind, and that is all.
func TestAWitnessThatIsBehindAnOrdinaryCrashIsBelieved(t *testing.T) {
	w := newWorld(t)
	w.send(t, 2000)
	w.runUntilKilled(t, "loader.publish=kill@2")
	w.runUntilKilled(t, "loader.publish=kill@1")
	last := start(t, w.config(t))
	w.awaitRows(t, time.Minute)
	last.stop()
	w.checkEachOnce(t)
}
