package workflows_test

import (
	"path/filepath"
	"testing"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/workflows"
)

// Runs that an earlier release began are finished by this one: the histories that each release recorded are replayed.
// One that fails here means that a running workflow would break; it needs workflow.GetVersion, and never a new recording.
func TestRecordedHistoriesReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/histories/*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no recorded histories (%v)", err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			replayer := worker.NewWorkflowReplayer()
			replayer.RegisterWorkflowWithOptions(workflows.Export, workflow.RegisterOptions{Name: workflows.NameExport})
			replayer.RegisterWorkflowWithOptions(workflows.Backfill, workflow.RegisterOptions{Name: workflows.NameBackfill})
			replayer.RegisterWorkflowWithOptions(workflows.Verify, workflow.RegisterOptions{Name: workflows.NameVerify})
			replayer.RegisterWorkflowWithOptions(workflows.Check, workflow.RegisterOptions{Name: workflows.NameCheck})
			replayer.RegisterWorkflowWithOptions(workflows.Estimate, workflow.RegisterOptions{Name: workflows.NameEstimate})
			replayer.RegisterWorkflowWithOptions(workflows.Reconcile, workflow.RegisterOptions{Name: workflows.NameReconcile})
			if err := replayer.ReplayWorkflowHistoryFromJSONFile(nil, file); err != nil {
				t.Error(err)
			}
		})
	}
}
