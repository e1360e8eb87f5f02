//go:build world

package starter

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// A run that no worker has taken up has told nothing about itself yet, and it is then that people look.
func TestARunThatWaitsForAWorkerIsCounted(t *testing.T) {
	starts := newStarter(t)
	definition := export.Definition{
		Name: "waits", Team: export.Team{ID: 1}, Connection: "lake", Every: export.Duration(time.Hour),
		Destination: "s3", Settings: json.RawMessage(`{}`),
	}.WithDefaults()
	if _, err := starts.Apply(t.Context(), Change{Export: definition.Name, Action: ActionCreate, Definition: &definition}); err != nil {
		t.Fatal(err)
	}
	if err := starts.Temporal.ScheduleClient().GetHandle(t.Context(), definition.Name).Trigger(t.Context(), client.ScheduleTriggerOptions{}); err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(t, 20*time.Second, func() error {
		status, err := starts.Export(t.Context(), definition.Name, 5)
		if err != nil {
			return err
		}
		if status.Running != 1 || len(status.Last) != 1 || status.Last[0].End.IsZero() {
			return fmt.Errorf("%d running, latest %+v", status.Running, status.Last)
		}
		return nil
	})
	// A backfill's runs are later ones, but of earlier intervals.
	old := time.Date(2026, 3, 1, 1, 0, 0, 0, time.UTC)
	if err := starts.Temporal.ScheduleClient().GetHandle(t.Context(), definition.Name).Backfill(t.Context(), client.ScheduleBackfillOptions{
		Backfill: []client.ScheduleBackfill{{Start: old, End: old, Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL}},
	}); err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(t, 20*time.Second, func() error {
		status, err := starts.Export(t.Context(), definition.Name, 1)
		if err != nil {
			return err
		}
		if status.Running != 2 || len(status.Last) != 1 || !status.Last[0].End.Equal(old) {
			return fmt.Errorf("%d running, latest %+v", status.Running, status.Last)
		}
		if status.Latest == nil || time.Since(status.Latest.End) > time.Hour {
			t.Fatalf("the run of the latest interval is %+v", status.Latest)
		}
		return nil
	})
}
