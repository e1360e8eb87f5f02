//go:build world

package loader_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/internal/testworld"
)

// shorten makes the table refuse arrival times after some seconds, and its window of tokens as small as goes with that.
func (w *world) shorten(t *testing.T, seconds int) {
	t.Helper()
	table := "`" + w.database(t) + "`.events"
	eventstoretest.Exec(t, "ALTER TABLE "+table+" DROP CONSTRAINT arrival")
	eventstoretest.Exec(t, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT arrival CHECK inserted_at > nowInBlock64(6) - INTERVAL %d SECOND AND inserted_at < nowInBlock64(6) + INTERVAL 1 MINUTE", table, seconds))
	eventstoretest.Exec(t, fmt.Sprintf("ALTER TABLE %s MODIFY SETTING non_replicated_deduplication_window = %d", table, 80*seconds))
}

// overflow pushes all tokens out of the window, by blocks that are taken out of the table again.
func (w *world) overflow(t *testing.T, window int) {
	t.Helper()
	for i := range window {
		now, err := w.store.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = w.store.InsertBlock(t.Context(), eventstore.Block{
			Source: "filler/t/0", Token: fmt.Sprint("filler-", i, "-", testworld.Name(t)), Arrival: now,
			Offsets: []uint64{uint64(i)}, Rows: []event.Row{{TeamID: 1, UUID: uuid.New(), Timestamp: now, ReceivedAt: now}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	eventstoretest.Exec(t, "ALTER TABLE `"+w.database(t)+"`.events DELETE WHERE source = 'filler/t/0' SETTINGS mutations_sync = 1")
}

// zombie is a loader that was stopped between a plan's commit and its insert, and woken when another had loaded the block.
// What is done while it sleeps is the test's.
func zombie(t *testing.T, switches string, asleep func(*world)) *world {
	t.Helper()
	w := newWorldOf(t, 1)
	w.shorten(t, 8)
	w.send(t, 400)
	stopped := w.startProcess(t, "loader.insert=stop@1"+switches)
	stopped.awaitSaid(t, "failpoint loader.insert: stop")
	successor := start(t, w.config(t))
	w.awaitRows(t, time.Minute)
	w.awaitWatermark(t, w.lastArrival(t))
	asleep(w)
	if err := stopped.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// Whichever it notices first: that its commit is refused, or its heartbeat.
	stopped.awaitSaid(t, "partition belongs to another loader by now", "partition is let go with an open block")
	w.send(t, 400)
	w.awaitRows(t, time.Minute)
	w.awaitLoaded(t, successor)
	successor.stop()
	return w
}

func TestAStoppedLoaderThatWakesSoonIsRefusedByItsToken(t *testing.T) {
	w := zombie(t, "", func(*world) {})
	w.checkEachOnce(t)
	w.checkCommitted(t)
	const twice = `SELECT toUInt64(max(times)) FROM (SELECT count() AS times FROM system.query_log
		WHERE type = 'QueryFinish' AND startsWith(query_id, ?) GROUP BY query_id)`
	if times := w.logged(t, twice); times < 2 {
		t.Errorf("no insert came twice: the server has answered each token %d times", times)
	}
}

func TestAStoppedLoaderThatWakesLateIsRefusedByTheTable(t *testing.T) {
	w := zombie(t, "", func(w *world) { w.overflow(t, 700); w.awaitAge(t, 9*time.Second) })
	w.checkEachOnce(t)
	w.checkCommitted(t)
	const violatedConstraint = 469
	if refused := w.logged(t, "SELECT count() FROM system.query_log WHERE startsWith(query_id, ?) AND exception_code = ?", violatedConstraint); refused == 0 {
		t.Error("the table has refused no insert")
	}
}

// logged asks the server's log of queries for a number, with what the names of the partition's inserts begin with.
func (w *world) logged(t *testing.T, query string, args ...any) uint64 {
	t.Helper()
	eventstoretest.Exec(t, "SYSTEM FLUSH LOGS")
	return w.number(t, query, append([]any{w.topic.Source(0) + "/"}, args...)...)
}

// awaitAge waits until the first row arrived so long ago, by ClickHouse's clock.
func (w *world) awaitAge(t *testing.T, age time.Duration) {
	t.Helper()
	testworld.Eventually(t, time.Minute, func() error {
		if is := w.number(t, "SELECT toUInt64(dateDiff('second', min(inserted_at), now64(6))) FROM events"); is <= uint64(age/time.Second) {
			return fmt.Errorf("the first row is %d s old", is)
		}
		return nil
	})
}
