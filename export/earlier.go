package export

import (
	"math/big"
	"time"
)

// Earlier says by which intervals an export cut time until a moment, before its length, offset or time zone was changed.
type Earlier struct {
	Every    Duration `json:"every"`
	Offset   Duration `json:"offset,omitempty"`
	TimeZone string   `json:"time_zone,omitempty"`
	// Until is where these intervals end and the next ones begin, a boundary of both.
	Until time.Time `json:"until"`
}

// withEarlier puts the grids of former times before a grid.
func (g Grid) withEarlier(earlier []Earlier) (Grid, error) {
	for i, one := range earlier {
		former, err := NewGrid(one.Every, one.Offset, one.TimeZone)
		if err != nil {
			return Grid{}, Errorf(KindConfig, "earlier: %w", err)
		}
		if i > 0 && !one.Until.After(earlier[i-1].Until) {
			return Grid{}, Errorf(KindConfig, "earlier: until %s is not after %s: give the earliest first", one.Until.UTC().Format(time.RFC3339), earlier[i-1].Until.UTC().Format(time.RFC3339))
		}
		g.earlier = append(g.earlier, era{until: one.Until.UTC(), grid: former})
	}
	for i, former := range g.earlier {
		next := g.Today()
		if i+1 < len(g.earlier) {
			next = g.earlier[i+1].grid
		}
		for _, side := range []Grid{former.grid, next} {
			if near := side.Containing(former.until); !near.Start.Equal(former.until) {
				return Grid{}, Errorf(KindConfig, "earlier: until %s is not a boundary of intervals of %s: the nearest are %s and %s",
					former.until.Format(time.RFC3339), side, near.Start.Format(time.RFC3339), near.End.Format(time.RFC3339))
			}
		}
	}
	return g, nil
}

// era is a grid of a former time.
type era struct {
	until time.Time
	grid  Grid
}

// Today is the grid of today, as if it had always been.
func (g Grid) Today() Grid { return Grid{every: g.every, offset: g.offset, location: g.location} }

// at is the grid by which time was cut at t.
func (g Grid) at(t time.Time) Grid {
	for _, former := range g.earlier {
		if t.Before(former.until) {
			return former.grid
		}
	}
	return g.Today()
}

// shortest is the least length of an interval of any time.
func (g Grid) shortest() time.Duration {
	least := g.every
	for _, former := range g.earlier {
		least = min(least, former.grid.every)
	}
	return least
}

func (g Grid) isBoundary(t time.Time) bool { return g.Containing(t).Start.Equal(t) }

// widen takes the whole of each interval of the grid that a range touches.
func (g Grid) widen(span Interval) Interval {
	span.Start = g.Containing(span.Start).Start
	if !g.isBoundary(span.End) {
		span.End = g.Containing(span.End).End
	}
	return Interval{Start: span.Start.UTC(), End: span.End.UTC()}
}

// Due is the interval that a schedule of today's grid has due at a time. Of a former time it takes whole intervals of then.
func (g Grid) Due(at time.Time) Interval { return g.widen(g.Today().LastEnded(at)) }

// LastDue is the end of the last interval whose run was due at a time. Where today's grid has not begun yet, its first interval
// takes what has ended of former ones with it, and is due at its own end.
func (g Grid) LastDue(at time.Time) time.Time {
	if n := len(g.earlier); n > 0 && at.Before(g.earlier[n-1].until) {
		return g.Today().LastEnded(at).End
	}
	return g.LastEnded(at).End
}

// After is the definition as it follows an earlier one at a moment: where it cuts time otherwise, it knows until when time was
// cut as before. That is the first moment, at or after the last of the old boundaries that has passed, that is a boundary of both.
// The first of its intervals then ends there or begins there, and begins on an old boundary, so nothing is left out and nothing is
// cut twice. A change that has no such moment is refused, with a way round.
func (d Definition) After(before Definition, now time.Time) (Definition, error) {
	old, err := before.Grid()
	if err != nil {
		return d, err
	}
	last := len(before.Earlier) - 1
	switch {
	case sameCut(before.cut(), d.cut()):
		if d.Earlier == nil {
			d.Earlier = before.Earlier
		}
		return d, nil
	case d.Earlier != nil && !sameEarlier(d.Earlier, before.Earlier):
		return d, d.followsBy(before)
	case last >= 0 && before.Earlier[last].Until.After(now) && sameCut(before.Earlier[last], d.cut()):
		d.Earlier = before.Earlier[:last:last] // a change that has not begun yet is taken back
		return d, nil
	case last >= 0 && before.Earlier[last].Until.After(now):
		return d, Errorf(KindConfig, "every: the export was changed from %q a moment ago, and that begins at %s: change it again after that, or back to %q now",
			before.Earlier[last].Every, before.Earlier[last].Until.UTC().Format(time.RFC3339), before.Earlier[last].Every)
	}
	wanted, err := NewGrid(d.Every, d.Offset, d.TimeZone)
	if err != nil {
		return d, err
	}
	until, err := old.handsOver(wanted, now)
	if err != nil {
		return d, err
	}
	former := before.cut()
	former.Until = until
	d.Earlier = append(before.Earlier[:last+1:last+1], former)
	_, err = d.Grid()
	return d, err
}

// followsBy says what is wrong with what a definition says of former times, when it cuts time otherwise than the one before.
func (d Definition) followsBy(before Definition) error {
	if n := len(d.Earlier); n == 0 || !sameCut(d.Earlier[n-1], before.cut()) {
		return Errorf(KindConfig, "earlier: the last is not every %q, by which the export cuts time now: leave earlier out, and it is found", before.Every)
	}
	_, err := d.Grid()
	return err
}

// cut is how a definition cuts time.
func (d Definition) cut() Earlier {
	return Earlier{Every: d.Every, Offset: d.Offset, TimeZone: d.TimeZone}
}

func sameCut(a, b Earlier) bool {
	zone := func(e Earlier) string {
		if e.TimeZone == "UTC" {
			return ""
		}
		return e.TimeZone
	}
	return a.Every == b.Every && a.Offset == b.Offset && zone(a) == zone(b)
}

func sameEarlier(a, b []Earlier) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !sameCut(a[i], b[i]) || !a[i].Until.Equal(b[i].Until) {
			return false
		}
	}
	return true
}

// handOvers is how many of the new intervals are looked at for a common boundary: a year of days.
const handOvers = 400

// handsOver is the moment at which a grid can go over into another.
func (g Grid) handsOver(to Grid, now time.Time) (time.Time, error) {
	last := g.Today().LastEnded(now).End
	until := to.Containing(last)
	if !until.Start.Equal(last) {
		until = to.Containing(until.End)
	}
	for range handOvers {
		if g.isBoundary(until.Start) {
			break
		}
		until = to.Containing(until.End)
	}
	first := to.LastEnded(until.Start)
	common := until.Start.Equal(last) || g.isBoundary(until.Start) && !first.Start.After(last) && g.isBoundary(first.Start)
	switch {
	case !common:
		return time.Time{}, Errorf(KindConfig, "every: intervals of %s cannot follow those of %s, for they do not end together: apply %s first, and then this", to, g.Today(), g.between(to))
	case !until.Start.Equal(last) && to.every/g.shortest() > MaxCells:
		return time.Time{}, Errorf(KindConfig, "every: the first interval of %s would be of more than %d of %s, which is what one run covers: apply \"1h\" first, and then this", to, MaxCells, g.Today())
	}
	return until.Start, nil
}

// between is a length that both grids go into, in words.
func (g Grid) between(to Grid) string {
	if g.every >= day && to.every >= day && g.location != to.location {
		return `every "15m"` // by which all zones are apart
	}
	common := new(big.Int)
	for _, length := range []time.Duration{g.every, to.every, g.offset % day, to.offset % day} {
		common.GCD(nil, nil, common, big.NewInt(int64(length)))
	}
	for length := time.Duration(common.Int64()); length >= time.Minute; length -= time.Minute {
		if length%time.Minute == 0 && day%length == 0 && time.Duration(common.Int64())%length == 0 {
			return `every "` + Duration(length).String() + `" without offset`
		}
	}
	return "the same offset"
}
