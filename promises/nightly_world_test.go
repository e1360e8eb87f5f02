//go:build world

package promises

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

// nightly applies what is wanted of the reconciliations of an export by night, and gives what was done.
func (t *thread) nightly(definition export.Definition, wanted *export.Nightly) []starter.Change {
	t.Helper()
	changes, err := t.starter.DiffNightly(t.Context(), []export.Definition{definition}, wanted)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		if err := t.starter.ApplyNightly(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	return changes
}

// A schedule of its own reconciles an export each night: it fills what is missing, and what it found is seen by who looks at the
// export, and in the worker's metrics.
func TestAnExportIsReconciledByNight(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	config := t.worker(nil)
	registry := prometheus.NewRegistry()
	config.Registerer = registry
	t.workBy(config)
	definition := hourly("nightly", 1)
	t.apply(definition)
	grid, err := definition.Grid()
	if err != nil {
		t.Fatal(err)
	}
	last := grid.LastEnded(time.Now().Add(-5 * time.Minute)) // an hour that ends just now may be run by the schedule
	first := grid.LastEnded(grid.LastEnded(last.Start).Start)
	t.run(definition, first)

	id := starter.NightlyID(definition.Name)
	wanted := &export.Nightly{At: "03:30", TimeZone: "Europe/Berlin", Fill: true, Leftovers: true}
	if changes := t.nightly(definition, wanted); len(changes) != 1 || changes[0].Action != starter.ActionCreate || changes[0].Export != id {
		t.Errorf("at first it is %+v", changes)
	}
	if changes := t.nightly(definition, wanted); len(changes) != 0 {
		t.Errorf("again it is %+v", changes)
	}
	described, err := t.Client.ScheduleClient().GetHandle(t.Context(), id).Describe(t.Context())
	if err != nil || len(described.Info.NextActionTimes) == 0 {
		t.Fatalf("%+v, %v", described, err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	if next := described.Info.NextActionTimes[0].In(berlin); next.Format("15:04:05") != "03:30:00" {
		t.Errorf("it is due at %s", next)
	}

	handle := t.Client.ScheduleClient().GetHandle(t.Context(), id)
	report := t.triggered(handle)
	if report.States[export.StateMissing] == 0 || report.Filling == nil || report.Filling.WorkflowID != starter.BackfillID(definition.Name) || report.Leftovers == nil {
		t.Errorf("it ends with %+v", report)
	}
	testworld.Eventually(tt, patience, func() error {
		if told := strings.Join(t.warnings(definition.Name), "; "); !strings.Contains(told, fmt.Sprintf("has found missing %d", report.States[export.StateMissing])) {
			return fmt.Errorf("the export's status warns of %q", told)
		}
		return nil
	})
	t.counted(registry, definition.Name, "missing", report.States[export.StateMissing])
	if _, err := t.starter.FollowBackfill(t.Context(), definition.Name, nil); err != nil {
		t.Fatal(err)
	}
	report = t.triggered(handle)
	if !report.Whole() || report.Filling != nil {
		t.Errorf("filled, it ends with %+v", report)
	}
	testworld.Eventually(tt, patience, func() error {
		if told := t.warnings(definition.Name); len(told) > 0 {
			return fmt.Errorf("the export's status warns of %q", told)
		}
		return nil
	})

	// What is exported changes, and what is wanted, and the schedule with it.
	definition.Title = "by night"
	wanted.Revise = true
	changes := t.nightly(definition, wanted)
	if len(changes) != 1 || changes[0].Action != starter.ActionUpdate || len(changes[0].Fields) != 2 {
		t.Errorf("changed, it is %+v", changes)
	}
	if changes := t.nightly(definition, wanted); len(changes) != 0 {
		t.Errorf("changed, again it is %+v", changes)
	}
	if changes := t.nightly(definition, nil); len(changes) != 1 || changes[0].Action != starter.ActionDelete {
		t.Errorf("unwanted, it is %+v", changes)
	}
	if changes := t.nightly(definition, nil); len(changes) != 0 {
		t.Errorf("unwanted, again it is %+v", changes)
	}
	t.nightly(definition, wanted)
	if _, err := t.starter.Delete(t.Context(), definition.Name, "test"); err != nil {
		t.Fatal(err)
	}
	var gone *serviceerror.NotFound
	testworld.Eventually(tt, patience, func() error {
		if _, err := handle.Describe(t.Context()); !errors.As(err, &gone) {
			return errors.Join(err, errors.New("the schedule of a deleted export is there"))
		}
		return nil
	})
}

// triggered has a schedule reconcile now, and gives what comes of it.
func (t *thread) triggered(handle client.ScheduleHandle) export.ReconcileReport {
	t.Helper()
	before := t.reconciliations()
	if err := handle.Trigger(t.Context(), client.ScheduleTriggerOptions{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL}); err != nil {
		t.Fatal(err)
	}
	var found starter.Started
	testworld.Eventually(t.T, patience, func() error {
		for id := range t.reconciliations() {
			if !before[id] {
				found = id
				return nil
			}
		}
		return fmt.Errorf("no reconciliation has been started")
	})
	var report export.ReconcileReport
	if err := t.Client.GetWorkflow(t.Context(), found.WorkflowID, found.RunID).Get(t.Context(), &report); err != nil {
		t.Fatal(err)
	}
	t.history("reconciled by night", found)
	return report
}

// counted waits until the metrics of the workers, which say what the page says of them, count so much.
func (t *thread) counted(registry *prometheus.Registry, name, finding string, want int) {
	t.Helper()
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "millrace_reconcile_findings_total" {
			continue
		}
		if line := fmt.Sprintf("| `%s{export,finding}` | counter | %s |", family.GetName(), family.GetHelp()); !strings.Contains(string(page), line) {
			t.Errorf("docs/metrics.md lacks the line\n%s", line)
		}
		for _, metric := range family.GetMetric() {
			if metric.GetLabel()[0].GetValue() == name && metric.GetLabel()[1].GetValue() == finding && int(metric.GetCounter().GetValue()) == want {
				return
			}
		}
	}
	t.Errorf("the metrics do not count %d %s of %s", want, finding, name)
}

// reconciliations are those that show.
func (t *thread) reconciliations() map[starter.Started]bool {
	t.Helper()
	answer, err := t.Client.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: `WorkflowType = "` + workflows.NameReconcile + `"`})
	if err != nil {
		t.Fatal(err)
	}
	found := map[starter.Started]bool{}
	for _, one := range answer.Executions {
		found[starter.Started{WorkflowID: one.Execution.WorkflowId, RunID: one.Execution.RunId}] = true
	}
	return found
}
