//go:build world

package promises

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

// revises has what is not what it was exported again, and holds what readers find then against ClickHouse.
func (t *thread) revises(definition export.Definition, n int, changed []int) {
	t.Helper()
	start, end := hour(0).Start, hour(n-1).End
	task := export.ReconcileTask{Definition: definition, Start: &start, End: &end, All: true, Revise: true, Fill: true}
	report, err := t.starter.Reconcile(t.Context(), task)
	if err != nil || report.ChangedRuns != 5 || report.Healed != 5 || len(report.Revisions) != 5 || !report.Whole() || report.Filling != nil {
		t.Fatalf("revised is %+v, %v", report, err)
	}
	if first := report.Revisions[0]; first.Run.Start != hour(0).Start || first.Revision != 1 {
		t.Errorf("a manifest that was gone is healed as %+v", first)
	}
	for i, h := range changed {
		healed := report.Revisions[i+1]
		if healed.Run.Interval != hour(h) || healed.Run.Revision != 1 || healed.Revision != 2 || healed.Error != "" {
			t.Errorf("%s is healed as %+v", hour(h), healed)
		}
		rows, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: definition.Name, Interval: hour(h)})
		if err != nil || len(rows) != 2 || rows[0].Run.Revision != 2 || rows[0].Reason != healed.Reason || !strings.Contains(healed.Reason, ": ") {
			t.Errorf("of %s the ledger has %+v, %v", hour(h), rows, err)
		}
		manifest := t.manifest(strings.Replace(t.markKey(definition.Name, 2), hour(0).Key(), hour(h).Key(), 1))
		if manifest.Replaces == nil || manifest.Replaces.Reason != healed.Reason {
			t.Errorf("the manifest of %s says %+v", hour(h), manifest.Replaces)
		}
		want := strings.Fields(string(t.query(fmt.Sprintf("SELECT uuid FROM events WHERE team_id = 1 AND inserted_at >= toDateTime64(%d, 6) AND inserted_at < toDateTime64(%d, 6) ORDER BY toString(uuid) FORMAT TSV",
			hour(h).Start.Unix(), hour(h).End.Unix()))))
		var got []string
		for _, receipt := range manifest.Receipts {
			for line := range strings.Lines(string(t.read("events/" + receipt.Location))) {
				var row struct{ UUID string }
				if err := json.Unmarshal([]byte(line), &row); err != nil {
					t.Fatal(err)
				}
				got = append(got, row.UUID)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("the files of %s have %d rows, ClickHouse %d", hour(h), len(got), len(want))
		}
	}
	if report = t.reconcile(definition, n); len(report.Findings) != 0 || report.ChangedRuns != 0 {
		t.Errorf("healed, it is %+v", report.Findings)
	}
	verified, err := t.starter.Verify(t.Context(), definition, export.Interval{Start: hour(changed[0]).Start, End: hour(changed[len(changed)-1]).End})
	if err != nil || !verified.Whole() {
		t.Errorf("verified is %+v, %v", verified, err)
	}
	// A revision that readers do not find is missed, though the one before it is there.
	mark := strings.Replace(t.markKey(definition.Name, 2), hour(0).Key(), hour(changed[0]).Key(), 1)
	if _, err := t.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &t.bucket, Key: &mark}); err != nil {
		t.Fatal(err)
	}
	task.Sample, task.All = nil, true
	if report, err = t.starter.Reconcile(t.Context(), task); err != nil || report.Changed[export.ChangeRemoved] != 1 || report.Healed != 1 || report.Revisions[0].Revision != 2 {
		t.Errorf("without the manifest of a revision it is %+v, %v", report, err)
	}
	answer, err := t.Client.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: `WorkflowType = "` + workflows.NameReconcile + `"`})
	if err != nil || len(answer.GetExecutions()) < 1 {
		t.Fatalf("%v", err)
	}
	t.history("reconciled and revised", starter.Started{WorkflowID: answer.Executions[0].Execution.WorkflowId, RunID: answer.Executions[0].Execution.RunId})
}

// healsTable has a row removed from a table by hand, and exported again with its run.
func (t *thread) healsTable(w warehouse, definition export.Definition, rows uint64) {
	t.Helper()
	w.do(t, "DELETE FROM SCHEMA.events WHERE uuid = (SELECT uuid FROM SCHEMA.events ORDER BY uuid LIMIT 1)")
	start, end := hour(0).Start, hour(0).End
	report, err := t.starter.Reconcile(t.Context(), export.ReconcileTask{Definition: definition, Start: &start, End: &end, All: true, Revise: true})
	if err != nil || report.Changed[export.ChangeAltered] != 1 || report.Healed != 1 || !report.Whole() || report.Revisions[0].Revision != 3 {
		t.Errorf("reconciled is %+v, %v", report, err)
	}
	if got := w.list(t, "SELECT count(*) || ' rows, ' || count(DISTINCT millrace_run) || ' of ' || min(right(millrace_run, 11)) FROM %s.events"); got[0] != fmt.Sprintf("%d rows, 1 of r0003-00000", rows) {
		t.Errorf("healed, there are %s", got)
	}
}
