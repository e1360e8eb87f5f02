package postgres

import (
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

func TestAnOrderOfFilesIsRefused(t *testing.T) {
	_, err := destinations.Normalize(export.Definition{
		Name: "shop-events", Team: export.Team{ID: 1}, Connection: "warehouse", Every: export.Duration(time.Hour), Order: export.OrderStrict,
		Destination: "postgres", Settings: []byte(`{"table": "events"}`),
	})
	const want = `export "shop-events": order: "strict" is for files that readers take as they appear, and postgres publishes a run at once: leave it out`
	if err == nil || err.Error() != want || export.KindOf(err) != export.KindConfig {
		t.Errorf("got %v (%s)", err, export.KindOf(err))
	}
}
