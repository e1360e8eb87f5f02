//go:build world

package loader_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/failpoint"
	"github.com/millrace/millrace/internal/testworld"
)

// childVariable makes this test binary a loader instead: a process that can be killed.
const childVariable = "MILLRACE_TEST_LOADER"

// child is what the loader of a process of its own needs to know.
type child struct {
	ClickHouse eventstore.Config
	Kafka      broker.Config
	Group      string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		if err := runChild(text); err != nil {
			slog.Error("the loader ended", "error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m,
		// Started once for each process by sarama's metrics, and never ended.
		goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		// The circuit breaker of capture's producer sleeps out its ten seconds.
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"),
	)
}

func runChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	store, err := eventstore.Open(context.Background(), c.ClickHouse)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return loader.Run(ctx, loader.Config{
		Store: store, Kafka: c.Kafka, Group: c.Group, BlockRows: 500, BlockAge: 200 * time.Millisecond,
		Timing: broker.GroupTiming{SessionTimeout: 2 * time.Second},
	})
}

// process is a loader in a process of its own.
type process struct {
	*exec.Cmd
	mu     sync.Mutex
	output bytes.Buffer
}

// Write takes what the process says.
func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(text)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// startProcess runs a loader as a process with failpoints armed. It is killed at the end of the test at the latest.
func (w *world) startProcess(t *testing.T, failpoints string) *process {
	t.Helper()
	return w.startBinary(t, os.Args[0], failpoints)
}

// startBinary does so with another build of this test.
func (w *world) startBinary(t *testing.T, path, failpoints string, environment ...string) *process {
	t.Helper()
	text, err := json.Marshal(child{ClickHouse: w.clickhouse, Kafka: w.kafka, Group: w.group})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(path)}
	p.Env = append(append(os.Environ(), childVariable+"="+string(text), failpoint.Variable+"="+failpoints), environment...)
	p.Stdout, p.Stderr = p, p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
		if t.Failed() {
			t.Logf("process %d said:\n%s", p.Process.Pid, p.said())
		}
	})
	return p
}

// awaitSaid waits until the process has said one of the texts.
func (p *process) awaitSaid(t *testing.T, texts ...string) {
	t.Helper()
	testworld.Eventually(t, time.Minute, func() error {
		said := p.said()
		if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(said, text) }) {
			return fmt.Errorf("the loader has not said %q:\n%s", texts, said)
		}
		return nil
	})
}

// runUntilKilled runs a loader as a process with failpoints armed, and waits until one has killed it.
func (w *world) runUntilKilled(t *testing.T, failpoints string) {
	t.Helper()
	p := w.startProcess(t, failpoints)
	p.awaitSaid(t, ": kill\n")
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("%s should have killed the loader; it ended with %v:\n%s", failpoints, err, p.said())
	}
}

func TestALoaderKilledAnywhereNeitherLosesNorDoubles(t *testing.T) {
	w := newWorld(t)
	for _, failpoints := range []string{
		"loader.polled=kill@700",
		"loader.plan=kill@2",
		"loader.planned=kill@3",
		"loader.quarantine=kill@1",
		"loader.quarantined=kill@2",
		"loader.insert=kill@2",
		"loader.inserted=kill@3",
		"loader.inserted=kill@1",
		"loader.commit=kill@4",
		"loader.committed=kill@3",
		"loader.promise=kill@10",
		"loader.promised=kill@2",
		"loader.publish=kill@1",
		"loader.published=kill@2",
	} {
		w.send(t, 3000)
		w.sendBroken(t, 40)
		w.runUntilKilled(t, failpoints)
	}
	last := start(t, w.config(t))
	w.awaitRows(t, time.Minute)
	w.awaitQuarantined(t)
	w.awaitLoaded(t, last) // the one before may have been killed when all was in and nothing committed
	last.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}
