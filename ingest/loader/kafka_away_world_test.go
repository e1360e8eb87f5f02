//go:build world

package loader_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/testworld"
)

// ownKafka is a broker of the test's own process, which it can end and start again on the same port and disk.
type ownKafka struct {
	dir     string
	port    int
	cluster *kfake.Cluster
}

func (k *ownKafka) start(t *testing.T) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(k.port), kfake.DataDir(k.dir), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	k.cluster = cluster
}

func unusedPort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func TestKafkaAwayIsWaitedOutAlsoAtTheStart(t *testing.T) {
	w := newWorld(t)
	kafka := &ownKafka{dir: t.TempDir(), port: unusedPort(t)}
	w.kafka = broker.Config{Brokers: []string{"127.0.0.1:" + strconv.Itoa(kafka.port)}, Topic: w.kafka.Topic}
	kafka.start(t)
	ensured, err := broker.EnsureTopic(t.Context(), w.kafka, broker.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	w.topic = ensured.Topic
	kafka.cluster.Close()

	running := start(t, w.config(t))
	kafka.start(t)
	t.Cleanup(func() { kafka.cluster.Close() })
	w.connectProducer(t)
	w.send(t, 5000)
	w.awaitRows(t, time.Minute)
	for range 2 {
		kafka.cluster.Close()
		kafka.start(t)
		w.connectProducer(t)
		w.send(t, 5000)
		w.awaitRows(t, time.Minute)
	}
	running.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}

func TestAServerThatRefusesEndsTheLoader(t *testing.T) {
	w := newWorld(t)
	refused := w.clickhouse
	// Both ports, for the first is asked first; the engine of the test's world does not survive refusing at the native one.
	refused.URL = strings.Replace(refused.URL, "millrace:millrace@", "millrace:wrong@", 1)
	refused.HTTPURL = strings.Replace(refused.HTTPURL, "millrace:millrace@", "millrace:wrong@", 1)
	config := w.config(t)
	config.Store = w.open(t, refused)
	if err := loader.Run(t.Context(), config); err == nil || !strings.HasPrefix(err.Error(), "check clickhouse before loading: ") || strings.Contains(err.Error(), "wrong@") {
		t.Errorf("wrong password: %v", err)
	}
	empty := w.clickhouse
	empty.URL = strings.Replace(empty.URL, w.database(t), "absent", 1)
	config.Store = w.open(t, empty)
	if err := loader.Run(t.Context(), config); err == nil || !strings.Contains(err.Error(), "run `millrace setup`") {
		t.Errorf("absent database: %v", err)
	}
}

func TestACancelBeforeAnybodyAnswersEndsAtOnce(t *testing.T) {
	w := newWorld(t)
	config := w.config(t)
	config.Kafka.Brokers = []string{"127.0.0.1:1"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	started := time.Now()
	if err := loader.Run(ctx, config); err != nil {
		t.Error(err)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestAddedPartitionsJoinTheRoster(t *testing.T) {
	w := newWorld(t)
	first := start(t, w.config(t))
	w.send(t, 1000)
	w.awaitRows(t, 30*time.Second)
	before := w.awaitWatermark(t, time.Time{})
	first.stop()
	w.admin(t, func(admin clusterAdmin) error { return admin.CreatePartitions(w.kafka.Topic, 12, nil, false) })
	w.connectProducer(t)
	w.send(t, 3000)

	second := start(t, w.config(t))
	second.awaitClaims(t, func(claims int) bool { return claims == 12 })
	w.awaitRows(t, 30*time.Second)
	w.awaitWatermark(t, before)
	testworld.Eventually(t, 30*time.Second, func() error {
		watermark, err := w.store.Watermark(t.Context())
		if err != nil {
			return err
		}
		if len(watermark.Marks) != 12 || !watermark.Complete {
			return errors.New("the roster has not 12 partitions: " + watermark.Reason)
		}
		return nil
	})
	if early := w.number(t, "SELECT countIf(inserted_at <= fromUnixTimestamp64Micro(?)) FROM events WHERE toUInt32(splitByChar('/', source)[3]) >= 8", before.UnixMicro()); early > 0 {
		t.Errorf("%d rows of the new partitions arrived at or before a watermark that was published without them", early)
	}
}
