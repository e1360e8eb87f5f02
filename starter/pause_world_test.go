//go:build world

package starter

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
)

// A schedule forgets a request when another comes before it has taken up the first. A pause must not be what it forgets.
func TestAPauseIsTakenUpAmongOtherRequests(t *testing.T) {
	starts := newStarter(t)
	definition := export.Definition{
		Name: "busy", Team: export.Team{ID: 1}, Connection: "lake", Every: export.Duration(time.Hour),
		Destination: "s3", Settings: json.RawMessage(`{}`),
	}.WithDefaults()
	if _, err := starts.Apply(t.Context(), Change{Export: definition.Name, Action: ActionCreate, Definition: &definition}); err != nil {
		t.Fatal(err)
	}
	handle := starts.Temporal.ScheduleClient().GetHandle(t.Context(), definition.Name)
	// Backfills of a moment that is on nobody's grid start nothing, and are requests all the same.
	storm, end := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			beside := time.Date(2026, 3, 1, 1, 30, 0, 0, time.UTC)
			for storm.Err() == nil {
				_ = handle.Backfill(storm, client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{{Start: beside, End: beside}}})
			}
		})
	}
	defer all.Wait()
	defer end()
	for i := range 5 {
		note := fmt.Sprintf("for the %d. time", i)
		if _, changed, err := starts.Pause(t.Context(), definition.Name, export.Pause{Note: note, By: "a test", Since: time.Now()}); err != nil || !changed {
			t.Fatalf("pause: %t, %v", changed, err)
		}
		if status, err := starts.Export(t.Context(), definition.Name, 1); err != nil || !status.Paused || status.Note != note || status.PausedBy != "a test" {
			t.Fatalf("after pause: %+v, %v", status, err)
		}
		if resumed, changed, err := starts.Resume(t.Context(), definition.Name, "a test"); err != nil || !changed || resumed.Pause.Note != note {
			t.Fatalf("resume: %+v, %t, %v", resumed, changed, err)
		}
		if status, err := starts.Export(t.Context(), definition.Name, 1); err != nil || status.Paused {
			t.Fatalf("after resume: %+v, %v", status, err)
		}
	}
}
