package starter

import (
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/millrace/millrace/export"
)

func TestNewTimesBeginWhereTheOldOnesEnded(t *testing.T) {
	now := time.Now()
	week := export.Duration(7 * 24 * time.Hour)
	old := export.Definition{Name: "shop-events", Team: export.Team{ID: 1}, Model: export.Model{Name: export.ModelEvents}, Connection: "lake", Every: week, Destination: "s3", Settings: []byte(`{}`)}
	wanted := old
	wanted.Every = export.Duration(time.Hour)
	grid, err := old.Grid()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what    string
		created time.Time
		from    time.Time
	}{
		{"since the end of the last week, for its hours would have come with the next", now.AddDate(-1, 0, 0), grid.LastEnded(now).End},
		{"since it was made, if that is later", now.Add(-time.Second), now.Add(-time.Second)},
	} {
		have, err := schedule(old)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := converter.GetDefaultDataConverter().ToPayload(export.Input{Definition: old})
		if err != nil {
			t.Fatal(err)
		}
		have.Action.(*client.ScheduleWorkflowAction).Args = []any{payload}
		before := client.ScheduleDescription{Schedule: have, Info: client.ScheduleInfo{
			// Never updated: this is what the SDK makes of it.
			CreatedAt: c.created, LastUpdateAt: time.Unix(0, 0),
		}}
		from, err := (&Starter{}).notYetDue(before, wanted)
		if err != nil || !from.Equal(c.from) {
			t.Errorf("%s: filled from %s (%v), wanted %s", c.what, from, err, c.from)
		}
	}
}

func TestRunsWhoseFilesAppearInOrderStartOneAfterTheOther(t *testing.T) {
	definition := export.Definition{Name: "shop-events", Team: export.Team{ID: 1}, Connection: "lake", Every: export.Duration(time.Hour), Destination: "s3", Settings: []byte(`{}`)}.WithDefaults()
	for order, want := range map[string]enumspb.ScheduleOverlapPolicy{
		"": enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL, export.OrderStrict: enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL,
	} {
		definition.Order = order
		made, err := schedule(definition)
		if err != nil || made.Policy.Overlap != want {
			t.Errorf("order %q: overlap %v, %v", order, made.Policy.Overlap, err)
		}
	}
}
