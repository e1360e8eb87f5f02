//go:build world && threebrokers

package loader_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/testworld"
)

// The group's coordinator, which leads partitions too, freezes three times while the loader catches up. Woken, it finds
// that others have taken over what it led.
func TestANodeThatWakesAfterTheOthersTookOverDoublesNothing(t *testing.T) {
	w := newWorld(t)
	running := start(t, w.config(t))
	w.send(t, 1000)
	w.awaitRows(t, 30*time.Second)
	for round := range 3 {
		before := coordinator(t, w.kafka.Brokers[0], w.group)
		w.connectProducer(t)
		w.send(t, 20_000)
		wake := freeze(t, before)
		other := w.kafka.Brokers[before%3] // the one after it; nodes count from 1
		began := time.Now()
		testworld.Eventually(t, time.Minute, func() error {
			if now := coordinator(t, other, w.group); now == before {
				return fmt.Errorf("the coordinator is still %d", now)
			}
			return nil
		})
		loaded := w.number(t, "SELECT count() FROM events")
		t.Logf("round %d: %s until node %d was replaced, %d of %d events were loaded", round, time.Since(began), before, loaded, len(w.sent))
		wake()
		w.awaitRows(t, 2*time.Minute)
		awaitInSync(t, w, 3)
	}
	running.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}

// The coordinator freezes and stays so: its connections stand, and nothing on them is answered ever again. That is worse
// than a node that is killed, whose connections are refused at once.
func TestALoaderGoesOnWhileItsCoordinatorStaysFrozen(t *testing.T) {
	w := newWorld(t)
	running := start(t, w.config(t))
	w.send(t, 1000)
	w.awaitRows(t, 30*time.Second)
	frozen := coordinator(t, w.kafka.Brokers[0], w.group)
	w.send(t, 20_000)
	freeze(t, frozen)
	began := time.Now()
	w.awaitRows(t, time.Minute)
	w.awaitLoaded(t, running)
	t.Logf("%s until everything that was sent before was loaded", time.Since(began))
	w.awaitWatermark(t, w.lastArrival(t)) // nothing is left, and it goes on to commit and to publish
	running.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}

// coordinator is the node that keeps the group's offsets, by what the given node says. A sarama.Client would also ask
// frozen ones.
func coordinator(t *testing.T, address, group string) int32 {
	t.Helper()
	config := sarama.NewConfig()
	node := sarama.NewBroker(address)
	if err := node.Open(config); err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	keeper := int32(-1)
	testworld.Eventually(t, time.Minute, func() error {
		answer, err := node.FindCoordinator(&sarama.FindCoordinatorRequest{Version: 2, CoordinatorKey: group, CoordinatorType: sarama.CoordinatorGroup})
		if err != nil {
			return err
		}
		if !errors.Is(answer.Err, sarama.ErrNoError) {
			return answer.Err
		}
		keeper = answer.Coordinator.ID()
		return nil
	})
	return keeper
}

// freeze stops a node of the genuine Kafka in the world that devstack started, until wake is called.
func freeze(t *testing.T, node int32) (wake func()) {
	t.Helper()
	pid := nodeProcess(t, node)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wake = func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	t.Cleanup(wake)
	return wake
}

func nodeProcess(t *testing.T, node int32) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(nodeFolder(t, node), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// awaitInSync waits until every partition has so many replicas in sync.
func awaitInSync(t *testing.T, w *world, want int) {
	t.Helper()
	testworld.Eventually(t, 2*time.Minute, func() error {
		client, err := broker.NewClient(w.kafka)
		if err != nil {
			return err
		}
		defer client.Close()
		for partition := range int32(w.topic.Settings.Partitions) {
			replicas, err := client.InSyncReplicas(w.kafka.Topic, partition)
			if err != nil {
				return err
			}
			if len(replicas) != want {
				return fmt.Errorf("partition %d has the replicas %v in sync", partition, replicas)
			}
		}
		return nil
	})
}
