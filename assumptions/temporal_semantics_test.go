//go:build world

package assumptions

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

var writeTables = flag.Bool("tables", false, "write the tables that pages have of these tests anew")

// finding is a row of the table in docs/temporal.md: what was done, and what the server then started, left out and counted.
type finding struct{ started, leftOut, counted string }

// rowsOf are rows that are found together, most often one.
type rowsOf struct {
	whats []string
	try   func(*testing.T) []finding
}

func one(what string, try func(*testing.T) finding) rowsOf {
	return rowsOf{[]string{what}, func(t *testing.T) []finding { return []finding{try(t)} }}
}

// What a schedule starts and what it leaves out is a table in docs/temporal.md, and here each row of it is tried out.
func TestTemporalSchedulesStartAndLeaveOutWhatThePageSays(t *testing.T) {
	c := temporalNamespace(t)
	work(t, c, map[string]any{untilReleased: waitForRelease}, nil)
	s := trial{client: c, namespace: namespaceOf[c]}
	berlin := func(clock ...int) client.ScheduleSpec { return clockIn("Europe/Berlin", clock...) }
	rows := []rowsOf{
		one("`--interval 6h/90m`, a day", s.times(client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: 6 * time.Hour, Offset: 90 * time.Minute}}}, "2026-03-02", 1)),
		one("`--interval 168h/96h`, three weeks: Mondays", s.times(client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: 7 * 24 * time.Hour, Offset: 4 * 24 * time.Hour}}}, "2026-03-01", 21)),
		one("`--interval 24h` with `--time-zone Europe/Berlin`, three days", s.times(client.ScheduleSpec{TimeZoneName: "Europe/Berlin", Intervals: []client.ScheduleIntervalSpec{{Every: 24 * time.Hour}}}, "2026-03-28", 3)),
		one("midnight in Berlin, in spring: days of 24, 23, 24 hours", s.times(berlin(0), "2026-03-28", 3)),
		one("midnight in Berlin, in autumn: days of 24, 25, 24 hours", s.times(berlin(0), "2026-10-24", 3)),
		one("02:30 in Berlin, in spring: one day has none", s.times(berlin(2, 30), "2026-03-28", 3)),
		one("02:30 in Berlin, in autumn: one day has two", s.times(berlin(2, 30), "2026-10-24", 3)),
		one("midnight in Beirut, in spring: one day has none", s.times(clockIn("Asia/Beirut", 0), "2026-03-28", 3)),
		one("midnight in Havana, in autumn: one day has two", s.times(clockIn("America/Havana", 0), "2026-10-31", 3)),
		one("hours, backfilled from 01:00 to 04:00", s.edges("01:00:00", "04:00:00")),
		one("hours, backfilled from 01:00:01 to 03:59:59", s.edges("01:00:01", "03:59:59")),
		one("a trigger between two hours", s.triggered),
		one("six are due while a run is going, `Skip`, the default", s.overlap(0)),
		one("the same, `BufferOne`", s.overlap(enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE)),
		one("the same, `BufferAll`", s.overlap(enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL)),
		one("the same, `CancelOther`", s.overlap(enumspb.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER)),
		one("the same, `TerminateOther`", s.overlap(enumspb.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER)),
		one("the same, `AllowAll`", s.overlap(enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL)),
		one("ever more are due while a run is going, `BufferAll`", s.overflow),
		one("eight requests to backfill an hour each, sent at once", s.sentAtOnce),
		{[]string{"the server is down for 15 s, catch-up window 1 h", "the same, catch-up window 10 s, the least there is"}, down},
		one("a pause, catch-up window 1 h", s.paused),
		one("updates that change no times, all the while", s.updatedAllTheWhile),
		one("an update to other times, catch-up window 1 h", s.updatedToOtherTimes),
	}
	found := make([][]finding, len(rows))
	t.Run("rows", func(t *testing.T) {
		for i, row := range rows {
			t.Run(row.whats[0], func(t *testing.T) {
				t.Parallel()
				found[i] = row.try(t)
			})
		}
	})
	if t.Failed() {
		return
	}
	table := "\n| what is due | is started | is left out | is counted |\n|---|---|---|---|\n"
	for i, row := range rows {
		for j, found := range found[i] {
			table += fmt.Sprintf("| %s | %s | %s | %s |\n", row.whats[j], found.started, found.leftOut, found.counted)
		}
	}
	holdTable(t, "../docs/temporal.md", "schedules", table+"\n")
}

// holdTable holds what stands in a page between two marks against a table, or writes it, with -tables.
func holdTable(t *testing.T, page, name, table string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" begins: written by a test -->\n", "<!-- "+name+" ends -->\n"
	before, rest, begins := strings.Cut(string(text), begin)
	is, after, ends := strings.Cut(rest, end)
	switch {
	case !begins || !ends:
		t.Fatalf("%s has no place between %q and %q: add the two lines", page, begin, end)
	case *writeTables:
		if err := os.WriteFile(page, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case is != table:
		t.Errorf("%s does not say what the server does; look at it, and write it by the flag -tables:\n%s", page, table)
	}
}

// clockIn fires at an hour, and a minute, of each day of a zone.
func clockIn(zone string, clock ...int) client.ScheduleSpec {
	calendar := client.ScheduleCalendarSpec{Hour: []client.ScheduleRange{{Start: clock[0]}}}
	if len(clock) > 1 {
		calendar.Minute = []client.ScheduleRange{{Start: clock[1]}}
	}
	return client.ScheduleSpec{TimeZoneName: zone, Calendars: []client.ScheduleCalendarSpec{calendar}}
}

// times backfills some days of a spec's zone.
func (s trial) times(spec client.ScheduleSpec, from string, days int) func(*testing.T) finding {
	return func(t *testing.T) finding {
		s := s.try(t, client.ScheduleOptions{Spec: spec, Overlap: allowAll, Paused: true})
		zone, err := time.LoadLocation(spec.TimeZoneName)
		if err != nil {
			t.Fatal(err)
		}
		first, err := time.ParseInLocation(time.DateOnly, from, zone)
		if err != nil {
			t.Fatal(err)
		}
		last := first.AddDate(0, 0, days).Add(-time.Second)
		s.backfill(first, last)
		// What the same server says it would start: all of it is there then.
		answer, err := s.client.WorkflowService().ListScheduleMatchingTimes(t.Context(), &workflowservice.ListScheduleMatchingTimesRequest{
			Namespace: s.namespace, ScheduleId: s.id, StartTime: stamp(first.Add(-time.Second)), EndTime: stamp(last),
		})
		if err != nil {
			t.Fatal(err)
		}
		got := s.nominals(len(answer.StartTime))
		if len(got) > len(answer.StartTime) {
			t.Errorf("it started %v, and says that it would %v", got, answer.StartTime)
		}
		onDay := map[string]bool{}
		for _, at := range got {
			onDay[at.In(zone).Format("01-02")] = true
		}
		var none []string
		for day := first; spec.Calendars != nil && day.Before(last); day = day.AddDate(0, 0, 1) {
			if date := day.Format("01-02"); !onDay[date] {
				none = append(none, date)
			}
		}
		names, _ := s.counted()
		return finding{inUTC(got), orDash(strings.Join(none, ", ")), names}
	}
}

func inUTC(times []time.Time) string {
	var texts []string
	for _, at := range times {
		texts = append(texts, at.UTC().Format("01-02 15:04"))
	}
	return orDash(strings.Join(texts, ", "))
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// edges backfills a span of an hourly schedule whose ends lie on its grid, or beside it.
func (s trial) edges(from, to string) func(*testing.T) finding {
	return func(t *testing.T) finding {
		s := s.try(t, client.ScheduleOptions{Spec: every(time.Hour), Overlap: allowAll, Paused: true})
		at := func(clock string) time.Time {
			parsed, err := time.Parse(time.DateTime, "2026-03-01 "+clock)
			if err != nil {
				t.Fatal(err)
			}
			return parsed
		}
		// A second one in the same request, far away: they are done one after the other, so when it is there the first is over, and
		// the schedule has counted what it started. What is listed comes in any order.
		mark := at("23:00:00")
		if err := s.handle.Backfill(t.Context(), client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{
			{Start: at(from), End: at(to)}, {Start: mark, End: mark},
		}}); err != nil {
			t.Fatal(err)
		}
		var got []time.Time
		s.eventually(func() error {
			if got = s.nominals(1); !got[len(got)-1].Equal(mark) {
				return fmt.Errorf("the last is %s", got[len(got)-1])
			}
			described, err := s.handle.Describe(t.Context())
			if err == nil && described.Info.NumActions != len(got) {
				err = fmt.Errorf("%d starts are listed, the schedule counts %d", len(got), described.Info.NumActions)
			}
			return err
		})
		names, _ := s.counted()
		return finding{inUTC(got[:len(got)-1]), "-", names}
	}
}

func (s trial) triggered(t *testing.T) finding {
	// Half an hour from now the schedule has its hour, so that now is between two.
	offset := time.Duration(time.Now().Add(30*time.Minute).Unix()%3600) * time.Second
	tried := s.try(t, client.ScheduleOptions{Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour, Offset: offset}}}, Overlap: allowAll})
	before := time.Now().Truncate(time.Second)
	tried.trigger()
	got := tried.nominals(1)
	if at := got[0]; len(got) != 1 || at.Before(before) || at.After(time.Now()) {
		t.Errorf("triggered after %s, and started %v", before, got)
	}
	names, _ := tried.counted()
	return finding{"one, of the moment of the trigger", "-", names}
}
