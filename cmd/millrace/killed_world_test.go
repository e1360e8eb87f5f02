//go:build world

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	sdktemporal "go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/testworld"
)

// A worker that is killed after a chunk was stored, and before it was proved or told, is succeeded by one that takes the
// file for the chunk only once it is read back: one file, one revision, proved.
func TestAWorkerKilledWhileItProvesIsSucceeded(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"s3.receipt", "s3.readback", "s3.readback.done"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.do(exitDone, "setup")
			start := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
			w.loadPast(start.Add(time.Second), 500)
			w.do(exitDone, "apply", "--yes")
			w.do(exitDone, "run", "shop-events", "--start", clock(start), "--end", clock(start.Add(time.Minute)), "--detach")

			plain := w.environment
			w.environment = append(append([]string{}, plain...), "MILLRACE_FAILPOINTS="+point+"=kill@1")
			victim := w.start("worker")
			w.environment = plain
			select {
			case <-victim.ended:
			case <-time.After(patience):
				t.Fatalf("the worker was not killed:\n%s", victim.stderr())
			}
			if status := victim.command.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
				t.Fatalf("the worker ended by itself: %s", victim.stderr())
			}
			w.start("worker")
			var run recordedRun
			testworld.Eventually(t, 3*patience, func() error {
				var runs []recordedRun
				w.doJSON(&runs, exitDone, "runs", "shop-events", "--limit", "1000")
				for _, run = range runs {
					if run.Start.Equal(start) {
						return nil
					}
				}
				return fmt.Errorf("the run is not in the ledger, which has %d", len(runs))
			})
			if run.Status != eventstore.StatusPublished || run.Revision != export.FirstRevision || run.Rows != 500 || run.Files != 1 {
				t.Errorf("the ledger has %+v", run)
			}
			if run.Proof != export.ProofReadback || run.Source == nil || run.Stored == nil || *run.Source != *run.Stored || run.Source.Rows != 500 {
				t.Errorf("it is proved by %s, %s and %s", run.Proof, run.Source, run.Stored)
			}
		})
	}
}

// A worker that is killed when it has just published a run again, and has not told it, is succeeded by one that finds it done:
// there is one revision more, whatever the redo looks for again.
func TestAWorkerKilledWhileItRedoesIsSucceeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(exitDone, "setup")
	start := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	w.loadPast(start.Add(time.Second), 500)
	w.do(exitDone, "apply", "--yes")
	w.do(exitDone, "pause", "shop-events", "--note", "nothing else is to be published")
	interval := []string{"run", "shop-events", "--start", clock(start), "--end", clock(start.Add(time.Minute))}
	first := w.start("worker")
	w.do(exitDone, interval...)
	first.interrupt()
	<-first.ended
	w.do(exitDone, append(interval, "--redo", "--reason", "the test says so", "--detach")...)
	plain := w.environment
	w.environment = append(append([]string{}, plain...), "MILLRACE_FAILPOINTS=s3.manifest.answered=kill@1")
	victim := w.start("worker")
	w.environment = plain
	select {
	case <-victim.ended:
	case <-time.After(patience):
		t.Fatalf("the worker was not killed:\n%s", victim.stderr())
	}
	w.start("worker")
	testworld.Eventually(t, 3*patience, func() error {
		var runs []recordedRun
		w.doJSON(&runs, exitDone, "runs", "shop-events", "--limit", "1000")
		var revisions []string
		for _, run := range runs {
			if run.Start.Equal(start) {
				revisions = append(revisions, fmt.Sprintf("%d %s %d %s", run.Revision, run.Status, run.Rows, run.Reason))
			}
		}
		if want := []string{"2 published 500 the test says so", "1 published 500 "}; !slices.Equal(revisions, want) {
			return fmt.Errorf("the ledger has %q", revisions)
		}
		return nil
	})
	for _, key := range w.objects() {
		if strings.Contains(key, "r0003") {
			t.Errorf("there is %s", key)
		}
	}
	w.do(exitDone, "verify", "shop-events", "--start", clock(start), "--end", clock(start.Add(time.Minute)))
}

// A worker that is killed just before or after it pauses an export for its failures is succeeded by one that pauses it once.
func TestAWorkerKilledWhileItPausesAnExportIsSucceeded(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"export.pause", "export.paused"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.do(exitDone, "setup")
			w.loadPast(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), 1)
			w.do(exitDone, "apply", "--yes")
			store, err := eventstore.Open(t.Context(), w.events)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			long := time.Now().Add(-25 * time.Hour)
			eventstoretest.Exec(t, fmt.Sprintf("INSERT INTO `%s`.ledger (export, interval_start, interval_end, revision, status, error_kind, started_at, recorded_at) SETTINGS async_insert = 0 "+
				"VALUES ('shop-events', %d, %d, 1, 'failed', 'not_found', %d, %d)", store.Database(), long.Unix()/60*60-60, long.Unix()/60*60, long.UnixMicro(), long.UnixMicro()))
			w.environment = append(w.environment, "MILLRACE_S3_BUCKET="+w.bucket+"-missing")
			schedule := w.temporal().ScheduleClient().GetHandle(t.Context(), "shop-events")
			if err := schedule.Trigger(t.Context(), client.ScheduleTriggerOptions{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL}); err != nil {
				t.Fatal(err)
			}
			plain := w.environment
			w.environment = append(append([]string{}, plain...), "MILLRACE_FAILPOINTS="+point+"=kill@1")
			victim := w.start("worker")
			w.environment = plain
			select {
			case <-victim.ended:
			case <-time.After(2 * patience):
				t.Fatalf("the worker was not killed:\n%s", victim.stderr())
			}
			notes := func() (notes string) {
				testworld.Eventually(t, patience, func() error { // a server that has much to do answers late
					described, err := schedule.Describe(t.Context())
					if err == nil {
						notes = described.Schedule.State.Note
					}
					return err
				})
				return notes
			}
			before := notes()
			if paused := export.ParsePause(before).By == export.PausedByMillrace; paused != (point == "export.paused") {
				t.Fatalf("killed at %s its notes are %q", point, before)
			}
			w.start("worker")
			testworld.Eventually(t, 3*patience, func() error {
				now := notes()
				switch pause := export.ParsePause(now); {
				case pause.By != export.PausedByMillrace || pause.From.IsZero() || pause.From.After(long):
					return fmt.Errorf("its notes are %q", now)
				case point == "export.paused" && now != before:
					t.Fatalf("it was paused twice: %q, and then %q", before, now)
				}
				return nil
			})
		})
	}
}

// A run that is cancelled while the worker of its chunk is dead ends as cancelled. The server does not try such a chunk
// again, and all that is heard of it is that its heartbeat stopped.
func TestARunThatIsCancelledWhileItsWorkerIsDeadIsCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(exitDone, "setup")
	start := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	w.loadPast(start.Add(time.Second), 500)
	w.do(exitDone, "apply", "--yes")
	w.do(exitDone, "run", "shop-events", "--start", clock(start), "--end", clock(start.Add(time.Minute)), "--detach")
	id := export.WorkflowIDPrefix("shop-events") + clock(start.Add(time.Minute))

	plain := w.environment
	w.environment = append(append([]string{}, plain...), "MILLRACE_FAILPOINTS=s3.chunk.begun=kill@1")
	victim := w.start("worker")
	w.environment = plain
	select {
	case <-victim.ended:
	case <-time.After(patience):
		t.Fatalf("the worker was not killed:\n%s", victim.stderr())
	}
	options, err := config.TemporalOptions()
	if err != nil {
		t.Fatal(err)
	}
	options.Namespace, options.Logger = w.namespace, nil
	connected, err := client.Dial(options)
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	if err := connected.CancelWorkflow(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	w.start("worker")
	waiting, stop := context.WithTimeout(t.Context(), 3*patience)
	defer stop()
	if err := connected.GetWorkflow(waiting, id, "").Get(waiting, nil); !sdktemporal.IsCanceledError(err) {
		t.Errorf("it ended with %v", err)
	}
	var runs []recordedRun
	w.doJSON(&runs, exitDone, "runs", "shop-events", "--limit", "1000")
	for _, recorded := range runs {
		if recorded.Start.Equal(start) && (recorded.Status != eventstore.StatusCancelled || recorded.ErrorKind != export.KindCancelled) {
			t.Errorf("the ledger has %+v", recorded)
		}
	}
}

// loadPast loads rows of the shop that arrived in the past, and lets the watermark be now.
func (w *world) loadPast(arrival time.Time, rows int) {
	w.t.Helper()
	store, err := eventstore.Open(w.t.Context(), w.events)
	if err != nil {
		w.t.Fatal(err)
	}
	defer store.Close()
	block := eventstore.Block{Source: "kafka/topic/0", Arrival: arrival, Token: uuid.NewString()}
	for i := range rows {
		block.Offsets = append(block.Offsets, uint64(i))
		block.Rows = append(block.Rows, event.Row{
			TeamID: 1, UUID: uuid.New(), Event: "visit", DistinctID: fmt.Sprint(i), Timestamp: arrival, Properties: `{"n": 1}`, ReceivedAt: arrival,
		})
	}
	eventstoretest.LoadPast(w.t, store, block)
	if err := store.PublishWatermarks(w.t.Context(), []eventstore.Mark{{
		Source: block.Source, Topic: "topic", Partitions: 1, At: time.Now().UTC().Truncate(time.Microsecond), Owner: "test",
	}}); err != nil {
		w.t.Fatal(err)
	}
}
