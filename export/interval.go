package export

import (
	"fmt"
	"strings"
	"time"
)

// Interval is the half-open range [Start, End) of arrival time, in UTC, on whole seconds.
type Interval struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// intervalTime is the basic ISO form: no colon, for some file systems refuse one, and sorted by name is sorted by time.
const intervalTime = "20060102T150405Z"

// Key is the interval as it stands in object keys: 20261123T100000Z--20261123T110000Z.
func (i Interval) Key() string {
	return i.Start.UTC().Format(intervalTime) + "--" + i.End.UTC().Format(intervalTime)
}

// ParseKey reads what Key makes; false for every other text.
func ParseKey(key string) (Interval, bool) {
	from, to, _ := strings.Cut(key, "--")
	start, startErr := time.Parse(intervalTime, from)
	end, endErr := time.Parse(intervalTime, to)
	interval := Interval{Start: start, End: end}
	return interval, startErr == nil && endErr == nil && interval.Key() == key && start.Before(end)
}

// String is the interval as people read it: 2026-11-23T10:00:00Z–2026-11-23T11:00:00Z.
func (i Interval) String() string {
	return i.Start.UTC().Format(time.RFC3339) + "–" + i.End.UTC().Format(time.RFC3339)
}

// Length is End − Start.
func (i Interval) Length() time.Duration { return i.End.Sub(i.Start) }

// Validate says what is wrong with an interval that a person gave, or nil.
func (i Interval) Validate() error {
	switch {
	case i.Start.IsZero() || i.End.IsZero():
		return Errorf(KindConfig, "start and end are both needed: give both as RFC 3339 times, for example 2026-11-23T10:00:00Z")
	case !i.Start.Before(i.End):
		return Errorf(KindConfig, "start %s is not before end %s: an interval is [start, end), give a later end",
			i.Start.UTC().Format(time.RFC3339), i.End.UTC().Format(time.RFC3339))
	case i.Start.Nanosecond() != 0 || i.End.Nanosecond() != 0:
		return Errorf(KindConfig, "start %s and end %s must be on whole seconds",
			i.Start.UTC().Format(time.RFC3339Nano), i.End.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// Grid cuts time into the intervals of an export. The zero Grid is not usable: make one with NewGrid.
type Grid struct {
	every    time.Duration
	offset   time.Duration
	location *time.Location
	// earlier are the grids of former times, the earliest first; see Definition.After.
	earlier []era
}

// NewGrid makes the grid of intervals that are every long and begin offset after the natural boundary: for lengths
// below a day, midnight UTC and each whole length after it; for a day, midnight in the zone; for a week, midnight of
// Monday in the zone. zone is an IANA name, "" means UTC, and only days and weeks may have another.
//
// A length must be a whole number of minutes that divides a day, or one day, or one week. Where a zone's clock is
// turned, a day has 23 or 25 hours, and a boundary that the turned clock leaves out is the first moment after the gap.
func NewGrid(every, offset Duration, zone string) (Grid, error) {
	length, shift := time.Duration(every), time.Duration(offset)
	switch {
	case length < time.Minute || length%time.Minute != 0:
		return Grid{}, Errorf(KindConfig, "every: %q must be a whole number of minutes, at least \"1m\"", every)
	case length != week && (length > day || day%length != 0):
		return Grid{}, Errorf(KindConfig, "every: %q must divide a day evenly, or be \"1d\" or \"1w\"; try \"5m\", \"15m\", \"1h\" or \"1d\"", every)
	case shift < 0 || shift >= length || shift%time.Second != 0:
		return Grid{}, Errorf(KindConfig, "offset: %q must be whole seconds, from \"0s\" to below every (%q)", offset, every)
	}
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return Grid{}, Errorf(KindConfig, "time_zone: %q is not a name of the IANA time zone database, such as \"Europe/Berlin\"", zone)
	}
	if zone != "" && zone != "UTC" && length < day {
		return Grid{}, Errorf(KindConfig, "time_zone: %q has no meaning for every %q: only \"1d\" and \"1w\" follow a zone; leave it out, or use offset", zone, every)
	}
	return Grid{every: length, offset: shift, location: location}, nil
}

// Every is the nominal length of an interval, today.
func (g Grid) Every() time.Duration { return g.every }

// Offset is how long after the natural boundary an interval begins.
func (g Grid) Offset() time.Duration { return g.offset }

// Location is the zone whose days and weeks count; UTC for lengths below a day.
func (g Grid) Location() *time.Location { return g.location }

// floor is the last boundary at or before t.
func (g Grid) floor(t time.Time) time.Time {
	if g.every < day {
		// Since the zero Unix second is a midnight and the length divides a day, whole lengths since 1970 are whole
		// lengths since midnight.
		since := t.Unix() - int64(g.offset/time.Second)
		length := int64(g.every / time.Second)
		steps := since / length
		if since < 0 && since%length != 0 {
			steps--
		}
		return time.Unix(steps*length+int64(g.offset/time.Second), 0).UTC()
	}
	local := t.In(g.location)
	boundary := g.dayBoundary(local, 0)
	for boundary.After(t) {
		boundary = g.step(boundary, -1)
	}
	for next := g.step(boundary, 1); !next.After(t); next = g.step(boundary, 1) {
		boundary = next
	}
	return boundary
}

// dayBoundary is the boundary of the day or week that holds local, days later.
func (g Grid) dayBoundary(local time.Time, days int) time.Time {
	if g.every == week {
		days -= (int(local.Weekday()) + 6) % 7
	}
	at := time.Date(local.Year(), local.Month(), local.Day()+days, 0, 0, int(g.offset/time.Second), 0, g.location)
	return g.afterGap(at).UTC()
}

// afterGap moves a boundary whose local time the turned clock leaves out to the first moment after the gap. time.Date
// gives such a time an hour before the gap or after it, and does not promise which.
func (g Grid) afterGap(at time.Time) time.Time {
	wanted := g.offset % day
	hour, minute, second := at.Clock()
	clock := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second
	gap := (clock-wanted+day+day/2)%day - day/2
	switch began, ends := at.ZoneBounds(); {
	case gap < 0:
		return ends
	case gap > 0:
		return began
	}
	return at
}

// step is the boundary that many lengths after the boundary from, which it must be.
func (g Grid) step(from time.Time, lengths int) time.Time {
	if g.every < day {
		return from.Add(time.Duration(lengths) * g.every)
	}
	days := lengths
	if g.every == week {
		days *= 7
	}
	// Back to the natural boundary before counting days, so that an offset across midnight does not lose one.
	natural := from.In(g.location).Add(-g.offset)
	if natural.Hour() >= 12 { // a turned clock pushed it before midnight
		natural = natural.Add(day / 2)
	}
	return g.dayBoundary(natural, days)
}

// Containing is the interval that t lies in.
func (g Grid) Containing(t time.Time) Interval {
	then := g.at(t)
	start := then.floor(t)
	return Interval{Start: start, End: then.step(start, 1)}
}

// LastEnded is the last interval that ended at or before t.
func (g Grid) LastEnded(t time.Time) Interval {
	end := g.Containing(t).Start
	return g.Containing(end.Add(-time.Second))
}

// OnGrid says what is wrong with a range whose ends must be boundaries of the grid, or nil; it names the nearest boundaries.
func (g Grid) OnGrid(span Interval) error {
	if err := span.Validate(); err != nil {
		return err
	}
	for _, end := range []struct {
		name string
		at   time.Time
	}{{"start", span.Start}, {"end", span.End}} {
		if near := g.Containing(end.at); !near.Start.Equal(end.at) {
			return Errorf(KindConfig, "%s %s is not a boundary of the export's grid (every %s): the nearest are %s and %s",
				end.name, end.at.UTC().Format(time.RFC3339), Duration(g.at(end.at).every),
				near.Start.Format(time.RFC3339), near.End.Format(time.RFC3339))
		}
	}
	return nil
}

// Split cuts a range into the grid's intervals, oldest first. Both ends must be boundaries of the grid.
func (g Grid) Split(span Interval) ([]Interval, error) {
	if err := g.OnGrid(span); err != nil {
		return nil, err
	}
	var intervals []Interval
	for start := span.Start.UTC(); start.Before(span.End); {
		interval := g.Containing(start)
		intervals = append(intervals, interval)
		start = interval.End
	}
	return intervals, nil
}

// Resolve is the interval of a run: the one that was asked for, or else the last on the grid that ended at or before
// the nominal start time of the schedule's action. The clock is never asked, so a run that is late, or made up for
// later, exports what it was due to export.
func (g Grid) Resolve(asked *Interval, scheduled time.Time) (Interval, error) {
	switch {
	case asked != nil:
		if err := asked.Validate(); err != nil {
			return Interval{}, err
		}
		if _, err := g.Split(*asked); err != nil {
			return Interval{}, err
		}
		return Interval{Start: asked.Start.UTC(), End: asked.End.UTC()}, nil
	case scheduled.IsZero():
		return Interval{}, Errorf(KindConfig, "start and end are missing: a run that no schedule starts must say its interval, as RFC 3339 times")
	}
	return g.Due(scheduled), nil
}

// String is for messages: "1h", "1d+30m Europe/Berlin".
func (g Grid) String() string {
	text := Duration(g.every).String()
	if g.offset != 0 {
		text += fmt.Sprintf("+%s", Duration(g.offset))
	}
	if g.location != time.UTC {
		text += " " + g.location.String()
	}
	return text
}
