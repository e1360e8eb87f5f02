package export

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var reconciledDay = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func hoursOf(from, to int) Interval {
	return Interval{Start: reconciledDay.Add(time.Duration(from) * time.Hour), End: reconciledDay.Add(time.Duration(to) * time.Hour)}
}

// Whatever is known, each interval gets one state, and the one that the rules say, hour by hour.
func TestEveryIntervalHasOneState(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	some := func(n int) []Interval {
		var made []Interval
		for range random.IntN(n) {
			from := random.IntN(26) - 2
			made = append(made, hoursOf(from, from+1+random.IntN(3)))
		}
		return made
	}
	seen := map[IntervalState]int{}
	for range 5000 {
		length := 1 + random.IntN(3)
		var intervals []Interval
		for from := 0; from+length <= 24; from += length {
			intervals = append(intervals, hoursOf(from, from+length))
		}
		known := Known{Published: some(12), Paused: random.IntN(2) == 0, Note: "lunch", Now: reconciledDay.Add(24 * time.Hour), Last: hoursOf(0, random.IntN(24)).End}
		if random.IntN(2) == 0 {
			known.Since = reconciledDay.Add(time.Duration(random.IntN(24*60)) * time.Minute)
		}
		for _, interval := range some(8) {
			known.UnderWay = append(known.UnderWay, UnderWay{Interval: interval, Waits: []string{"", "needs more"}[random.IntN(2)]})
		}
		for _, interval := range some(8) {
			known.Unpublished = append(known.Unpublished, Unpublished{Interval: interval, Cancelled: random.IntN(2) == 0, Kind: KindData, Error: "spoilt"})
		}
		standings := Classify(intervals, known)
		if len(standings) != len(intervals) {
			t.Fatalf("%d intervals have %d states", len(intervals), len(standings))
		}
		var report Reconciled
		for i, standing := range standings {
			if want := slowly(intervals[i], known); standing.Interval != intervals[i] || standing.State != want || !slices.Contains(IntervalStates(), standing.State) {
				t.Fatalf("%s is %+v, want %s, by %+v", intervals[i], standing, want, known)
			}
			seen[standing.State]++
			report.Count(standing)
		}
		total := 0
		for _, count := range report.States {
			total += count
		}
		if total != len(intervals) || (report.Holes == nil) != (report.States[StateMissing]+report.States[StateFailed] == 0) {
			t.Fatalf("%d intervals are reported as %+v", len(intervals), report)
		}
	}
	for _, state := range IntervalStates() {
		if seen[state] < 100 {
			t.Errorf("%s came %d times only: the test proves little of it", state, seen[state])
		}
	}
}

// slowly is the rule, hour by hour.
func slowly(interval Interval, known Known) IntervalState {
	published, running := true, true
	any, waits := false, false
	for at := interval.Start; at.Before(interval.End); at = at.Add(time.Hour) {
		hour := Interval{Start: at, End: at.Add(time.Hour)}
		isPublished := slices.ContainsFunc(known.Published, hour.overlaps)
		isRunning := slices.ContainsFunc(known.UnderWay, func(run UnderWay) bool { return run.Interval.overlaps(hour) })
		published = published && isPublished
		running = running && (isPublished || isRunning)
	}
	for _, run := range known.UnderWay {
		if run.Interval.overlaps(interval) {
			any, waits = true, waits || run.Waits != ""
		}
	}
	failed := slices.ContainsFunc(known.Unpublished, func(run Unpublished) bool { return run.Interval.overlaps(interval) && !run.Cancelled })
	cancelled := slices.ContainsFunc(known.Unpublished, func(run Unpublished) bool { return run.Interval.overlaps(interval) && run.Cancelled })
	since := known.Since
	if since.IsZero() {
		since = known.Last
	}
	switch {
	case published:
		return StateProved
	case running && any && waits:
		return StateWaiting
	case running && any:
		return StateRunning
	case failed:
		return StateFailed
	case cancelled:
		return StateMissing
	case known.Paused && interval.End.After(since):
		return StatePaused
	case !known.Paused && interval.End.After(known.Now.Add(-DueWithin)):
		return StateWaiting
	}
	return StateMissing
}

// Parts of a range are told together as the whole would be.
func TestReconciledRangesAdd(t *testing.T) {
	var whole, sum, part Reconciled
	for n := range 100 {
		standing := Standing{Interval: hoursOf(n, n+1), State: IntervalStates()[n%6]}
		for _, to := range []*Reconciled{&whole, &part} {
			to.Count(standing)
			if n%7 == 0 {
				to.Restore(Run{Export: "a", Interval: standing.Interval, Revision: 1})
			}
		}
		if n%13 == 12 || n == 99 {
			sum.Add(part)
			part = Reconciled{}
		}
	}
	if got, want := fmt.Sprintf("%+v %s", sum, sum.Holes), fmt.Sprintf("%+v %s", whole, whole.Holes); len(sum.Standings) != MaxListed || sum.Restored != 15 ||
		fmt.Sprint(sum.States, sum.Standings, sum.Records, sum.Holes) != fmt.Sprint(whole.States, whole.Standings, whole.Records, whole.Holes) {
		t.Errorf("the parts are\n%s\nthe whole is\n%s", got, want)
	}
}

// A sample has as many places as were asked for, in each stretch one, and all places have their day.
func TestSamplesAreSpread(t *testing.T) {
	for _, total := range []int{0, 1, 9, 10, 11, 99, 1000, 525_600} {
		for _, n := range []int{0, 1, 10, 1000} {
			places := Spread(total, n, "shop-events", reconciledDay)
			if len(places) != min(n, total) || !slices.IsSorted(places) || len(slices.Compact(slices.Clone(places))) != len(places) {
				t.Errorf("of %d, %d were asked for, and there are %d: %v", total, n, len(places), places)
			}
			for i, place := range places {
				if many := len(places); place < i*total/many || place >= (i+1)*total/many {
					t.Errorf("of %d, place %d of %d is %d", total, i, n, place)
				}
			}
			if again := Spread(total, n, "shop-events", reconciledDay.Add(23*time.Hour)); !slices.Equal(again, places) {
				t.Errorf("of %d, the same day gives %v and %v", total, places, again)
			}
		}
	}
	seen := map[int]bool{}
	for n := range 365 {
		for _, place := range Spread(100, 10, "shop-events", reconciledDay.AddDate(0, 0, n)) {
			seen[place] = true
		}
	}
	if len(seen) != 100 {
		t.Errorf("in a year %d of 100 runs are compared", len(seen))
	}
}
