package starter

import (
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// Policies of the schedules that Millrace makes. Every due action starts, whatever else is running, and one that was
// missed is made up for within a year: an interval that is not started is a hole.
const (
	overlap       = enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
	catchupWindow = 365 * 24 * time.Hour
)

// schedule is what the schedule of a definition should be. The ids of its workflows are <export>-<end, RFC 3339, UTC>,
// since the server appends the nominal start time, which is the interval's end.
func schedule(definition export.Definition) (client.Schedule, error) {
	spec, err := spec(definition)
	if err != nil {
		return client.Schedule{}, err
	}
	return client.Schedule{
		Action: &client.ScheduleWorkflowAction{
			ID:            definition.Name,
			Workflow:      workflows.NameExport,
			Args:          []any{export.Input{Definition: definition}},
			TaskQueue:     workflows.QueueControl,
			StaticSummary: summary(definition),
		},
		Spec:   &spec,
		Policy: &client.SchedulePolicies{Overlap: overlap, CatchupWindow: catchupWindow},
		State:  &client.ScheduleState{},
	}, nil
}

// summary is the line that the Temporal UI shows beside a run.
func summary(definition export.Definition) string {
	if definition.Title != "" {
		return definition.Title
	}
	return fmt.Sprintf("%s of team %s to %s, every %s", definition.Model, definition.Team, definition.Connection, definition.Every)
}

// mondayAfterEpoch is how long after the zero Unix second, a Thursday, the first Monday began. Temporal counts the
// intervals of a spec from that second.
const mondayAfterEpoch = 4 * 24 * time.Hour

// spec fires at the end of every interval of the definition's grid.
func spec(definition export.Definition) (client.ScheduleSpec, error) {
	grid, err := definition.Grid()
	if err != nil {
		return client.ScheduleSpec{}, err
	}
	if grid.Location() != time.UTC {
		return calendar(grid), nil
	}
	offset := grid.Offset()
	if grid.Every() == 7*24*time.Hour {
		offset = (offset + mondayAfterEpoch) % grid.Every()
	}
	return client.ScheduleSpec{
		Intervals: []client.ScheduleIntervalSpec{{Every: grid.Every(), Offset: offset}},
	}, nil
}

// calendar is the spec of days and weeks in a time zone, where a day is not always 24 hours.
func calendar(grid export.Grid) client.ScheduleSpec {
	at := time.Time{}.Add(grid.Offset() % (24 * time.Hour))
	one := func(n int) []client.ScheduleRange { return []client.ScheduleRange{{Start: n}} }
	times := client.ScheduleCalendarSpec{Hour: one(at.Hour()), Minute: one(at.Minute()), Second: one(at.Second())}
	if grid.Every() == 7*24*time.Hour {
		monday := 1
		times.DayOfWeek = one((monday + int(grid.Offset()/(24*time.Hour))) % 7)
	}
	return client.ScheduleSpec{Calendars: []client.ScheduleCalendarSpec{times}, TimeZoneName: grid.Location().String()}
}

// input reads the input of the workflows that a schedule starts, as it came back from the server.
func (s *Starter) input(schedule client.Schedule) (export.Input, error) {
	action, isWorkflow := schedule.Action.(*client.ScheduleWorkflowAction)
	if !isWorkflow || len(action.Args) != 1 {
		return export.Input{}, fmt.Errorf("its action has no input of an export")
	}
	payload, isPayload := action.Args[0].(*commonpb.Payload)
	if !isPayload {
		return export.Input{}, fmt.Errorf("its input came back as %T", action.Args[0])
	}
	var input export.Input
	err := s.converter().FromPayload(payload, &input)
	return input, err
}
