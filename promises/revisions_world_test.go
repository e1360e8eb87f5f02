//go:build world

package promises

import (
	"encoding/json"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

// startBy starts a run of the first hour under an id of its own, beside whatever runs.
func (t *thread) startBy(id string, definition export.Definition) starter.Started {
	t.Helper()
	interval := hour(0)
	run, err := t.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.QueueControl},
		workflows.NameExport, export.Input{Definition: definition, Start: &interval.Start, End: &interval.End})
	if err != nil {
		t.Fatal(err)
	}
	return starter.Started{WorkflowID: run.GetID(), RunID: run.GetRunID()}
}

// A definition that has changed closes what a run of the old one has begun, and the old run has no part in what comes
// after: readers see one revision, of the new definition.
func TestARunOfANewDefinitionSupersedesOneOfTheOld(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadBig()
	t.work()
	old := t.begin("changed", 4*time.Second) // held in the middle of its chunk
	definition := slowly("changed")
	definition.Connection = "lake"
	definition.Settings = json.RawMessage(`{"prefix": "events", "format": "parquet", "compression": "zstd"}`)
	started := t.startBy("new", definition)
	outcome := t.outcome(started.WorkflowID, started.RunID)
	if outcome.Status != export.StatusPublished || outcome.Run.Revision != 2 || outcome.Rows != bigRows {
		t.Errorf("the new run ended with %+v", outcome)
	}
	if closed := t.closed("changed", 1); closed.By.RunID != started.RunID {
		t.Errorf("revision 1 is closed by %+v", closed)
	}
	t.slow.be(0)
	if outcome := t.outcome(old.WorkflowID, old.RunID); outcome.Status != export.StatusSuperseded || outcome.By.RunID != started.RunID {
		t.Errorf("the old run ended with %+v", outcome)
	}
	again := t.startBy("again", definition)
	if outcome := t.outcome(again.WorkflowID, again.RunID); outcome.Status != export.StatusAlreadyDone || outcome.Run.Revision != 2 {
		t.Errorf("the new run, again, ended with %+v", outcome)
	}
}

// Who finds that the revision that he works was closed by another of his own definition works the next beside him.
func TestTwoRunsOfARevisionThatIsClosedWorkTheNextTogether(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	t.tamper.do(t.zombie(zombieFiles["a row changed"]), nil, nil)
	definition := tampered("together", export.ProofReadback)
	one, other := t.startBy("one", definition), t.startBy("other", definition)
	counts := map[export.Status]int{}
	for _, started := range []starter.Started{one, other} {
		outcome := t.outcome(started.WorkflowID, started.RunID)
		counts[outcome.Status]++
		if outcome.Run.Revision != 2 {
			t.Errorf("%s ended with %+v", started.WorkflowID, outcome)
		}
	}
	if counts[export.StatusPublished] != 1 || counts[export.StatusAlreadyDone] != 1 {
		t.Errorf("the outcomes are %v", counts)
	}
	t.closed("together", 1)
	if manifest := t.manifest(t.markKey("together", 2)); *manifest.Proof.Stored != t.sourceContent() {
		t.Errorf("revision 2 has %s", manifest.Proof.Stored)
	}
	for _, key := range ending(t.objects(), "/plan.json") {
		if key == t.markKey("together", 3) {
			t.Errorf("there is a third revision")
		}
	}
}
