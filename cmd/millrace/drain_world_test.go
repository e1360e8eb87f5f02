//go:build world

package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/internal/testworld"
)

// Ctrl-C in the middle of traffic: what was accepted is in Kafka, and what was read is in ClickHouse or read again.
func TestInterruptDrains(t *testing.T) {
	for _, arguments := range [][]string{{"up"}, {"ingest", "--setup"}} {
		t.Run(arguments[0], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			process := w.start(arguments...)
			address := process.logged("capture takes events")["address"].(string)
			process.logged("kafka takes events")

			accepted := sendUntilRefused(t, process, address)
			if code := process.wait(); code != exitDone {
				t.Fatalf("exit code %d", code)
			}
			if len(accepted) < enough {
				t.Fatalf("only %d events were accepted", len(accepted))
			}

			again := w.start("ingest", "--loader-only")
			testworld.Eventually(t, patience, func() error {
				counts, err := w.loaded()
				if err != nil {
					return err
				}
				for _, id := range accepted {
					if counts[id] != 1 {
						return fmt.Errorf("accepted event %s is there %d times", id, counts[id])
					}
				}
				return nil
			})
			// All may have been loaded before, so wait until it is up: a signal before that just ends it.
			again.logged("partition claimed")
			again.interrupt()
			if code := again.wait(); code != exitDone {
				t.Errorf("the loader drained with exit code %d", code)
			}
		})
	}
}

// enough events are accepted before the signal is sent.
const enough = 200

// sendUntilRefused sends events by several clients, interrupts the process in their midst, and returns the ids of the
// events that were accepted.
func sendUntilRefused(t *testing.T, process *running, address string) []string {
	t.Helper()
	var mu sync.Mutex
	var accepted []string
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			for {
				id := uuid.NewString()
				if err := send(t.Context(), address, fmt.Sprint("person", client), id); err != nil {
					return // it drains: refused, or no connection any more
				}
				mu.Lock()
				accepted = append(accepted, id)
				signal := len(accepted) == enough
				mu.Unlock()
				if signal {
					process.interrupt()
				}
			}
		})
	}
	clients.Wait()
	return accepted
}

func TestWorkerDrains(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(exitDone, "setup")
	worker := w.start("worker")
	worker.logged("worker is ready")
	worker.interrupt()
	if code := worker.wait(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

func TestWorkerRefusesWhatIsNotSetUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out, _ := w.do(exitDone, "setup", "--only", "tables")
	if !strings.Contains(out, "tables  created") {
		t.Errorf("setup prints\n%s", out)
	}
	worker := w.start("worker")
	if code := worker.wait(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	want := `millrace: worker: namespace "NAME" has no search attribute MillraceDestination, MillraceErrorKind, MillraceExport, MillraceIntervalEnd: run ` + "`millrace setup`" + `, or
  temporal operator search-attribute create --namespace NAME --name MillraceDestination --type Keyword
  temporal operator search-attribute create --namespace NAME --name MillraceErrorKind --type Keyword
  temporal operator search-attribute create --namespace NAME --name MillraceExport --type Keyword
  temporal operator search-attribute create --namespace NAME --name MillraceIntervalEnd --type Datetime
`
	if message := worker.stderr(); !strings.HasSuffix(message, strings.ReplaceAll(want, "NAME", w.namespace)) {
		t.Errorf("got\n%swant\n%s", message, strings.ReplaceAll(want, "NAME", w.namespace))
	}

	// Set up twice, the second time there is nothing to do, and then the worker starts.
	var first, second []prepared
	w.doJSON(&first, exitDone, "setup")
	w.doJSON(&second, exitDone, "setup")
	for i := range second {
		if second[i].Changed || second[i].Detail == "" {
			t.Errorf("set up again: %+v", second[i])
		}
	}
	if first[0].Changed || !first[1].Changed || !first[2].Changed {
		t.Errorf("set up after the tables were there: %+v", first)
	}
	worker = w.start("worker")
	worker.logged("worker is ready")
}

// A drain that hangs can be cut short, and even that loses nothing.
func TestSecondInterruptStopsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(exitDone, "setup")
	plain := w.environment
	w.environment = append(plain, "MILLRACE_FAILPOINTS=loader.insert=wait")
	process := w.start("ingest")
	w.environment = plain
	address := process.logged("capture takes events")["address"].(string)
	process.logged("kafka takes events")
	id := uuid.NewString()
	if err := send(t.Context(), address, "person", id); err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(t, patience, func() error {
		if !strings.Contains(process.stderr(), "failpoint loader.insert: wait") {
			return errors.New("the loader does not hang yet")
		}
		return nil
	})
	process.interrupt()
	process.logged("draining: what was accepted is finished; a second signal stops at once")
	process.interrupt()
	if code := process.wait(); code != exitStopped {
		t.Errorf("exit code %d, want %d", code, exitStopped)
	}
	if message := process.stderr(); !strings.HasSuffix(message, "millrace: interrupt again: stopped at once, without draining\n") {
		t.Errorf("ends with\n%s", message)
	}

	w.start("ingest", "--loader-only")
	testworld.Eventually(t, patience, func() error {
		counts, err := w.loaded()
		if err == nil && counts[id] != 1 {
			err = fmt.Errorf("the event is there %d times", counts[id])
		}
		return err
	})
}
