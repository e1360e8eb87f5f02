package activities

import (
	"container/heap"
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/export"
)

// pileUp is a queue of runs by the time of their next attempt.
type pileUp []attempt

type attempt struct {
	at       time.Time
	attempts int
}

func (p pileUp) Len() int           { return len(p) }
func (p pileUp) Less(i, j int) bool { return p[i].at.Before(p[j].at) }
func (p pileUp) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *pileUp) Push(x any)        { *p = append(*p, x.(attempt)) }
func (p *pileUp) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

// A destination that is away for a day is asked by an export of minutes, whose runs pile up all the while, about as often as by
// just one run; each run costs Temporal a few attempts an hour; and all go on within minutes of its return.
func TestADayOfOutageIsNoStorm(t *testing.T) {
	began := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	back := began.Add(24 * time.Hour)
	now := began
	outages := &Outages{Now: func() time.Time { return now }}
	who := asked{"minutely", "lake"}
	var waiting pileUp
	for minute := range 24 * 60 {
		heap.Push(&waiting, attempt{at: began.Add(time.Duration(minute) * time.Minute)})
	}
	away := temporal.NewApplicationErrorWithOptions("the connection was refused", string(export.KindDestinationUnavailable), temporal.ApplicationErrorOptions{})
	var asks, attempts [25]int
	var last time.Time
	for len(waiting) > 0 {
		run := heap.Pop(&waiting).(attempt)
		now = run.at
		hour := int(now.Sub(began) / time.Hour)
		run.attempts++
		attempts[hour]++
		v := &visit{}
		err := outages.enter(context.WithValue(t.Context(), visitKey{}, v), who)
		var told *temporal.ApplicationError
		switch {
		case errors.As(err, &told):
			if told.NextRetryDelay() < waitsLeast*3/4 || told.NextRetryDelay() > waitsMost*5/4 || told.Type() != string(export.KindDestinationUnavailable) {
				t.Fatalf("after %s a run is to wait for %s: %s", now.Sub(began), told.NextRetryDelay(), told)
			}
			run.at = now.Add(told.NextRetryDelay())
		case now.Before(back):
			asks[hour]++
			err = away
			run.at = now.Add(min(time.Second<<min(run.attempts-1, 6), time.Minute)) // the retry policy's
		default:
			last = now
		}
		outages.leave(v, err)
		if err != nil {
			heap.Push(&waiting, run)
		}
	}
	runs := 0
	for hour := range 24 {
		runs += 60
		if most := int(time.Hour/askedMost) + 20; asks[hour] > most {
			t.Errorf("in hour %d it was asked %d times, more than %d", hour, asks[hour], most)
		}
		if hour > 2 && attempts[hour] > 17*runs+120 {
			t.Errorf("in hour %d %d runs took %d attempts", hour, runs, attempts[hour])
		}
	}
	t.Logf("asked %d times in the first hour and %d in the last; %d attempts of 1,440 runs in the last; all had gone on %s after its return", asks[0], asks[23], attempts[23], last.Sub(back))
	if last.After(back.Add(waitsMost*5/4 + askedMost)) {
		t.Errorf("the last run went on %s after it was back", last.Sub(back))
	}
}

// Only what says that a destination is away makes others wait, and only others of the same export and connection.
func TestWhatCountsAsAnOutage(t *testing.T) {
	fails := func(kind export.Kind) error {
		return temporal.NewApplicationErrorWithOptions(string(kind), string(kind), temporal.ApplicationErrorOptions{})
	}
	who := asked{"shop-events", "lake"}
	for name, test := range map[string]struct {
		ends  []error
		waits bool
	}{
		"twice":                    {[]error{fails(export.KindDestinationUnavailable), fails(export.KindDestinationUnavailable)}, false},
		"three times":              {[]error{fails(export.KindDestinationUnavailable), fails(export.KindQuota), fails(export.KindDestinationUnavailable)}, true},
		"answered in between":      {[]error{fails(export.KindDestinationUnavailable), fails(export.KindDestinationUnavailable), nil, fails(export.KindDestinationUnavailable)}, false},
		"refused in between":       {[]error{fails(export.KindDestinationUnavailable), fails(export.KindDestinationUnavailable), fails(export.KindAuth), fails(export.KindDestinationUnavailable)}, false},
		"cancelled in between":     {[]error{fails(export.KindQuota), fails(export.KindQuota), context.Canceled, fails(export.KindQuota)}, true},
		"ClickHouse's and ours":    {[]error{fails(export.KindSourceUnavailable), fails(export.KindSourceUnavailable), fails(export.KindInternal), fails(export.KindInternal)}, false},
		"workers that are stopped": {[]error{fails(TypeWorkerStopping), fails(TypeWorkerStopping), fails(TypeWorkerStopping)}, false},
	} {
		outages := &Outages{}
		enters := func(who asked) (*visit, error) {
			v := &visit{}
			return v, outages.enter(context.WithValue(t.Context(), visitKey{}, v), who)
		}
		for _, end := range test.ends {
			v, err := enters(who)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			outages.leave(v, end)
		}
		if _, err := enters(who); (err != nil) != test.waits {
			t.Errorf("%s: the next one is told %v", name, err)
		}
		for _, other := range []asked{{"shop-events", "other"}, {"other", "lake"}} {
			if _, err := enters(other); err != nil {
				t.Errorf("%s: %+v is told %v", name, other, err)
			}
		}
	}
	var none *Outages
	if err := none.enter(t.Context(), who); err != nil {
		t.Errorf("without any: %v", err)
	}
}

// While a destination is away one step asks; when that has ended without a word, or in panic, another may.
func TestOneStepAsksForAll(t *testing.T) {
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	outages := &Outages{Now: func() time.Time { return now }}
	who := asked{"shop-events", "lake"}
	enters := func() (*visit, error) {
		v := &visit{}
		return v, outages.enter(context.WithValue(t.Context(), visitKey{}, v), who)
	}
	away := temporal.NewApplicationErrorWithOptions("away", string(export.KindDestinationUnavailable), temporal.ApplicationErrorOptions{})
	for range outageAfter {
		v, _ := enters()
		outages.leave(v, away)
	}
	if _, err := enters(); err == nil {
		t.Fatal("it is asked at once")
	}
	now = now.Add(askedLeast)
	asks, err := enters()
	if err != nil {
		t.Fatalf("it is not asked again: %v", err)
	}
	now = now.Add(time.Hour)
	if _, err := enters(); err == nil {
		t.Fatal("two ask at once")
	}
	outages.leave(asks, errPanicked)
	asks, err = enters()
	if err != nil {
		t.Fatalf("after a panic nobody asks: %v", err)
	}
	outages.leave(asks, nil)
	for range 5 {
		if _, err := enters(); err != nil {
			t.Fatalf("it is back, and a step is told %v", err)
		}
	}
}
