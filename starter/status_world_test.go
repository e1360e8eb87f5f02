//go:build world

package starter

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

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
}
