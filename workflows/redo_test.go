package workflows_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// A backfill that exports again what was published before it began hands that instant on to the execution that continues it:
// otherwise that one would take what the first has published for what is to be done again.
func TestABackfillCarriesItsRedo(t *testing.T) {
	began := time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC)
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartTime(began)
	env.SetCurrentHistoryLength(1000) // long enough to be continued
	env.ExecuteWorkflow(workflows.Backfill, json.RawMessage(`{"definition": {"name":"shop-events","team":1,"connection":"lake","every":"1h","s3":{"prefix":"events"}},
		"start":"2026-03-01T00:00:00Z","end":"2026-03-02T00:00:00Z","redo":true,"redo_reason":"why not"}`))
	var again *workflow.ContinueAsNewError
	if err := env.GetWorkflowError(); !errors.As(err, &again) {
		t.Fatalf("it ended with %v", err)
	}
	var carried json.RawMessage
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &carried); err != nil {
		t.Fatal(err)
	}
	next, err := export.ParseBackfill(carried)
	if err != nil {
		t.Fatal(err)
	}
	redo := next.RedoFrom(began.Add(time.Hour))
	if redo == nil || !redo.Before.Equal(began) || redo.Reason != "why not" || next.Carried == nil || next.Carried.Intervals != 24 {
		t.Errorf("the next execution gets %s, and asks for %+v", carried, redo)
	}
}
