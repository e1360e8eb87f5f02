package export

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func anyGrid(t *rapid.T) Grid {
	every := rapid.SampledFrom([]string{"1m", "5m", "15m", "1h", "6h", "12h", "1d", "1w"}).Draw(t, "every")
	length, err := ParseDuration(every)
	if err != nil {
		t.Fatal(err)
	}
	zone := ""
	if length >= Duration(day) {
		zone = rapid.SampledFrom([]string{"", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Asia/Beirut", "America/Santiago", "America/Havana", "Australia/Lord_Howe"}).Draw(t, "zone")
	}
	offset := Duration(time.Duration(rapid.Int64Range(0, int64(time.Duration(length)/time.Second)-1).Draw(t, "offset")) * time.Second)
	grid, err := NewGrid(length, offset, zone)
	if err != nil {
		t.Fatal(err)
	}
	return grid
}

func anyTime(t *rapid.T) time.Time {
	return time.Unix(rapid.Int64Range(0, 4102444800).Draw(t, "second"), rapid.Int64Range(0, 999_999).Draw(t, "microsecond")*1000).UTC()
}

func TestEveryInstantLiesInExactlyOneIntervalOfAGrid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		grid, at := anyGrid(t), anyTime(t)
		interval := grid.Containing(at)
		if at.Before(interval.Start) || !at.Before(interval.End) {
			t.Fatalf("%s: %s is not in %s", grid, at, interval)
		}
		if next := grid.Containing(interval.End); !next.Start.Equal(interval.End) {
			t.Fatalf("%s: after %s comes %s", grid, interval, next)
		}
		if before := grid.Containing(interval.Start.Add(-time.Nanosecond)); !before.End.Equal(interval.Start) {
			t.Fatalf("%s: before %s comes %s", grid, interval, before)
		}
		if last := grid.LastEnded(at); !last.End.Equal(interval.Start) {
			t.Fatalf("%s: the last that ended at %s is %s", grid, at, last)
		}
	})
}

func TestARangeOfWholeIntervalsIsSplitWithoutHoleOrOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		grid, at := anyGrid(t), anyTime(t)
		span := grid.Containing(at)
		wanted := rapid.IntRange(1, 40).Draw(t, "intervals")
		for i := 1; i < wanted; i++ {
			span.End = grid.Containing(span.End).End
		}
		intervals, err := grid.Split(span)
		if err != nil {
			t.Fatal(err)
		}
		if len(intervals) != wanted {
			t.Fatalf("%s: %s splits into %d intervals, wanted %d", grid, span, len(intervals), wanted)
		}
		at = span.Start
		for _, interval := range intervals {
			if !interval.Start.Equal(at) || !interval.Start.Before(interval.End) {
				t.Fatalf("%s: %s does not follow %s", grid, interval, at)
			}
			at = interval.End
		}
		if !at.Equal(span.End) {
			t.Fatalf("%s: the last interval ends at %s, the range at %s", grid, at, span.End)
		}
	})
}

func TestADayInAZoneHasTheHoursOfThatDay(t *testing.T) {
	grid, err := NewGrid(Duration(day), Duration(time.Hour), "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at    string
		start string
		hours float64
	}{
		{"2026-06-10T12:00:00Z", "2026-06-09T23:00:00Z", 24},
		{"2026-03-28T12:00:00Z", "2026-03-28T00:00:00Z", 24}, // the next boundary, 01:00 local, is still before the turn
		{"2026-03-29T12:00:00Z", "2026-03-29T00:00:00Z", 23},
		{"2026-10-25T12:00:00Z", "2026-10-24T23:00:00Z", 25},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		interval := grid.Containing(at)
		if got := interval.Start.Format(time.RFC3339); got != c.start || interval.Length().Hours() != c.hours {
			t.Errorf("the day of %s starts at %s and has %v hours, wanted %s and %v", c.at, got, interval.Length().Hours(), c.start, c.hours)
		}
	}
}

func TestADayWithoutMidnightBeginsWithItsFirstMoment(t *testing.T) {
	for _, c := range []struct{ zone, offset, noon, start string }{
		{"Asia/Beirut", "0s", "2026-03-29T12:00:00Z", "2026-03-28T22:00:00Z"},      // east of Greenwich
		{"America/Santiago", "0s", "2026-09-06T16:00:00Z", "2026-09-06T04:00:00Z"}, // west of it
		{"America/Santiago", "30m", "2026-09-06T16:00:00Z", "2026-09-06T04:00:00Z"},
		{"America/Santiago", "1h", "2026-09-06T16:00:00Z", "2026-09-06T04:00:00Z"},
	} {
		every, offset := mustParse(t, "1d"), mustParse(t, c.offset)
		grid, err := NewGrid(every, offset, c.zone)
		if err != nil {
			t.Fatal(err)
		}
		noon, err := time.Parse(time.RFC3339, c.noon)
		if err != nil {
			t.Fatal(err)
		}
		if got := grid.Containing(noon).Start.Format(time.RFC3339); got != c.start {
			t.Errorf("%s: the interval of %s starts at %s, wanted %s", grid, c.noon, got, c.start)
		}
	}
}

func mustParse(t *testing.T, text string) Duration {
	t.Helper()
	length, err := ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return length
}

func TestARunTakesTheIntervalThatWasDueAndNeverAsksTheClock(t *testing.T) {
	grid, err := NewGrid(Duration(time.Hour), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, c := range []struct{ name, scheduled, start, end string }{
		{"a scheduled start is the interval's end", "2026-11-23T11:00:00Z", "2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"},
		{"a trigger off the grid takes the last that ended", "2026-11-23T11:37:12Z", "2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"},
	} {
		got, err := grid.Resolve(nil, at(c.scheduled))
		if err != nil {
			t.Fatal(err)
		}
		if !got.Start.Equal(at(c.start)) || !got.End.Equal(at(c.end)) {
			t.Errorf("%s: got %s", c.name, got)
		}
	}
}
