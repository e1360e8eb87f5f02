//go:build world

package assumptions

import (
	"slices"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// matchingTimes asks the server when a spec fires after from and up to to.
func matchingTimes(t *testing.T, c client.Client, spec client.ScheduleSpec, from, to string) []string {
	t.Helper()
	handle := scheduleOf(t, c, client.ScheduleOptions{Spec: spec, Overlap: allowAll, Paused: true})
	at := func(text string) *timestamppb.Timestamp {
		parsed, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return timestamppb.New(parsed)
	}
	answer, err := c.WorkflowService().ListScheduleMatchingTimes(t.Context(), &workflowservice.ListScheduleMatchingTimesRequest{
		Namespace: namespaceOf[c], ScheduleId: "nightly", StartTime: at(from), EndTime: at(to),
	})
	if err != nil {
		t.Fatal(err)
	}
	times := []string{}
	for _, start := range answer.StartTime {
		times = append(times, start.AsTime().Format(time.RFC3339))
	}
	if err := handle.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	return times
}

// midnightIn fires at midnight of a zone, plus some hours.
func midnightIn(zone string, hours ...int) client.ScheduleSpec {
	calendar := client.ScheduleCalendarSpec{}
	for _, hour := range hours {
		calendar.Hour = append(calendar.Hour, client.ScheduleRange{Start: hour})
	}
	return client.ScheduleSpec{TimeZoneName: zone, Calendars: []client.ScheduleCalendarSpec{calendar}}
}

func TestTemporalTimesOfSpecs(t *testing.T) {
	c := temporalNamespace(t)
	day := 24 * time.Hour
	for _, assumed := range []struct {
		what     string
		spec     client.ScheduleSpec
		from, to string
		times    []string
	}{
		{
			"intervals count from the Unix epoch, a Thursday: Monday is an offset of four days",
			client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: 7 * day, Offset: 4 * day}}},
			"2026-11-20T00:00:00Z", "2026-12-01T00:00:00Z",
			[]string{"2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"},
		},
		{
			"the range leaves its start out and takes its end in",
			client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
			"2026-11-20T10:00:00Z", "2026-11-20T12:00:00Z",
			[]string{"2026-11-20T11:00:00Z", "2026-11-20T12:00:00Z"},
		},
		{
			"a day of 23 hours and one of 25 in Berlin",
			midnightIn("Europe/Berlin", 0), "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z",
			[]string{"2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		},
		{
			"an hour that comes twice, in Berlin, counts the second time only",
			midnightIn("Europe/Berlin", 2), "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z",
			[]string{"2026-10-25T01:00:00Z"},
		},
		{
			"a midnight that comes twice, in Havana, counts twice: no rule can be leaned on",
			midnightIn("America/Havana", 0), "2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z",
			[]string{"2026-11-01T04:00:00Z", "2026-11-01T05:00:00Z", "2026-11-02T05:00:00Z"},
		},
		{
			"a midnight that does not exist, in Beirut, is left out and not made up for: the whole day has no start",
			midnightIn("Asia/Beirut", 0), "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z",
			[]string{"2026-03-27T22:00:00Z", "2026-03-29T21:00:00Z"},
		},
		{
			"nor in Santiago, west of Greenwich",
			midnightIn("America/Santiago", 0), "2026-09-05T00:00:00Z", "2026-09-07T12:00:00Z",
			[]string{"2026-09-05T04:00:00Z", "2026-09-07T03:00:00Z"},
		},
		{
			"the hour after a missing midnight begins where the midnight would have been",
			midnightIn("Asia/Beirut", 1), "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z",
			[]string{"2026-03-28T22:00:00Z"},
		},
	} {
		if got := matchingTimes(t, c, assumed.spec, assumed.from, assumed.to); !slices.Equal(got, assumed.times) {
			t.Errorf("%s:\ngot    %v\nwanted %v", assumed.what, got, assumed.times)
		}
	}
}
