//go:build world

package loader_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/testworld"
)

// world is a topic and a database of the test's own, on the brokers and the server that all tests share.
type world struct {
	clickhouse eventstore.Config
	store      *eventstore.Store
	kafka      broker.Config
	topic      broker.Topic
	group      string
	rows       driver.Conn
	producer   sarama.AsyncProducer
	rand       *rand.Rand
	sent       map[uuid.UUID]bool
	broken     int // messages that cannot be read
	copies     int // messages that are in Kafka twice
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, 8)
}

// newWorldOf has so many partitions.
func newWorldOf(t *testing.T, partitions int) *world {
	t.Helper()
	w := &world{
		clickhouse: eventstoretest.Config(t),
		kafka:      broker.Config{Brokers: broker.ParseBrokers(testworld.Env(t, "MILLRACE_KAFKA_BROKERS")), Topic: testworld.Name(t)},
		group:      testworld.Name(t),
		rand:       testworld.Rand(t),
		sent:       map[uuid.UUID]bool{},
	}
	w.store = w.open(t, w.clickhouse)
	if _, err := w.store.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	ensured, err := broker.EnsureTopic(t.Context(), w.kafka, broker.Settings{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	w.topic = ensured.Topic
	options, err := clickhouse.ParseDSN(w.clickhouse.URL)
	if err != nil {
		t.Fatal(err)
	}
	if w.rows, err = clickhouse.Open(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.rows.Close() })
	w.connectProducer(t)
	return w
}

func (w *world) connectProducer(t *testing.T) {
	t.Helper()
	// With a frozen node among those that it may ask first, an attempt can fail.
	testworld.Eventually(t, time.Minute, func() (err error) {
		w.producer, err = broker.NewProducer(w.kafka)
		return err
	})
	producer := w.producer
	t.Cleanup(func() { _ = producer.Close() })
}

func (w *world) open(t *testing.T, config eventstore.Config) *eventstore.Store {
	t.Helper()
	store, err := eventstore.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// config is that of a loader in this world: small blocks, and a death that is noticed soon.
func (w *world) config(t *testing.T) loader.Config {
	return loader.Config{
		Store: w.store, Kafka: w.kafka, Group: w.group,
		Timing:    broker.GroupTiming{SessionTimeout: 2 * time.Second, RebalanceTimeout: 15 * time.Second},
		BlockRows: 500, BlockAge: 200 * time.Millisecond, Drain: 10 * time.Second,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// send gives Kafka events of random persons, in the message that capture makes, and waits until all are acknowledged.
func (w *world) send(t *testing.T, count int) {
	t.Helper()
	go func() {
		for range count {
			w.producer.Input() <- w.event(w.rand.IntN(1000), `{"event":"seen","distinct_id":"p","properties":{"n":1}}`)
		}
	}()
	w.acknowledged(t, count)
}

// event is a message with an event of a new uuid.
func (w *world) event(person int, body string) *sarama.ProducerMessage {
	return w.message("person-"+strconv.Itoa(person), event.Message{
		TeamID: 1, UUID: w.uuid(), ReceivedAt: time.Now(), Event: []byte(body),
	}.AppendJSON(nil))
}

// sendBroken gives Kafka messages that cannot be read.
func (w *world) sendBroken(t *testing.T, count int) {
	t.Helper()
	for range count {
		w.broken++
		w.producer.Input() <- w.message("broken-"+strconv.Itoa(w.broken), fmt.Appendf(nil, "no json %d", w.broken))
	}
	w.acknowledged(t, count)
}

// awaitQuarantined waits until each message that cannot be read is on record, byte for byte, and once.
func (w *world) awaitQuarantined(t *testing.T) {
	t.Helper()
	testworld.Eventually(t, time.Minute, func() error {
		if count := w.number(t, "SELECT uniqExact(raw) FROM quarantine FINAL WHERE raw LIKE 'no json %' AND reason != ''"); count != uint64(w.broken) {
			return fmt.Errorf("%d of %d messages are in quarantine", count, w.broken)
		}
		return nil
	})
	if count := w.number(t, "SELECT count() FROM quarantine FINAL"); count != uint64(w.broken) {
		t.Errorf("%d rows in quarantine for %d messages", count, w.broken)
	}
}

func (w *world) uuid() uuid.UUID {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(w.rand.Uint32())
	}
	w.sent[id] = true
	return id
}

func (w *world) message(person string, value []byte) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: w.kafka.Topic, Key: broker.Key(1, person), Value: sarama.ByteEncoder(value)}
}

func (w *world) acknowledged(t *testing.T, count int) {
	t.Helper()
	for range count {
		select {
		case <-w.producer.Successes():
		case failed := <-w.producer.Errors():
			t.Fatalf("send: %v", failed)
		case <-time.After(time.Minute):
			t.Fatal("send: no acknowledgement within a minute")
		}
	}
}

// number asks ClickHouse for one number.
func (w *world) number(t testing.TB, query string, args ...any) uint64 {
	t.Helper()
	var number uint64
	if err := w.rows.QueryRow(context.WithoutCancel(t.Context()), query, args...).Scan(&number); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return number
}

// awaitRows waits until the table has as many rows as were sent.
func (w *world) awaitRows(t *testing.T, deadline time.Duration) {
	t.Helper()
	testworld.Eventually(t, deadline, func() error {
		if count := w.number(t, "SELECT count() FROM events"); count < uint64(len(w.sent)) {
			return fmt.Errorf("%d of %d events are loaded", count, len(w.sent))
		}
		return nil
	})
}

// checkEachOnce wants no faults.
func (w *world) checkEachOnce(t *testing.T) {
	t.Helper()
	for _, fault := range w.faults(t) {
		t.Error(fault)
	}
}

// faults compares the table with what was sent: every event is there, once, and the rows of each partition are a row of
// blocks, each with one arrival time, above that of the block before; and each offset of Kafka's log is a row, or in
// quarantine, or a copy that was dropped.
func (w *world) faults(t *testing.T) (faults []string) {
	t.Helper()
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	rows, err := w.rows.Query(t.Context(), "SELECT uuid FROM events")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	seen := map[uuid.UUID]int{}
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		seen[id]++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	var lost, doubled, strange int
	for id := range w.sent {
		if seen[id] == 0 {
			lost++
		}
	}
	for id, times := range seen {
		if times > 1 {
			doubled++
		}
		if !w.sent[id] {
			strange++
		}
	}
	if lost+doubled+strange > 0 {
		fault("of %d events %d are lost, %d doubled, %d were never sent", len(w.sent), lost, doubled, strange)
	}
	count := w.number(t, "SELECT count() FROM events")
	if both := w.number(t, "SELECT uniqExact(source, source_offset) FROM events"); both != count {
		fault("%d pairs of source and offset in %d rows", both, count)
	}
	if falls := w.number(t, `SELECT countIf(inserted_at < before) FROM (SELECT inserted_at,
		lagInFrame(inserted_at, 1, inserted_at) OVER (PARTITION BY source ORDER BY source_offset) AS before FROM events)`); falls > 0 {
		fault("arrival falls %d times within a partition", falls)
	}
	if both := w.number(t, "SELECT count() FROM quarantine FINAL WHERE (source, source_offset) IN (SELECT source, source_offset FROM events)"); both > 0 {
		fault("%d messages are both rows and in quarantine", both)
	}
	offsets := w.number(t, "SELECT toUInt64(sum(last + 1)) FROM (SELECT source, max(source_offset) AS last FROM "+
		"(SELECT source, source_offset FROM events UNION ALL SELECT source, source_offset FROM quarantine) GROUP BY source)")
	there := w.number(t, "SELECT (SELECT uniqExact(source, source_offset) FROM events) + (SELECT count() FROM quarantine FINAL)")
	if offsets != there+uint64(w.copies) {
		fault("%d offsets became %d rows and quarantined messages and %d dropped copies", offsets, there, w.copies)
	}
	return faults
}

// running is a loader of this test's process.
type running struct {
	*loader.Loader
	stop func()
}

// start runs a loader until stop is called, which wants it to end without an error, within its drain and a little.
func start(t *testing.T, config loader.Config) *running {
	t.Helper()
	l, err := loader.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the loader ended with %v", err)
			}
		case <-time.After(config.Drain + 20*time.Second):
			t.Errorf("the loader has not ended")
		}
	})
	t.Cleanup(stop)
	return &running{Loader: l, stop: stop}
}

func (r *running) awaitClaims(t *testing.T, check func(claims int) bool) {
	t.Helper()
	testworld.Eventually(t, 30*time.Second, func() error {
		if claims := len(r.Status()); !check(claims) {
			return fmt.Errorf("the loader claims %d partitions", claims)
		}
		return nil
	})
}

// database is the name of the test's own.
func (w *world) database(t *testing.T) string {
	t.Helper()
	address, err := url.Parse(w.clickhouse.URL)
	if err != nil {
		t.Fatal(err)
	}
	return address.Path[1:]
}

type clusterAdmin = sarama.ClusterAdmin

func (w *world) admin(t *testing.T, act func(clusterAdmin) error) {
	t.Helper()
	client, err := broker.NewClient(w.kafka)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := act(admin); err != nil {
		t.Fatal(err)
	}
}

// awaitLoaded waits until the loader is at the end of Kafka's log.
func (w *world) awaitLoaded(t *testing.T, r *running) {
	t.Helper()
	offsets := w.offsets(t)
	testworld.Eventually(t, time.Minute, func() error {
		statuses := r.Status()
		if len(statuses) == 0 {
			return fmt.Errorf("the loader claims nothing")
		}
		for _, p := range statuses {
			end, err := offsets.End(p.Partition)
			if err != nil {
				return err
			}
			if p.Next < end {
				return fmt.Errorf("partition %d is at %d of %d", p.Partition, p.Next, end)
			}
		}
		return nil
	})
}
