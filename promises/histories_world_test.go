//go:build world

package promises

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

// recordTo is the environment variable that names a folder for the histories of the tests that call history. Each release
// records them by `make histories RELEASE=…`.
//
// The tests of workflows replay what was recorded, for ever.
const recordTo = "MILLRACE_RECORD_HISTORIES"

// Every way in which a run can go is replayed by the code that made it.
func TestHistoriesOfAllKindsReplay(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	var blocks []eventstore.Block
	for i := range 5 {
		made, _ := block(hour(0).Start.Add(time.Duration(i)*time.Minute), 1, 1000, `{}`)
		blocks = append(blocks, made)
	}
	eventstoretest.LoadPast(tt, t.events, blocks...)
	t.work()
	several := hourly("several", 1)
	several.ChunkRows = 2000

	published := t.run(several, hour(0))
	t.history("published in several chunks", published)
	again := t.run(several, hour(0))
	t.history("already done", again)
	t.history("empty", t.run(several, hour(1)))

	missing := several
	missing.Connection = "nowhere"
	t.history("failed", t.run(missing, hour(0)))

	t.tamper.do(func(key string) { t.put(key, []byte("not ours"), nil) }, nil, nil)
	foreign := t.run(tampered("foreign", export.ProofReadback), hour(0))
	t.history("failed on a file that is not ours", foreign)
	t.tamper.do(t.zombie(zombieFiles["a row changed"]), nil, nil)
	t.history("closed and next revision", t.run(tampered("closed", export.ProofReadback), hour(0)))
	t.tamper.do(nil, nil, damaged)
	t.history("closed twice and failed", t.run(tampered("rotten", export.ProofReadback), hour(0)))
	t.tamper.do(nil, nil, nil)
	t.history("next revision of another's", t.run(tampered("rotten", export.ProofReadback), hour(0)))
	t.supersede()
	span := export.Interval{Start: hour(0).Start, End: hour(6).End}
	if _, err := t.starter.Verify(t.Context(), several, span); err != nil {
		t.Error(err)
	}
	t.history("verified", starter.Started{WorkflowID: "verify-several-" + span.Key()})
	for _, key := range ending(t.objects(), ".jsonl") {
		if strings.HasPrefix(key, "events/several/"+hour(0).Key()) {
			t.put(key, []byte("not what was written"), nil)
		}
	}
	if report, err := t.starter.Verify(t.Context(), several, span); err != nil || report.Whole() {
		t.Errorf("files that were written over are %+v, %v", report, err)
	}
	t.history("verified and found to differ", starter.Started{WorkflowID: "verify-several-" + span.Key()})
	for connection, kind := range map[string]string{"lake": "checked", "nowhere": "checked and found wanting"} {
		if _, err := t.starter.Check(t.Context(), workflows.CheckTask{Connection: connection}); err != nil {
			t.Error(err)
		}
		t.history(kind, starter.Started{WorkflowID: "check-" + connection})
	}

	t.history("estimated", t.estimate(estimateOf(several, hour(0), false)))
	t.history("estimated in vain", t.estimate(estimateOf(several, export.Interval{Start: hour(0).Start, End: hour(0).End.Add(-time.Minute)}, false)))

	// The watermark stands at the beginning of the test, so the minute that has just begun is waited for.
	minutely := hourly("minutely", 1)
	minutely.Every = export.Duration(time.Minute)
	grid, err := minutely.Grid()
	if err != nil {
		t.Fatal(err)
	}
	due := grid.Containing(time.Now())
	testworld.Eventually(tt, patience, func() error {
		if !time.Now().After(due.End) {
			return fmt.Errorf("%s has not ended", due)
		}
		return nil
	})
	waiting, err := t.starter.Start(t.Context(), minutely, due)
	if err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(tt, patience, func() error { return t.waitsFor(waiting, "needs") })
	if err := t.Client.CancelWorkflow(t.Context(), waiting.WorkflowID, waiting.RunID); err != nil {
		t.Fatal(err)
	}
	t.ends(waiting)
	t.history("cancelled while it waited", waiting)
}

// supersede records a run whose revision is closed by one of another definition while it writes.
func (t *thread) supersede() {
	t.Helper()
	definition := tampered("superseded", export.ProofStream)
	newer := definition
	newer.Connection, newer.Settings = "lake", hourly("any", 1).Settings
	var by starter.Started
	var once sync.Once
	t.tamper.do(nil, func(string) {
		once.Do(func() {
			by = t.startBy("newer", newer)
			t.ends(by)
		})
	}, nil)
	superseded := t.run(definition, hour(0))
	t.history("superseded", superseded)
	t.history("next revision after closing another definition's", by)
	if outcome := t.outcome(superseded.WorkflowID, superseded.RunID); outcome.Status != export.StatusSuperseded {
		t.Errorf("it ended with %+v", outcome)
	}
}

// run starts a run and waits until it has ended, however.
func (t *thread) run(definition export.Definition, interval export.Interval) starter.Started {
	t.Helper()
	started, err := t.starter.Start(t.Context(), definition, interval)
	if err != nil {
		t.Fatal(err)
	}
	t.ends(started)
	return started
}

func (t *thread) ends(started starter.Started) {
	t.Helper()
	_ = t.Client.GetWorkflow(t.Context(), started.WorkflowID, started.RunID).Get(t.Context(), nil) // each kind ends its own way
}

// history replays the history of a run that has ended, and records it when it is told to.
func (t *thread) history(kind string, started starter.Started) {
	t.Helper()
	history := &historypb.History{}
	events := t.Client.GetWorkflowHistory(t.Context(), started.WorkflowID, started.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		history.Events = append(history.Events, event)
	}
	replayer := sdk.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(workflows.Export, workflow.RegisterOptions{Name: workflows.NameExport})
	replayer.RegisterWorkflowWithOptions(workflows.Backfill, workflow.RegisterOptions{Name: workflows.NameBackfill})
	replayer.RegisterWorkflowWithOptions(workflows.Verify, workflow.RegisterOptions{Name: workflows.NameVerify})
	replayer.RegisterWorkflowWithOptions(workflows.Check, workflow.RegisterOptions{Name: workflows.NameCheck})
	replayer.RegisterWorkflowWithOptions(workflows.Estimate, workflow.RegisterOptions{Name: workflows.NameEstimate})
	replayer.RegisterWorkflowWithOptions(workflows.Reconcile, workflow.RegisterOptions{Name: workflows.NameReconcile})
	if err := replayer.ReplayWorkflowHistory(nil, history); err != nil {
		t.Errorf("%s: %v", kind, err)
	}
	folder := os.Getenv(recordTo)
	if folder == "" {
		return
	}
	text, err := temporalproto.CustomJSONMarshalOptions{Indent: " "}.Marshal(history)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", folder, strings.NewReplacer(" ", "-", "'", "").Replace(kind)+".json")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
