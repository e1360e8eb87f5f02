//go:build world

package promises

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/workflows"
)

// What a schedule leaves out is counted by Temporal and told to nobody. Status tells it, with what to do, and workers tell it as a
// metric; paused exports, too.
func TestWhatAScheduleLeavesOutIsTold(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.starter.Namespace = t.Name
	definition := hourly("forgetful", 1)
	// As somebody types it who does not know of overlap policies; nobody works, so its run goes on.
	schedule, err := t.Client.ScheduleClient().Create(t.Context(), client.ScheduleOptions{
		ID: definition.Name, Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}}, TriggerImmediately: true,
		Action: &client.ScheduleWorkflowAction{ID: definition.Name, Workflow: workflows.NameExport, Args: []any{export.Input{Definition: definition}}, TaskQueue: workflows.QueueControl},
	})
	if err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(tt, patience, func() error {
		if info := t.describe(definition.Name).Info; info.NumActions != 1 {
			return fmt.Errorf("%d are started", info.NumActions)
		}
		return nil
	})
	if err := schedule.Backfill(t.Context(), client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{{Start: hour(0).End, End: hour(2).End}}}); err != nil {
		t.Fatal(err)
	}
	const skipped = 3
	testworld.Eventually(tt, patience, func() error {
		status, err := t.starter.Export(t.Context(), definition.Name, 1)
		if err == nil && (status.LeftOut.OverlapSkipped != skipped || !strings.Contains(strings.Join(status.Warnings, "\n"),
			"3 starts were skipped, for a run was still going: `millrace reconcile forgetful --fill` finds and fills what is missing")) {
			err = fmt.Errorf("status says %+v, %q", status.LeftOut, status.Warnings)
		}
		return err
	})

	for name, pause := range map[string]export.Pause{
		"paused":  {Note: "lunch", By: "ada@laptop", Since: time.Now()},
		"failing": {Note: "all failed", By: export.PausedByMillrace, Since: time.Now(), From: time.Now()},
	} {
		other := hourly(name, 1)
		t.apply(other)
		if _, changed, err := t.starter.Pause(t.Context(), name, pause); err != nil || !changed {
			t.Fatalf("pause %s: %t, %v", name, changed, err)
		}
	}
	registry := prometheus.NewRegistry()
	watched := t.worker(nil)
	watched.Registerer = registry
	t.workBy(watched)
	want := map[string]float64{
		"millrace_schedule_starts_left_out export=forgetful reason=overlap_skipped":       skipped,
		"millrace_schedule_starts_left_out export=forgetful reason=buffer_dropped":        0,
		"millrace_schedule_starts_left_out export=forgetful reason=missed_catchup_window": 0,
		"millrace_export_paused by=people export=paused":                                  1,
		"millrace_export_paused by=millrace export=failing":                               1,
	}
	testworld.Eventually(tt, patience, func() error {
		families, err := registry.Gather()
		if err != nil {
			return err
		}
		got := map[string]float64{}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				name := family.GetName()
				for _, label := range metric.GetLabel() {
					name += " " + label.GetName() + "=" + label.GetValue()
				}
				got[name] = metric.GetGauge().GetValue()
			}
		}
		for name, value := range want {
			if found, is := got[name]; !is || found != value {
				return fmt.Errorf("%s is %v (%t), want %v: %v", name, found, is, value, got)
			}
		}
		return nil
	})
}
