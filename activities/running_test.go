package activities

import (
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"

	"github.com/millrace/millrace/export"
)

// The interval of a run is found by its id, whoever gave it, before anybody has taken it up, and whatever its length is.
func TestTheIntervalOfARunThatIsUnderWay(t *testing.T) {
	grid, err := export.NewGrid(export.Duration(time.Hour), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	at := func(hour int) time.Time { return time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC) }
	hours := func(from, to int) export.Interval { return export.Interval{Start: at(from), End: at(to)} }
	later := at(9).Add(20 * time.Minute)
	id := func(interval export.Interval, revision int) string {
		return export.Run{Export: "shop-events", Interval: interval, Revision: revision}.WorkflowID(grid)
	}
	query := RunningQuery{End: "End", Scheduled: "Scheduled"}
	for name, test := range map[string]struct {
		id             string
		end, scheduled *time.Time
		want           *export.Interval
	}{
		"of the grid's length":      {id: id(hours(3, 4), 1), want: new(hours(3, 4))},
		"a later revision":          {id: id(hours(3, 4), 2), want: new(hours(3, 4))},
		"of another length":         {id: id(hours(0, 24), 1), want: new(hours(0, 24))},
		"a later one of another":    {id: id(hours(0, 24), 3), want: new(hours(0, 24))},
		"by a trigger":              {id: "shop-events-" + later.Format(time.RFC3339), scheduled: &later, want: new(hours(8, 9))},
		"by a trigger, not begun":   {id: "shop-events-" + later.Format(time.RFC3339), want: new(hours(8, 9))},
		"by hand":                   {id: "mine", end: new(at(5)), want: new(hours(4, 5))},
		"by hand, not begun":        {id: "mine"},
		"of an export named longer": {id: "shop-events-2-mine"},
	} {
		t.Run(name, func(t *testing.T) {
			fields := map[string]*commonpb.Payload{}
			for attribute, value := range map[string]*time.Time{query.End: test.end, query.Scheduled: test.scheduled} {
				if value == nil {
					continue
				}
				payload, err := converter.GetDefaultDataConverter().ToPayload(*value)
				if err != nil {
					t.Fatal(err)
				}
				fields[attribute] = payload
			}
			run := &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: test.id}, SearchAttributes: &commonpb.SearchAttributes{IndexedFields: fields}}
			got, known := intervalOf(run, "shop-events", grid, query)
			if known != (test.want != nil) || known && got != *test.want {
				t.Errorf("%s has the interval %s (%t), want %s", test.id, got, known, test.want)
			}
		})
	}
}
