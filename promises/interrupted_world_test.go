//go:build world

package promises

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// big loads rows into the first hour that make a file of about ten parts of 8 MiB.
const bigRows = 10_000

func (t *thread) loadBig() {
	t.Helper()
	// Of 8 MB each, as large as a loader's: the server waits 5 s for the data of an insert.
	const each = bigRows / 10
	var blocks []eventstore.Block
	for i := range bigRows / each {
		rows, _ := block(hour(0).Start.Add(time.Duration(i)*time.Second), 1, each, `{"text": "`+strings.Repeat("x", 8000)+`"}`)
		blocks = append(blocks, rows)
	}
	eventstoretest.LoadPast(t.T, t.events, blocks...)
}

// slowly is an export whose chunks go over the slow way.
func slowly(name string) export.Definition {
	definition := hourly(name, 1)
	definition.Connection = "slow"
	return definition
}

// begin starts the run of the first hour and waits until its chunk is in the middle.
func (t *thread) begin(name string, each time.Duration) starter.Started {
	t.Helper()
	t.slow.be(each)
	started, err := t.starter.Start(t.Context(), slowly(name), hour(0))
	if err != nil {
		t.Fatal(err)
	}
	if each < time.Minute {
		t.slow.awaitParts(t.T, 3)
	} else {
		t.slow.awaitParts(t.T, 2) // more are not sent at once
	}
	return started
}

// settles waits until no query of Millrace runs and no upload is open: soon, and by themselves.
func (t *thread) settles(within time.Duration) {
	t.Helper()
	testworld.Eventually(t.T, within, func() error {
		if queries := t.queries(); len(queries) > 0 {
			return fmt.Errorf("ClickHouse still runs %v", queries)
		}
		if open := t.openUploads(); open > 0 {
			return fmt.Errorf("%d uploads are open", open)
		}
		return nil
	})
}

// queries are the queries that run on the test's database.
func (t *thread) queries() []string {
	t.Helper()
	options, err := clickhouse.ParseDSN(testworld.Env(t.T, "MILLRACE_CLICKHOUSE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	options.Auth.Database = "system"
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var running []string
	if err := conn.QueryRow(t.Context(), "SELECT groupArray(query) FROM system.processes WHERE current_database = ?", t.events.Database()).Scan(&running); err != nil {
		t.Fatal(err)
	}
	return running
}

// whole fails the test unless the first hour of an export is published, once and with every row.
func (t *thread) whole(name string) {
	t.Helper()
	var found export.Manifest
	for _, key := range ending(t.objects(), "/manifest.json") {
		if strings.Contains(key, "/"+name+"/") {
			found = t.manifest(key)
		}
	}
	if found.Rows != bigRows {
		t.Errorf("%s: its manifest says %d rows", name, found.Rows)
	}
	files := 0
	for _, key := range ending(t.objects(), ".jsonl") {
		if strings.HasPrefix(key, "events/"+name+"/") {
			files++
		}
	}
	if files != len(found.Receipts) {
		t.Errorf("%s: there are %d files, the manifest names %d", name, files, len(found.Receipts))
	}
}

// heartbeat is the time after which a chunk that lost its workflow has to be gone, with some for a busy machine.
const heartbeat = 60 * time.Second

func TestStoppingARunInTheMiddleIsHarmless(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadBig()
	t.work()

	t.Run("cancel", func(tt *testing.T) {
		t := t.in(tt)
		started := t.begin("cancelled", 4*time.Second)
		if err := t.Client.CancelWorkflow(t.Context(), started.WorkflowID, started.RunID); err != nil {
			t.Fatal(err)
		}
		err := t.Client.GetWorkflow(t.Context(), started.WorkflowID, started.RunID).Get(t.Context(), nil)
		if !temporal.IsCanceledError(err) {
			t.Errorf("it ended with %v", err)
		}
		t.history("cancelled while it wrote", started)
		t.settles(heartbeat)
		t.nothingPublished("cancelled")
		t.again("cancelled")
	})
	t.Run("terminate", func(tt *testing.T) {
		t := t.in(tt)
		started := t.begin("terminated", 4*time.Second)
		if err := t.Client.TerminateWorkflow(t.Context(), started.WorkflowID, started.RunID, "the test says so"); err != nil {
			t.Fatal(err)
		}
		t.history("terminated while it wrote", started)
		t.settles(heartbeat)
		t.nothingPublished("terminated")
		t.again("terminated")
	})
	t.Run("terminate while the store hangs", func(tt *testing.T) {
		t := t.in(tt)
		started := t.begin("hanging", 10*time.Minute)
		// No heartbeat is on its way any more that could bring the news.
		testworld.Eventually(tt, patience, func() error {
			description, err := t.Client.DescribeWorkflowExecution(t.Context(), started.WorkflowID, started.RunID)
			if err != nil {
				return err
			}
			for _, pending := range description.PendingActivities {
				if last := pending.LastHeartbeatTime; last != nil && time.Since(last.AsTime()) > 10*time.Second {
					return nil
				}
			}
			return fmt.Errorf("the chunk's heartbeat has not stopped: %v", description.PendingActivities)
		})
		if err := t.Client.TerminateWorkflow(t.Context(), started.WorkflowID, started.RunID, "the test says so"); err != nil {
			t.Fatal(err)
		}
		t.settles(heartbeat)
		t.nothingPublished("hanging")
		t.again("hanging")
	})
	t.Run("reset", func(tt *testing.T) {
		t := t.in(tt)
		started := t.begin("reset", 4*time.Second)
		reset, err := t.Client.ResetWorkflowExecution(t.Context(), &workflowservice.ResetWorkflowExecutionRequest{
			Namespace: t.Namespace.Name, RequestId: uuid.NewString(), Reason: "the test says so", WorkflowTaskFinishEventId: 4,
			WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: started.WorkflowID, RunId: started.RunID},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.slow.be(0)
		if outcome := t.outcome(started.WorkflowID, reset.RunId); outcome.Rows != bigRows {
			t.Errorf("after the reset it ended with %+v", outcome)
		}
		t.history("reset while it wrote", starter.Started{WorkflowID: started.WorkflowID, RunID: reset.RunId})
		t.settles(heartbeat)
		t.whole("reset")
	})
}

// A cancel reaches a run also while it only looks.
func TestACancelEndsAProof(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadBig()
	t.work()
	started := t.begin("unproved", time.Second)
	t.slow.looks.Store(true) // the chunk has looked already; who looks next proves
	t.slow.be(0)
	testworld.Eventually(tt, patience, func() error {
		if t.slow.held.Load() == 0 {
			return fmt.Errorf("nobody looks yet")
		}
		return nil
	})
	if err := t.Client.CancelWorkflow(t.Context(), started.WorkflowID, started.RunID); err != nil {
		t.Fatal(err)
	}
	if err := t.Client.GetWorkflow(t.Context(), started.WorkflowID, started.RunID).Get(t.Context(), nil); !temporal.IsCanceledError(err) {
		t.Errorf("it ended with %v", err)
	}
	testworld.Eventually(tt, 15*time.Second, func() error {
		if held := t.slow.held.Load(); held > 0 {
			return fmt.Errorf("%d requests still wait", held)
		}
		return nil
	})
	t.slow.looks.Store(false)
	t.again("unproved")
}

// in is the thread within a sub-test.
func (t *thread) in(tt *testing.T) *thread {
	within := *t
	within.T = tt
	return &within
}

// again exports the first hour anew, fast, and looks whether it is whole.
func (t *thread) again(name string) {
	t.Helper()
	t.slow.be(0)
	started, err := t.starter.Start(t.Context(), slowly(name), hour(0))
	if err != nil {
		t.Fatal(err)
	}
	if outcome := t.outcome(started.WorkflowID, started.RunID); outcome.Status != export.StatusPublished {
		t.Errorf("started again it ended with %+v", outcome)
	}
	t.whole(name)
}

func (t *thread) nothingPublished(name string) {
	t.Helper()
	for _, key := range ending(t.objects(), "/manifest.json") {
		if strings.Contains(key, "/"+name+"/") {
			t.Errorf("%s is there", key)
		}
	}
}

// A worker that is told to stop lets a chunk finish that can finish in time.
func TestAStoppingWorkerFinishesItsChunk(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadBig()
	stop := t.work()
	started := t.begin("finished", 2*time.Second)
	stop()
	events := t.Client.GetWorkflowHistory(t.Context(), started.WorkflowID, started.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	chunk := int64(0)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		if scheduled := event.GetActivityTaskScheduledEventAttributes(); scheduled.GetActivityType().GetName() == "WriteChunk" {
			chunk = event.EventId
		}
		if completed := event.GetActivityTaskCompletedEventAttributes(); completed != nil && completed.ScheduledEventId == chunk && chunk > 0 {
			chunk = -1
		}
	}
	if chunk != -1 {
		t.Errorf("the worker has stopped, and its chunk is not in the history")
	}
	t.settles(time.Second)
	t.work()
	t.outcome(started.WorkflowID, started.RunID)
	t.whole("finished")
}

// One that cannot finish is handed back, and another worker takes it up at once.
func TestAStoppingWorkerHandsBackALongChunk(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadBig()
	stop := t.work()
	started := t.begin("handed-back", 20*time.Second)
	began := time.Now()
	stop()
	if took := time.Since(began); took < 55*time.Second || took > 90*time.Second {
		t.Errorf("the worker stopped after %s: a chunk has 60 s to finish, a worker 90 s in all", took)
	}
	if err := t.waitsFor(started, "the worker is stopping: the chunk was handed back"); err != nil {
		t.Error(err)
	}
	t.settles(10 * time.Second)
	t.slow.be(0)
	t.work()
	if outcome := t.outcome(started.WorkflowID, started.RunID); outcome.Status != export.StatusPublished {
		t.Errorf("it ended with %+v", outcome)
	}
	t.whole("handed-back")
}
