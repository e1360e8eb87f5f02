package export

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func cutBy(t interface{ Fatal(...any) }, every, offset, zone string) Definition {
	length, err := ParseDuration(every)
	if err != nil {
		t.Fatal(err)
	}
	shift, err := ParseDuration(offset)
	if err != nil {
		t.Fatal(err)
	}
	return Definition{Name: "shop-events", Every: length, Offset: shift, TimeZone: zone}
}

// Whatever an export's length is changed to, and whenever, it is refused or: what has ended stays an interval as it was, all time is in
// one interval, and what the new schedule has due from then on begins where the old one has stopped, without a hole, in whole
// intervals.
func TestAChangeOfTheGridLeavesNoHoleAndNoOverlap(t *testing.T) {
	refused, changed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		definition := cutBy(t, "1h", "0s", "")
		now := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "now"), 0).UTC()
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			next := cutBy(t,
				rapid.SampledFrom([]string{"5m", "15m", "20m", "1h", "90m", "2h", "6h", "1d", "1w"}).Draw(t, "every"),
				rapid.SampledFrom([]string{"0s", "0s", "1m", "3m"}).Draw(t, "offset"), "")
			if time.Duration(next.Every) >= day {
				next.TimeZone = rapid.SampledFrom([]string{"", "Europe/Berlin", "Asia/Kathmandu"}).Draw(t, "zone")
			}
			now = now.Add(time.Duration(rapid.Int64Range(1, 20*24*3600).Draw(t, "later")) * time.Second)
			old, err := definition.Grid()
			if err != nil {
				t.Fatal(err)
			}
			after, err := next.After(definition, now)
			if err != nil {
				if KindOf(err) != KindConfig {
					t.Fatal(err)
				}
				refused++
				continue
			}
			changed++
			grid, err := after.Grid()
			if err != nil {
				t.Fatalf("from %s to %s at %s: %v", old, grid, now, err)
			}
			last := old.LastEnded(now)
			for cell, n := last, 0; n < 50; cell, n = old.LastEnded(cell.Start), n+1 {
				if got := grid.Containing(cell.Start); !got.Equal(cell) {
					t.Fatalf("from %s to %s at %s: %s has become %s", old, grid, now, cell, got)
				}
			}
			done := last.End
			for at, n := grid.Today().Containing(last.End), 0; n < 50; at, n = grid.Today().Containing(at.End), n+1 {
				due := grid.Due(at.End)
				if due.Start.After(done) || grid.OnGrid(due) != nil {
					t.Fatalf("from %s to %s at %s: %s is due, up to %s was before (%v)", old, grid, now, due, done, grid.OnGrid(due))
				}
				if n > 0 && due.Start.Before(done) && grid.at(due.Start).every == grid.every {
					t.Fatalf("from %s to %s at %s: %s is due, and %s was exported already", old, grid, now, due, done)
				}
				if due.End.After(done) {
					done = due.End
				}
			}
			for n := range 20 {
				at := now.Add(time.Duration(rapid.Int64Range(-40*24*3600, 40*24*3600).Draw(t, "at")) * time.Second)
				cell := grid.Containing(at)
				if at.Before(cell.Start) || !at.Before(cell.End) || !grid.Containing(cell.End).Start.Equal(cell.End) || !grid.LastEnded(cell.End).Equal(cell) {
					t.Fatalf("%d: %s of %s is in %s, and after that comes %s", n, at, grid, cell, grid.Containing(cell.End))
				}
			}
			definition = after
		}
	})
	if t.Logf("%d changes, %d refused", changed, refused); changed == 0 || refused == 0 {
		t.Error("it shows nothing")
	}
}

func TestAChangeOfTheGridIsKeptOrRefused(t *testing.T) {
	now := time.Date(2026, 11, 26, 18, 21, 0, 0, time.UTC)
	hour, quarterPast := cutBy(t, "1h", "0s", ""), cutBy(t, "1h", "15m", "")
	toDay := Earlier{Every: hour.Every, Until: time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)}
	day := cutBy(t, "1d", "0s", "")
	day.Earlier = []Earlier{toDay}
	ofDay := Earlier{Every: day.Every, Until: time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)}
	plainDay := cutBy(t, "1d", "0s", "")
	stale := cutBy(t, "6h", "0s", "")
	stale.Earlier = []Earlier{{Every: Duration(20 * time.Minute), Until: now}}
	for _, test := range []struct {
		name          string
		before, after Definition
		now           time.Time
		want          []Earlier
		refusal       string
	}{
		{"the same", hour, hour, now, nil, ""},
		{"the same, named otherwise", hour, cutBy(t, "60m", "0s", "UTC"), now, nil, ""},
		{"hours to days: until the day ends", hour, cutBy(t, "1d", "0s", ""), now, []Earlier{toDay}, ""},
		{"days to hours: at once", plainDay, hour, now, []Earlier{ofDay}, ""},
		{"what was kept is kept on", day, cutBy(t, "1d", "0s", ""), now, []Earlier{toDay}, ""},
		{"back before it has begun", day, hour, now, []Earlier{}, ""},
		{"to something else before it has begun", day, cutBy(t, "6h", "0s", ""), now, nil, "begins at 2026-11-27T00:00:00Z"},
		{"to something else after", day, cutBy(t, "6h", "0s", ""), now.AddDate(0, 0, 3), []Earlier{toDay, {Every: day.Every, Until: time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)}}, ""},
		{"never together", hour, quarterPast, now, nil, `apply every "15m" without offset first`},
		{"not together now", hour, cutBy(t, "90m", "0s", ""), time.Date(2026, 11, 26, 17, 21, 0, 0, time.UTC), nil, `apply every "30m" without offset first`},
		{"together now", hour, cutBy(t, "90m", "0s", ""), now, []Earlier{{Every: hour.Every, Until: time.Date(2026, 11, 26, 18, 0, 0, 0, time.UTC)}}, ""},
		{"zones", cutBy(t, "1d", "0s", "Europe/Berlin"), cutBy(t, "1d", "0s", "Asia/Tokyo"), now, nil, `apply every "15m" first`},
		{"too many minutes for a day", cutBy(t, "1m", "0s", ""), cutBy(t, "1d", "0s", ""), now, nil, "more than 1000"},
		{"a past that is not its own", hour, stale, now, nil, `the last is not every "1h"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.after.After(test.before, test.now)
			switch {
			case test.refusal != "" && (KindOf(err) != KindConfig || err == nil || !strings.Contains(err.Error(), test.refusal)):
				t.Errorf("%v, want a refusal that says %q", err, test.refusal)
			case test.refusal == "" && (err != nil || !sameEarlier(got.Earlier, test.want)):
				t.Errorf("%+v, %v, want %+v", got.Earlier, err, test.want)
			}
		})
	}
}
