//go:build world

package loader_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/eventstore/eventstoretest"
)

// Each part of the protocol is there for one interleaving. Here each is taken out in turn, by a switch (see
// internal/failpoint) or by hand, and the test of its interleaving must notice: a test that passes without what it tests
// proves nothing.

// wantFaults wants that the check notices.
func (w *world) wantFaults(t *testing.T) {
	t.Helper()
	faults := w.faults(t)
	if len(faults) == 0 {
		t.Error("nobody notices")
	}
	t.Log(faults)
}

func TestWithoutTheTokenAStoppedLoaderDoubles(t *testing.T) {
	zombie(t, ";loader.without.token=on", func(*world) {}).wantFaults(t)
}

func TestWithoutTheConstraintAStoppedLoaderDoubles(t *testing.T) {
	zombie(t, "", func(w *world) {
		eventstoretest.Exec(t, "ALTER TABLE `"+w.database(t)+"`.events DROP CONSTRAINT arrival")
		w.overflow(t, 700)
		w.awaitAge(t, 9*time.Second)
	}).wantFaults(t)
}

func TestWithoutThePlanAKilledLoadersBlockIsDoubled(t *testing.T) {
	w := newWorldOf(t, 1)
	w.send(t, 400)
	w.runUntilKilled(t, "loader.inserted=kill@1;loader.without.plan=on")
	successor := start(t, w.config(t))
	w.awaitRows(t, time.Minute)
	w.awaitLoaded(t, successor)
	successor.stop()
	w.wantFaults(t)
}

func TestWithoutTheCountATokenWithoutItsPartLoses(t *testing.T) {
	w := tokenWithoutPart(t)
	arm(t, "loader.without.count=on")
	successor := start(t, w.config(t))
	w.awaitLoaded(t, successor)
	successor.stop()
	w.wantFaults(t)
}

func TestAWatermarkOneBlockEarlyIsSeen(t *testing.T) {
	w := newWorldOf(t, 1)
	running := start(t, w.config(t))
	w.awaitWatermark(t, time.Time{})
	reader := w.startReader(t)
	disarm := arm(t, "loader.early.watermark=on;loader.insert=wait@1")
	w.send(t, 400)
	awaitHit(t, "loader.insert")
	for len(reader.moved) > 0 {
		<-reader.moved
	}
	reader.awaitMove(t)
	disarm()
	w.awaitRows(t, time.Minute)
	reader.stop()
	running.stop()
	w.checkEachOnce(t)
	faults := reader.faults(t, w)
	if len(faults) == 0 {
		t.Error("nobody notices")
	}
	t.Log(faults)
}
