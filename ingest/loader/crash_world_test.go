//go:build world

package loader_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/failpoint"
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
	return loader.Run(context.Background(), loader.Config{
		Store: store, Kafka: c.Kafka, Group: c.Group, BlockRows: 500, BlockAge: 200 * time.Millisecond,
		Timing: broker.GroupTiming{SessionTimeout: 2 * time.Second},
	})
}

// runUntilKilled runs a loader as a process with failpoints armed, and waits until one has killed it.
func (w *world) runUntilKilled(t *testing.T, failpoints string) {
	t.Helper()
	text, err := json.Marshal(child{ClickHouse: w.clickhouse, Kafka: w.kafka, Group: w.group})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var output bytes.Buffer
	process := exec.CommandContext(ctx, os.Args[0])
	process.Env = append(os.Environ(), childVariable+"="+string(text), failpoint.Variable+"="+failpoints)
	process.Stdout, process.Stderr = &output, &output
	err = process.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() || ctx.Err() != nil || !strings.Contains(output.String(), ": kill\n") {
		t.Fatalf("%s should have killed the loader; it ended with %v:\n%s", failpoints, err, output.String())
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
	last.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}
