//go:build world

package loader_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/failpoint"
	"github.com/millrace/millrace/internal/testworld"
)

func TestEveryEventIsLoadedOnceAndEachBlockIsOnePart(t *testing.T) {
	w := newWorld(t)
	eventstoretest.Exec(t, "SYSTEM STOP MERGES `"+w.database(t)+"`.events")
	config := w.config(t)
	registry := prometheus.NewRegistry()
	config.Registerer = registry
	running := start(t, config)
	w.send(t, 50_000)
	w.awaitRows(t, time.Minute)
	w.checkEachOnce(t)

	if sources := w.number(t, "SELECT uniqExact(source) FROM events"); sources != 8 {
		t.Errorf("events of %d partitions, want 8", sources)
	}
	blocks := w.number(t, "SELECT uniqExact(source, inserted_at) FROM events")
	parts := w.number(t, "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active")
	if parts != blocks {
		t.Errorf("%d blocks became %d parts", blocks, parts)
	}
	if blocks < 100 {
		t.Errorf("only %d blocks: the test wants many", blocks)
	}
	testworld.Eventually(t, 10*time.Second, func() error {
		for _, p := range running.Status() {
			if p.End != p.Next {
				return fmt.Errorf("partition %d: lag %d", p.Partition, p.End-p.Next)
			}
		}
		return wantMetrics(registry, map[string]float64{
			"millrace_loader_rows_total": 50_000, "millrace_loader_blocks_total": float64(blocks),
			"millrace_loader_insert_seconds": float64(blocks), "millrace_loader_quarantined_messages_total": 0, "millrace_loader_duplicates_total": 0, "millrace_loader_repairs_total": 0,
			"millrace_loader_insert_errors_total": 0, "millrace_loader_block_rows": float64(blocks), "millrace_loader_block_bytes": float64(blocks), "millrace_loader_stuck_seconds": 0,
			"millrace_loader_lag_messages": 0, "millrace_loader_partition_stopped": 0,
		})
	})
	running.stop()
	if left, err := registry.Gather(); err != nil || len(left) > 0 {
		t.Errorf("after the end %d metrics are registered, error %v", len(left), err)
	}
}

// wantMetrics compares counters, gauges (summed over their labels) and the counts of histograms.
func wantMetrics(registry *prometheus.Registry, want map[string]float64) error {
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	values := map[string]float64{}
	for _, family := range families {
		if family.GetHelp() == "" {
			return fmt.Errorf("%s explains itself by nothing", family.GetName())
		}
		values[family.GetName()] = 0
		for _, metric := range family.GetMetric() {
			values[family.GetName()] += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	for name, value := range want {
		if got, there := values[name]; !there || got != value {
			return fmt.Errorf("%s is %v (there: %v), want %v", name, got, there, value)
		}
	}
	return nil
}

func TestALostAnswerNeitherLosesNorDoubles(t *testing.T) {
	w := newWorld(t)
	eventstoretest.Exec(t, "SYSTEM STOP MERGES `"+w.database(t)+"`.events")
	disarm, err := failpoint.Arm("loader.inserted=error@3")
	if err != nil {
		t.Fatal(err)
	}
	defer disarm()
	running := start(t, w.config(t))
	w.send(t, 20_000)
	w.awaitRows(t, time.Minute)
	running.stop()
	w.checkEachOnce(t)
	if hits := failpoint.Hits("loader.inserted"); hits < 4 {
		t.Errorf("the failpoint was passed %d times: no answer was lost", hits)
	}
	blocks := w.number(t, "SELECT uniqExact(source, inserted_at) FROM events")
	if parts := w.number(t, "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active"); parts != blocks {
		t.Errorf("%d blocks became %d parts", blocks, parts)
	}
}

func TestACommitThatFailsIsMadeUpForByTheNextSession(t *testing.T) {
	w := newWorld(t)
	disarm, err := failpoint.Arm("loader.commit=error@5")
	if err != nil {
		t.Fatal(err)
	}
	defer disarm()
	running := start(t, w.config(t))
	w.send(t, 20_000)
	w.awaitRows(t, time.Minute)
	running.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}

// checkCommitted wants the group's offsets at the end of each partition.
func (w *world) checkCommitted(t *testing.T) {
	t.Helper()
	offsets, err := broker.NewOffsets(w.kafka, w.group)
	if err != nil {
		t.Fatal(err)
	}
	defer offsets.Close()
	for partition := range int32(w.topic.Settings.Partitions) {
		committed, metadata, err := offsets.Committed(t.Context(), partition)
		if err != nil {
			t.Fatal(err)
		}
		end, err := offsets.End(partition)
		if err != nil {
			t.Fatal(err)
		}
		if committed != end || !strings.Contains(metadata, w.topic.ID) {
			t.Errorf("partition %d: committed %d with %q, its log ends at %d", partition, committed, metadata, end)
		}
	}
}

func TestACancelDrainsTheOpenBlocks(t *testing.T) {
	w := newWorld(t)
	disarm, err := failpoint.Arm("loader.polled=error@1000000")
	if err != nil {
		t.Fatal(err)
	}
	defer disarm()
	config := w.config(t)
	config.BlockAge, config.BlockRows = time.Hour, 1_000_000
	running := start(t, config)
	w.send(t, 5000)
	testworld.Eventually(t, 30*time.Second, func() error {
		if polled := failpoint.Hits("loader.polled"); polled < 5000 {
			return fmt.Errorf("%d messages are collected", polled)
		}
		return nil
	})
	if early := w.number(t, "SELECT count() FROM events"); early != 0 {
		t.Errorf("%d rows are in before any block was due", early)
	}
	running.stop()
	w.awaitRows(t, time.Second)
	w.checkEachOnce(t)
	w.checkCommitted(t)
}

func TestMessagesThatCannotBeReadAreLeftOutAndCounted(t *testing.T) {
	w := newWorld(t)
	config := w.config(t)
	registry := prometheus.NewRegistry()
	config.Registerer = registry
	running := start(t, config)
	w.send(t, 500)
	for i, value := range []string{"", "no json", `{"team_id":1}`} {
		w.producer.Input() <- w.message(fmt.Sprint("broken-", i), []byte(value))
	}
	w.acknowledged(t, 3)
	w.send(t, 500)
	w.awaitRows(t, 30*time.Second)
	testworld.Eventually(t, 10*time.Second, func() error {
		return wantMetrics(registry, map[string]float64{"millrace_loader_quarantined_messages_total": 3})
	})
	running.stop()
	if count := w.number(t, "SELECT count() FROM events"); count != 1000 {
		t.Errorf("%d rows, want 1000", count)
	}
	w.checkCommitted(t)
}

func TestTwoLoadersShareThePartitionsAndOneLeaves(t *testing.T) {
	w := newWorld(t)
	first := start(t, w.config(t))
	first.awaitClaims(t, func(claims int) bool { return claims == 8 })
	w.send(t, 5000)
	second := start(t, w.config(t))
	second.awaitClaims(t, func(claims int) bool { return claims == 4 })
	first.awaitClaims(t, func(claims int) bool { return claims == 4 })
	w.send(t, 5000)
	first.stop()
	w.send(t, 5000)
	second.awaitClaims(t, func(claims int) bool { return claims == 8 })
	w.awaitRows(t, time.Minute)
	second.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}

func TestAnAbsentTopicNamesTheRemedy(t *testing.T) {
	w := newWorld(t)
	config := w.config(t)
	config.Kafka.Topic = "absent-" + testworld.Name(t)
	err := loader.Run(t.Context(), config)
	if !errors.Is(err, broker.ErrNoTopic) {
		t.Fatalf("got %v", err)
	}
	if want := "topic " + config.Kafka.Topic + ": the kafka topic is not there: run `millrace setup` to make it"; err.Error() != want {
		t.Errorf("message %q, want %q", err, want)
	}
}

func TestAPartitionWhoseEventsAreGoneStopsAloneAndSaysSo(t *testing.T) {
	w := newWorld(t)
	first := start(t, w.config(t))
	w.send(t, 2000)
	w.awaitRows(t, 30*time.Second)
	first.stop()
	w.send(t, 2000)
	lost := w.deleteRecords(t, 3)

	second := start(t, w.config(t))
	testworld.Eventually(t, 30*time.Second, func() error {
		if count := w.number(t, "SELECT count() FROM events"); count != uint64(len(w.sent)-lost) {
			return fmt.Errorf("%d rows of %d", count, len(w.sent)-lost)
		}
		return nil
	})
	for _, p := range second.Status() {
		if stopped := p.Stopped != ""; stopped != (p.Partition == 3) {
			t.Errorf("partition %d is stopped: %q", p.Partition, p.Stopped)
		}
		if p.Partition == 3 && !strings.Contains(p.Stopped, "kafka has deleted everything before") {
			t.Errorf("the reason does not tell: %q", p.Stopped)
		}
	}
}

// deleteRecords empties a partition, as retention would, and returns how many messages had not been loaded.
func (w *world) deleteRecords(t *testing.T, partition int32) int {
	t.Helper()
	offsets, err := broker.NewOffsets(w.kafka, w.group)
	if err != nil {
		t.Fatal(err)
	}
	defer offsets.Close()
	committed, _, err := offsets.Committed(t.Context(), partition)
	if err != nil {
		t.Fatal(err)
	}
	end, err := offsets.End(partition)
	if err != nil {
		t.Fatal(err)
	}
	w.admin(t, func(admin clusterAdmin) error {
		return admin.DeleteRecords(w.kafka.Topic, map[int32]int64{partition: end})
	})
	return int(end - committed)
}

func TestATopicMadeAgainIsLoadedFromItsStart(t *testing.T) {
	w := newWorld(t)
	first := start(t, w.config(t))
	w.send(t, 1000)
	w.awaitRows(t, 30*time.Second)
	first.stop()
	w.admin(t, func(admin clusterAdmin) error { return admin.DeleteTopic(w.kafka.Topic) })
	// Apache Kafka answers before all have forgotten the topic.
	testworld.Eventually(t, 30*time.Second, func() error {
		if _, err := broker.Describe(t.Context(), w.kafka); !errors.Is(err, broker.ErrNoTopic) {
			return fmt.Errorf("describe the deleted topic: %w", err)
		}
		return nil
	})
	ensured, err := broker.EnsureTopic(t.Context(), w.kafka, broker.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(ensured.Topic.ID, w.topic.ID) {
		t.Fatal("the topic made again has the old id")
	}
	// kfake refuses an idempotent producer that counts on from the old topic; Kafka 4.3.1 does not.
	w.connectProducer(t)
	w.send(t, 1000)
	second := start(t, w.config(t))
	w.awaitRows(t, 30*time.Second)
	second.stop()
	w.checkEachOnce(t)
	if sources := w.number(t, "SELECT uniqExact(source) FROM events"); sources != 16 {
		t.Errorf("%d sources, want 8 of each topic", sources)
	}
}

func TestALoaderRunsOnce(t *testing.T) {
	w := newWorld(t)
	running := start(t, w.config(t))
	select {
	case <-running.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("not ready within 30 s")
	}
	if err := running.Run(context.Background()); err == nil {
		t.Error("a second run was let through")
	}
}
