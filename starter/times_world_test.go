//go:build world

package starter

import (
	"fmt"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld/testtemporal"
)

// zones have every kind of turned clock there is: at midnight east and west of Greenwich, by half an hour, on other
// weekdays, around Ramadan, and none.
var zones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Santiago", "America/Asuncion", "America/Sao_Paulo",
	"Asia/Beirut", "Asia/Gaza", "Africa/Cairo", "Africa/Casablanca", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia",
}

// Whatever a zone's clock does, the schedule starts a run for every interval of the export's grid, soon after it ended:
// at its very end, or an hour later where a local time comes twice and Temporal takes the second.
func TestAScheduleStartsARunForEveryIntervalOfItsGrid(t *testing.T) {
	namespace := testtemporal.New(t)
	made := 0
	rapid.Check(t, func(r *rapid.T) {
		length := rapid.SampledFrom([]string{"5m", "1h", "6h", "1d", "1d", "1d", "1w"}).Draw(r, "every")
		every, err := export.ParseDuration(length)
		if err != nil {
			t.Fatal(err)
		}
		definition := export.Definition{Name: "turns", Team: export.Team{ID: 1}, Connection: "lake", Every: every, Destination: "s3"}
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, rapid.IntRange(0, 400).Draw(r, "day"))
		span := min(time.Duration(every)*900, 80*24*time.Hour)
		if time.Duration(every) >= 24*time.Hour {
			definition.TimeZone = rapid.SampledFrom(zones).Draw(r, "zone")
			// Most turns are at night.
			definition.Offset = export.Duration(time.Duration(rapid.SampledFrom([]int{0, 0, 30 * 60, 3600, 7200, 9000, 26 * 3600}).Draw(r, "offset"))*time.Second) % every
		} else {
			definition.Offset = export.Duration(time.Duration(rapid.IntRange(0, int(time.Duration(every)/time.Second)-1).Draw(r, "offset")) * time.Second)
		}
		grid, err := definition.Grid()
		if err != nil {
			t.Fatal(err)
		}
		made++
		fires := matchingTimes(t, namespace, fmt.Sprintf("turns-%d", made), definition, from, from.Add(span))
		started := map[time.Time]time.Duration{}
		for _, at := range fires {
			interval := grid.LastEnded(at)
			if late, again := started[interval.End]; !again || at.Sub(interval.End) < late {
				started[interval.End] = at.Sub(interval.End)
			}
		}
		for end := grid.Containing(from).End; !end.After(from.Add(span - time.Hour)); end = grid.Containing(end).End {
			late, was := started[end]
			switch {
			case !was:
				r.Fatalf("%s: nothing starts the run of the interval that ends at %s", grid, end.In(grid.Location()))
			case late > time.Hour:
				r.Fatalf("%s: the interval that ends at %s is started %s later", grid, end.In(grid.Location()), late)
			}
		}
		if usual := int(span / time.Duration(every)); len(fires) > usual+10 {
			r.Fatalf("%s: %d starts for %d intervals", grid, len(fires), usual)
		}
	})
}

func matchingTimes(t *testing.T, namespace testtemporal.Namespace, id string, definition export.Definition, from, to time.Time) []time.Time {
	t.Helper()
	wanted, err := schedule(definition)
	if err != nil {
		t.Fatal(err)
	}
	handle, err := namespace.Client.ScheduleClient().Create(t.Context(), client.ScheduleOptions{ID: id, Spec: *wanted.Spec, Action: wanted.Action, Paused: true})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := namespace.Client.WorkflowService().ListScheduleMatchingTimes(t.Context(), &workflowservice.ListScheduleMatchingTimesRequest{
		Namespace: namespace.Name, ScheduleId: id, StartTime: timestamppb.New(from), EndTime: timestamppb.New(to),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := handle.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	var times []time.Time
	for _, at := range answer.StartTime {
		times = append(times, at.AsTime())
	}
	return times
}
