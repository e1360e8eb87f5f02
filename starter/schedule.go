package starter

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/codec"
	"github.com/millrace/millrace/workflows"
)

// catchupWindow is within what time a start that was missed is made up for: an interval that is not started is a hole.
const catchupWindow = 365 * 24 * time.Hour

// overlap has every due action start, whatever else is running; one after the other where files have to appear in order, for
// each would wait for the one before.
func overlap(definition export.Definition) enumspb.ScheduleOverlapPolicy {
	if definition.Order == export.OrderStrict {
		return enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL
	}
	return enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
}

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
		Policy: &client.SchedulePolicies{Overlap: overlap(definition), CatchupWindow: catchupWindow},
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
	grid = grid.Today()
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

// calendar is the spec of days and weeks in a time zone, where a day is not always 24 hours. Temporal leaves out a local
// time that a turned clock leaves out, and with it the day: these boundaries get entries of their own.
func calendar(grid export.Grid) client.ScheduleSpec {
	at := clockOf(time.Time{}.Add(grid.Offset() % (24 * time.Hour)))
	times := at.spec()
	if grid.Every() == 7*24*time.Hour {
		monday := 1
		times.DayOfWeek = only((monday + int(grid.Offset()/(24*time.Hour))) % 7)
	}
	calendars := append([]client.ScheduleCalendarSpec{times}, movedBoundaries(grid, at)...)
	return client.ScheduleSpec{Calendars: calendars, TimeZoneName: grid.Location().String()}
}

// The years through which a zone's clock changes are looked up, so that the spec of a definition does not depend on the
// day it is made on. Later years follow the same rule in every zone there is.
const firstYearOfTurns, lastYearOfTurns = 2020, 2060

// movedBoundaries has an entry for each month and time of day to which a turned clock moves boundaries of the grid. It
// covers the weekdays and the days of the month that this happens on; a start on another such day finds its interval
// published already, and ends.
func movedBoundaries(grid export.Grid, usual clock) []client.ScheduleCalendarSpec {
	type turn struct {
		month time.Month
		at    clock
	}
	days := map[turn][]time.Time{}
	last := time.Date(lastYearOfTurns, time.December, 31, 0, 0, 0, 0, time.UTC)
	for boundary := time.Date(firstYearOfTurns, time.January, 1, 0, 0, 0, 0, time.UTC); boundary.Before(last); {
		boundary = grid.Containing(boundary).End
		local := boundary.In(grid.Location())
		if at := clockOf(local); at != usual {
			days[turn{local.Month(), at}] = append(days[turn{local.Month(), at}], local)
		}
	}
	turns := slices.SortedFunc(maps.Keys(days), func(a, b turn) int {
		return cmp.Or(cmp.Compare(a.month, b.month), cmp.Compare(a.at.hour, b.at.hour), cmp.Compare(a.at.minute, b.at.minute), cmp.Compare(a.at.second, b.at.second))
	})
	var specs []client.ScheduleCalendarSpec
	for _, turn := range turns {
		spec := turn.at.spec()
		spec.Month = only(int(turn.month))
		first, last := 31, 1
		var weekdays []int
		for _, day := range days[turn] {
			first, last = min(first, day.Day()), max(last, day.Day())
			weekdays = append(weekdays, int(day.Weekday()))
			// Temporal asks a day's first second for its weekday. Where that is left out, it may be the day before's.
			if midnight := time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, day.Location()); midnight.Hour() != 0 {
				weekdays = append(weekdays, int(day.AddDate(0, 0, -1).Weekday()))
			}
		}
		spec.DayOfMonth = []client.ScheduleRange{{Start: first, End: last}}
		slices.Sort(weekdays)
		for _, weekday := range slices.Compact(weekdays) {
			spec.DayOfWeek = append(spec.DayOfWeek, client.ScheduleRange{Start: weekday})
		}
		specs = append(specs, spec)
	}
	return specs
}

// clock is a time of day.
type clock struct{ hour, minute, second int }

func clockOf(at time.Time) clock { return clock{at.Hour(), at.Minute(), at.Second()} }

func (c clock) spec() client.ScheduleCalendarSpec {
	return client.ScheduleCalendarSpec{Hour: only(c.hour), Minute: only(c.minute), Second: only(c.second)}
}

func only(n int) []client.ScheduleRange { return []client.ScheduleRange{{Start: n}} }

// inputKey is the id of the key that the input of a schedule's workflows is, or would be, encrypted with; empty when it is
// in clear. A key that has become the first, or was taken away, is a difference that apply mends.
func (s *Starter) inputKey(action *client.ScheduleWorkflowAction) string {
	if len(action.Args) != 1 {
		return ""
	}
	payload, stored := action.Args[0].(*commonpb.Payload)
	if !stored {
		var err error
		if payload, err = s.converter().ToPayload(action.Args[0]); err != nil {
			return ""
		}
	}
	return codec.Seal(payload)
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
