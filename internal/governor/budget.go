package governor

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/export"
)

// Budget is what the user allows backfills at most, in each process. The zero Budget allows everything.
type Budget struct {
	// RowsPerSecond and MegabytesPerSecond bound what is written, over ten seconds; 0 does not. A chunk is let through whole,
	// and what it was too much is waited off after it.
	RowsPerSecond      float64 `json:"rows_per_second,omitempty"`
	MegabytesPerSecond float64 `json:"megabytes_per_second,omitempty"`
	// Hours are those of the day in which chunks may begin, such as "22:00-06:00"; any when empty.
	Hours string `json:"hours,omitempty"`
	// TimeZone is the IANA zone of Hours; UTC when empty.
	TimeZone string `json:"time_zone,omitempty"`
}

// Validate says what is wrong with a budget, or nil.
func (b Budget) Validate() error {
	switch {
	case b.RowsPerSecond < 0:
		return export.Errorf(export.KindConfig, "rows_per_second: %v must not be below 0; 0 sets no bound", b.RowsPerSecond)
	case b.MegabytesPerSecond < 0:
		return export.Errorf(export.KindConfig, "megabytes_per_second: %v must not be below 0; 0 sets no bound", b.MegabytesPerSecond)
	case b.TimeZone != "" && b.Hours == "":
		return export.Errorf(export.KindConfig, "time_zone: %q has no meaning without hours", b.TimeZone)
	}
	_, err := b.window()
	return err
}

// window are the hours of a budget.
type window struct {
	from, to time.Duration // since midnight
	location *time.Location
}

// window reads Hours; nil is the whole day.
func (b Budget) window() (*window, error) {
	if b.Hours == "" {
		return nil, nil
	}
	location, err := time.LoadLocation(b.TimeZone)
	if err != nil || b.TimeZone == "Local" {
		return nil, export.Errorf(export.KindConfig, "time_zone: %q is not a name of the IANA time zone database, such as \"Europe/Berlin\"", b.TimeZone)
	}
	var from, to struct{ hour, minute int }
	n, err := fmt.Sscanf(b.Hours+"\n", "%d:%d-%d:%d\n", &from.hour, &from.minute, &to.hour, &to.minute)
	within := func(hour, minute int) bool { return 0 <= hour && hour < 24 && 0 <= minute && minute < 60 }
	if n != 4 || err != nil || !within(from.hour, from.minute) || !within(to.hour, to.minute) || from == to {
		return nil, export.Errorf(export.KindConfig, "hours: %q must be two different times of day, such as \"22:00-06:00\"", b.Hours)
	}
	clock := func(hour, minute int) time.Duration {
		return time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	}
	return &window{clock(from.hour, from.minute), clock(to.hour, to.minute), location}, nil
}

func (w *window) holds(now time.Time) bool {
	local := now.In(w.location)
	at := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute
	if w.from < w.to {
		return w.from <= at && at < w.to
	}
	return at >= w.from || at < w.to
}

// saved is over how many seconds an unused allowance is kept.
const saved = 10

// spending keeps account of a budget. It is not safe for concurrent use.
type spending struct {
	budget Budget
	hours  *window
	at     time.Time // of the balances
	rows   float64   // what may still be written; below 0 it has to be waited off
	bytes  float64
}

// newSpending opens an account of a valid budget.
func newSpending(budget Budget) *spending {
	hours, _ := budget.window()
	return &spending{budget: budget, hours: hours, at: time.Now()}
}

// refuses says why no chunk may begin now, and when to ask again; nothing when one may.
func (s *spending) refuses() (again time.Duration, why string) {
	now := time.Now()
	if s.hours != nil && !s.hours.holds(now) {
		return patience, fmt.Sprintf("backfills write from %s %s only", s.budget.Hours, s.hours.location)
	}
	passed := now.Sub(s.at).Seconds()
	s.at = now
	for _, account := range []struct {
		balance   *float64
		perSecond float64
		what      string
	}{
		{&s.rows, s.budget.RowsPerSecond, "rows"},
		{&s.bytes, 1e6 * s.budget.MegabytesPerSecond, "bytes"},
	} {
		*account.balance = min(*account.balance+passed*account.perSecond, saved*account.perSecond)
		if account.perSecond > 0 && *account.balance < 0 {
			wait := time.Duration(-*account.balance / account.perSecond * float64(time.Second))
			if wait > again {
				again, why = wait, fmt.Sprintf("the budget of %.0f %s a second is spent for %s", account.perSecond, account.what, wait.Round(time.Second))
			}
		}
	}
	return again, why
}

func (s *spending) spend(rows, bytes uint64) {
	s.rows -= float64(rows)
	s.bytes -= float64(bytes)
}
