//go:build world

package promises

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/namespace"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/internal/testworld/testtemporal"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

// While Temporal is down nothing is started. When it is back, what was due within the catch-up window is exported late, without a
// hand. What was due before is a hole: status tells that there is one, and reconciliation which, and fills it. The window that
// Millrace gives is a year; here it is the least that there is, so that a short outage is one of days.
func TestWhatIsDueWhileTemporalIsDown(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	own := testtemporal.NewServer(tt)
	own.Start()
	t.Namespace = testtemporal.Namespace{Name: client.DefaultNamespace, Address: own.Address, Client: own.Dial()}
	t.starter = &starter.Starter{Temporal: t.Client, Namespace: t.Name}
	testworld.Eventually(tt, patience, func() error {
		_, err := namespace.Create(t.Context(), t.Client, t.Name, workflows.SearchAttributes())
		return err
	})
	minutely := func(name string) export.Definition {
		definition := hourly(name, 1)
		definition.Every = export.Duration(time.Minute)
		return definition
	}
	patient, hasty := minutely("patient"), minutely("hasty")
	t.apply(patient)
	const least = 10 * time.Second
	if _, err := t.Client.ScheduleClient().Create(t.Context(), client.ScheduleOptions{
		ID: hasty.Name, Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Minute}}}, Overlap: allowAll, CatchupWindow: least,
		Action: &client.ScheduleWorkflowAction{ID: hasty.Name, Workflow: workflows.NameExport, Args: []any{export.Input{Definition: hasty}}, TaskQueue: workflows.QueueControl},
	}); err != nil {
		t.Fatal(err)
	}
	grid, err := patient.Grid()
	if err != nil {
		t.Fatal(err)
	}
	// A schedule that has not been taken up yet has nothing due.
	for _, name := range []string{patient.Name, hasty.Name} {
		testworld.Eventually(tt, patience, func() error {
			if next := t.describe(name).Info.NextActionTimes; len(next) == 0 {
				return fmt.Errorf("%s does not say when it starts next", name)
			}
			return nil
		})
	}
	// Down over the end of an interval, and back when the window has passed.
	due := grid.Containing(time.Now().Add(5 * time.Second))
	own.Kill()
	<-time.After(time.Until(due.End.Add(least + 5*time.Second))) // the outage is what is tested
	own.Start()
	t.promise(time.Now())
	testworld.Eventually(tt, patience, func() error {
		_, err := t.Client.ScheduleClient().GetHandle(t.Context(), hasty.Name).Describe(t.Context())
		return err
	})
	t.work()
	published := func(name string) error {
		for _, key := range ending(t.objects(), "/manifest.json") {
			if strings.Contains(key, "/"+name+"/"+due.Key()+"/") {
				return nil
			}
		}
		return fmt.Errorf("%s has no manifest of %s", due, name)
	}
	testworld.Eventually(tt, patience, func() error { return published(patient.Name) })
	testworld.Eventually(tt, patience, func() error {
		status, err := t.starter.Export(t.Context(), hasty.Name, 1)
		if err == nil && (status.LeftOut.MissedCatchupWindow == 0 || !strings.Contains(strings.Join(status.Warnings, "\n"),
			" starts were lost, for Temporal was down longer than the catch-up window: `millrace reconcile hasty --fill` finds and fills what is missing")) {
			err = fmt.Errorf("status says %+v, %q", status.LeftOut, status.Warnings)
		}
		return err
	})
	if status, err := t.starter.Export(t.Context(), patient.Name, 1); err != nil || status.LeftOut != (starter.LeftOut{}) {
		t.Errorf("of the one with a year status says %+v, %v", status.LeftOut, err)
	}
	if err := published(hasty.Name); err == nil {
		t.Fatal("what is counted as lost was exported")
	}
	// For a minute an interval has ended just now, and is not missed yet.
	testworld.Eventually(tt, patience, func() error {
		if !time.Now().After(due.End.Add(time.Minute)) {
			return fmt.Errorf("%s has ended just now", due)
		}
		return nil
	})
	report, err := t.starter.Reconcile(t.Context(), export.ReconcileTask{Definition: hasty, Start: &due.Start, End: &due.End})
	if err != nil || report.States[export.StateMissing] != 1 || report.Holes == nil || *report.Holes != due {
		t.Fatalf("reconciliation found %+v, holes %v, %v", report, report.Holes, err)
	}
	if progress, err := t.backfill(export.Backfill{Definition: hasty, Start: &report.Holes.Start, End: &report.Holes.End}); err != nil || progress.Published != 1 {
		t.Errorf("filling ended with %+v, %v", progress, err)
	}
	if err := published(hasty.Name); err != nil {
		t.Error(err)
	}
}
