//go:build world

package loader_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/testworld"
)

// rounds is how often partitions go from one loader to the other.
const rounds = 4

func TestThreePartitionsMoveBackAndForthBetweenTwoLoaders(t *testing.T) {
	w := newWorldOf(t, 3)
	reader, sender := w.startReader(t), w.startSender(t)
	present := start(t, w.config(t))
	for range rounds {
		present.awaitClaims(t, func(claims int) bool { return claims == 3 })
		sender.awaitMore(t, 1000)
		next := start(t, w.config(t))
		w.awaitOwners(t, 2)
		sender.awaitMore(t, 1000)
		present.stop()
		present = next
	}
	sender.end(t, reader, present.stop)
}

// The loaders are processes, of which every other one is killed and not told to stop.
func TestThreePartitionsMoveBackAndForthBetweenTwoProcesses(t *testing.T) {
	w := newWorldOf(t, 3)
	reader, sender := w.startReader(t), w.startSender(t)
	present := w.startProcess(t, "")
	for round := range rounds {
		w.awaitOwners(t, 1)
		sender.awaitMore(t, 1000)
		next := w.startProcess(t, "")
		w.awaitOwners(t, 2)
		sender.awaitMore(t, 1000)
		if round%2 == 0 {
			present.end(t, syscall.SIGKILL)
		} else {
			present.end(t, syscall.SIGTERM)
		}
		present = next
	}
	sender.end(t, reader, func() { present.end(t, syscall.SIGTERM) })
}

// end sends the process a signal and waits until it has ended, which after SIGTERM it does in good order.
func (p *process) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil && signal == syscall.SIGTERM {
		t.Errorf("the loader ended with %v:\n%s", err, p.said())
	}
}

// awaitOwners waits until every partition is claimed, by so many loaders in all.
func (w *world) awaitOwners(t *testing.T, want int) {
	t.Helper()
	offsets := w.offsets(t)
	testworld.Eventually(t, time.Minute, func() error {
		byPartition, _, err := offsets.Members(t.Context())
		if err != nil {
			return err
		}
		owners := map[string]bool{}
		for _, member := range byPartition {
			owners[member.ID] = true
		}
		if len(byPartition) != w.topic.Settings.Partitions || len(owners) != want {
			return fmt.Errorf("%d partitions are with %d loaders", len(byPartition), len(owners))
		}
		return nil
	})
}
