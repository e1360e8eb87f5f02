//go:build world

package loader_test

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/failpoint"
	"github.com/millrace/millrace/internal/testworld"
)

// arm arms failpoints of this process until the test ends or disarm is called.
func arm(t *testing.T, list string) (disarm func()) {
	t.Helper()
	disarm, err := failpoint.Arm(list)
	if err != nil {
		t.Fatal(err)
	}
	disarm = sync.OnceFunc(disarm)
	t.Cleanup(disarm)
	return disarm
}

func awaitHit(t *testing.T, name string) {
	t.Helper()
	testworld.Eventually(t, 30*time.Second, func() error {
		if failpoint.Hits(name) == 0 {
			return fmt.Errorf("%s was not passed", name)
		}
		return nil
	})
}

// tokenWithoutPart is a server that was killed between noting a token down and keeping the part, as far as can be seen:
// the rows are gone, and the token is known.
func tokenWithoutPart(t *testing.T) *world {
	t.Helper()
	w := newWorldOf(t, 1)
	w.send(t, 400)
	w.runUntilKilled(t, "loader.inserted=kill@1")
	if count := w.number(t, "SELECT count() FROM events"); count == 0 {
		t.Fatal("the killed loader has inserted nothing")
	}
	eventstoretest.Exec(t, "ALTER TABLE `"+w.database(t)+"`.events DELETE WHERE 1 SETTINGS mutations_sync = 1")
	return w
}

func TestATokenOnRecordWithoutItsPartIsPlannedAgain(t *testing.T) {
	w := tokenWithoutPart(t)
	config := w.config(t)
	registry := prometheus.NewRegistry()
	config.Registerer = registry
	successor := start(t, config)
	w.awaitRows(t, time.Minute)
	if err := wantMetrics(registry, map[string]float64{"millrace_loader_repairs_total": 2}); err != nil {
		t.Error(err, "(repeated, and planned again)")
	}
	successor.stop()
	w.checkEachOnce(t)
}

// An idle commit whose answer was lost arrives when its successor has a plan. Only a new member keeps it out.
func TestALateIdleCommitDoesNotEraseAPlan(t *testing.T) {
	w := newWorldOf(t, 1)
	kafka := &ownKafka{dir: t.TempDir(), port: unusedPort(t)}
	w.kafka = broker.Config{Brokers: []string{"127.0.0.1:" + strconv.Itoa(kafka.port)}, Topic: w.kafka.Topic}
	kafka.start(t)
	t.Cleanup(func() { kafka.cluster.Close() })
	ensured, err := broker.EnsureTopic(t.Context(), w.kafka, broker.Settings{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.topic = ensured.Topic
	w.connectProducer(t)
	running := start(t, w.config(t))
	w.awaitWatermark(t, time.Time{})

	lost := make(chan *kmsg.OffsetCommitRequest, 1)
	kafka.cluster.ControlKey(int16(kmsg.OffsetCommit), func(request kmsg.Request) (kmsg.Response, error, bool) {
		lost <- request.(*kmsg.OffsetCommitRequest)
		return nil, errors.New("the answer is lost"), true
	})
	late := <-lost
	before := w.awaitWatermark(t, time.Time{})
	w.awaitWatermark(t, before.Add(time.Second)) // it has joined again
	disarm := arm(t, "loader.insert=wait@1")
	w.send(t, 400)
	awaitHit(t, "loader.insert")

	offsets, err := broker.NewOffsets(w.kafka, w.group)
	if err != nil {
		t.Fatal(err)
	}
	defer offsets.Close()
	partition := late.Topics[0].Partitions[0]
	err = offsets.Commit(t.Context(), broker.Owner{Member: late.MemberID, Generation: late.Generation}, 0, partition.Offset, *partition.Metadata)
	if !broker.IsFenced(err) {
		t.Errorf("the late commit is answered with %v", err)
	}
	if _, metadata, err := offsets.Committed(t.Context(), 0); err != nil || !strings.Contains(metadata, `"plan"`) {
		t.Errorf("the plan is gone: %q, error %v", metadata, err)
	}
	disarm()
	w.awaitRows(t, time.Minute)
	w.awaitLoaded(t, running)
	running.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}

func TestABlockThatComesTooLateIsPlannedAgainInHalves(t *testing.T) {
	w := newWorldOf(t, 1)
	w.shorten(t, 3)
	w.send(t, 400)
	w.sendBroken(t, 20)
	config := w.config(t)
	registry := prometheus.NewRegistry()
	config.Registerer = registry
	disarm := arm(t, "loader.insert=wait@1")
	running := start(t, config)
	awaitHit(t, "loader.insert")
	testworld.Eventually(t, 30*time.Second, func() error {
		offsets, err := broker.NewOffsets(w.kafka, w.group)
		if err != nil {
			return err
		}
		defer offsets.Close()
		_, metadata, err := offsets.Committed(t.Context(), 0)
		if err != nil {
			return err
		}
		state, err := loader.ParseState(metadata)
		if err != nil {
			return err
		}
		now, err := w.store.Now(t.Context())
		if err == nil && (state.Plan == nil || now.Sub(time.UnixMicro(state.Plan.At)) < 4*time.Second) {
			return fmt.Errorf("there is no plan, or it is too young: %q", metadata)
		}
		return err
	})
	disarm()
	w.awaitRows(t, time.Minute)
	w.awaitLoaded(t, running)
	w.awaitQuarantined(t)
	running.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
	if blocks := w.number(t, "SELECT uniqExact(inserted_at) FROM events"); blocks < 2 {
		t.Errorf("%d blocks, want the late one in halves", blocks)
	}
}

func TestAPartitionWhoseBlockIsRefusedStopsAloneAndGoesOnWhenItIsMended(t *testing.T) {
	w := newWorld(t)
	table := "`" + w.database(t) + "`.events"
	eventstoretest.Exec(t, "ALTER TABLE "+table+" ADD COLUMN trouble UInt8 DEFAULT throwIf(source LIKE '%/3', 'trouble')")
	first := start(t, w.config(t))
	w.send(t, 4000)
	testworld.Eventually(t, time.Minute, func() error {
		for _, p := range first.Status() {
			if stopped := p.Stopped != ""; stopped != (p.Partition == 3) || !stopped && p.Next < p.End {
				return fmt.Errorf("partition %d: %+v", p.Partition, p)
			}
			if p.Partition == 3 && !strings.Contains(p.Stopped, "millrace ingest repair --partition 3") {
				t.Fatalf("the reason names no command: %s", p.Stopped)
			}
		}
		return nil
	})
	first.stop()
	eventstoretest.Exec(t, "ALTER TABLE "+table+" DROP COLUMN trouble")
	second := start(t, w.config(t))
	w.awaitRows(t, time.Minute)
	w.awaitLoaded(t, second)
	second.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}

func TestABlockThatSomebodyChangedIsLeftToPeople(t *testing.T) {
	w := newWorldOf(t, 1)
	w.send(t, 400)
	w.runUntilKilled(t, "loader.inserted=kill@1")
	eventstoretest.Exec(t, "ALTER TABLE `"+w.database(t)+"`.events DELETE WHERE source_offset = 7 SETTINGS mutations_sync = 1")
	successor := start(t, w.config(t))
	awaitStopped(t, successor, 0, "somebody has changed them")
}

func awaitStopped(t *testing.T, running *running, partition int32, why string) {
	t.Helper()
	testworld.Eventually(t, 30*time.Second, func() error {
		for _, p := range running.Status() {
			if p.Partition == partition && strings.Contains(p.Stopped, why) && strings.Contains(p.Stopped, fmt.Sprintf("`millrace ingest repair --partition %d`", partition)) {
				return nil
			}
		}
		return fmt.Errorf("partition %d is not stopped because %q: %+v", partition, why, running.Status())
	})
}

func TestABlockWithAHundredAndOneMonthsIsOnePart(t *testing.T) {
	w := newWorldOf(t, 1)
	eventstoretest.Exec(t, "SYSTEM STOP MERGES `"+w.database(t)+"`.events")
	for month := range 101 {
		at := time.Date(2018, time.Month(1+month), 3, 0, 0, 0, 0, time.UTC).Format(time.RFC3339)
		w.producer.Input() <- w.event(1, `{"event":"seen","distinct_id":"p","timestamp":"`+at+`"}`)
	}
	w.acknowledged(t, 101)
	running := start(t, w.config(t))
	w.awaitRows(t, 30*time.Second)
	running.stop()
	w.checkEachOnce(t)
	if months := w.number(t, "SELECT uniqExact(toYYYYMM(timestamp)) FROM events"); months != 101 {
		t.Errorf("%d months", months)
	}
	if parts := w.number(t, "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active"); parts != 1 {
		t.Errorf("%d parts", parts)
	}
}

func TestAsyncInsertInTheProfileChangesNothing(t *testing.T) {
	w := newWorld(t)
	address, err := url.Parse(w.clickhouse.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.RawQuery = url.Values{"async_insert": {"1"}, "wait_for_async_insert": {"0"}}.Encode()
	w.clickhouse.URL = address.String()
	w.store = w.open(t, w.clickhouse)
	eventstoretest.Exec(t, "SYSTEM STOP MERGES `"+w.database(t)+"`.events")
	w.send(t, 5000)
	w.sendBroken(t, 10)
	w.runUntilKilled(t, "loader.inserted=kill@3")
	running := start(t, w.config(t))
	w.awaitRows(t, time.Minute)
	w.awaitQuarantined(t)
	running.stop()
	w.checkEachOnce(t)
	blocks := w.number(t, "SELECT uniqExact(source, inserted_at) FROM events")
	if parts := w.number(t, "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active"); parts != blocks {
		t.Errorf("%d blocks became %d parts", blocks, parts)
	}
}
