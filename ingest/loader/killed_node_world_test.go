//go:build world && threebrokers

package loader_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/testworld"
)

func TestALeaderKilledUnderLoadLosesAndDoublesNothing(t *testing.T) {
	killedUnderLoad(t, func(w *world) (node int32, isReplaced func(by string) bool) {
		keeper := coordinator(t, w.kafka.Brokers[0], w.group)
		for partition := range int32(w.topic.Settings.Partitions) {
			if node = leader(t, w, w.kafka.Brokers[0], partition); node != keeper && node > 0 {
				return node, func(by string) bool { now := leader(t, w, by, partition); return now != node && now > 0 }
			}
		}
		t.Fatalf("the coordinator, node %d, leads all partitions", keeper)
		return 0, nil
	})
}

func TestACoordinatorKilledUnderLoadLosesAndDoublesNothing(t *testing.T) {
	killedUnderLoad(t, func(w *world) (node int32, isReplaced func(by string) bool) {
		node = coordinator(t, w.kafka.Brokers[0], w.group)
		return node, func(by string) bool { return coordinator(t, by, w.group) != node }
	})
}

// killedUnderLoad kills the chosen node (kill -9) while a client sends and two loaders load, has the others take over, and
// lets it come back; twice. The second time it is whoever has the post by then.
func killedUnderLoad(t *testing.T, choose func(*world) (node int32, isReplaced func(by string) bool)) {
	t.Helper()
	w := newWorld(t)
	reader, sender := w.startReader(t), w.startSender(t)
	first, second := start(t, w.config(t)), start(t, w.config(t))
	w.awaitOwners(t, 2)
	for round := range 2 {
		sender.awaitMore(t, 1000)
		before := w.number(t, "SELECT count() FROM events")
		node, isReplaced := choose(w)
		comeBack := kill(t, node)
		other := w.kafka.Brokers[node%3] // the one after it; nodes count from 1
		began := time.Now()
		testworld.Eventually(t, time.Minute, func() error {
			if !isReplaced(other) {
				return errors.New("nobody has taken over yet")
			}
			return nil
		})
		t.Logf("round %d: %s until node %d was replaced", round, time.Since(began), node)
		// Both go on while the node is away: clients are accepted, and what they sent is loaded.
		sender.awaitMore(t, 1000)
		w.awaitMoreRows(t, before+1000)
		t.Logf("round %d: %s until events were accepted and loaded again", round, time.Since(began))
		comeBack()
		awaitInSync(t, w, 3)
	}
	sender.end(t, reader, func() { first.stop(); second.stop() })
}

// awaitMoreRows waits until the table has so many rows.
func (w *world) awaitMoreRows(t *testing.T, want uint64) {
	t.Helper()
	testworld.Eventually(t, 2*time.Minute, func() error {
		if count := w.number(t, "SELECT count() FROM events"); count < want {
			return fmt.Errorf("%d of %d rows", count, want)
		}
		return nil
	})
}

// leader is the node that leads a partition, by what the given node says; negative when none does.
func leader(t *testing.T, w *world, address string, partition int32) int32 {
	t.Helper()
	node := sarama.NewBroker(address)
	if err := node.Open(sarama.NewConfig()); err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	answer, err := node.GetMetadata(sarama.NewMetadataRequest(broker.ProtocolVersion, []string{w.kafka.Topic}))
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range answer.Topics {
		for _, p := range topic.Partitions {
			if p.ID == partition {
				return p.Leader
			}
		}
	}
	return -1
}

// nodeFolder is that of a node of the genuine Kafka in the world that devstack started.
func nodeFolder(t *testing.T, node int32) string {
	t.Helper()
	return filepath.Join(filepath.Dir(testworld.Env(t, "DEVSTACK_WORLD")), "kafka", "apache-3", "node-"+strconv.Itoa(int(node)))
}

// kill ends a node by SIGKILL, and keeps it down until comeBack is called.
func kill(t *testing.T, node int32) (comeBack func()) {
	t.Helper()
	down := filepath.Join(nodeFolder(t, node), "down")
	if err := os.WriteFile(down, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	comeBack = sync.OnceFunc(func() {
		if err := os.Remove(down); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	t.Cleanup(comeBack)
	if err := syscall.Kill(nodeProcess(t, node), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	return comeBack
}
