package main

import (
	"testing"
	"time"
)

func TestSendingTakesAMinuteOrTwoAndEndsOnAFullOne(t *testing.T) {
	minute := time.Date(2026, 11, 23, 18, 59, 0, 0, time.UTC)
	for offset := time.Duration(0); offset < time.Minute; offset += 250 * time.Millisecond {
		now := minute.Add(offset)
		pace := paceFrom(now)
		if !pace.Full.Equal(pace.Full.Truncate(time.Minute)) {
			t.Errorf("from %s: ends at %s, which is no full minute", now, pace.Full)
		}
		if put := pace.Start.Sub(now); put < 0 || put > 5*time.Second {
			t.Errorf("from %s: the start is put off by %s", now, put)
		}
		if took := pace.Last().Sub(pace.Start); took < time.Minute || took > 2*time.Minute {
			t.Errorf("from %s: sending takes %s", now, took)
		}
		// A minute with events ends before the export is applied, and one ends after it.
		boundary := pace.Apply().Truncate(time.Minute)
		if pace.Due(boundary, 200_000) == 0 || pace.Due(pace.Apply(), 200_000) >= 200_000 {
			t.Errorf("from %s: there is no minute for the backfill, or none for the schedule", now)
		}
	}
}

func TestDueGrowsFromNoneToAll(t *testing.T) {
	pace := paceFrom(time.Date(2026, 11, 23, 18, 59, 7, 0, time.UTC))
	last := 0
	for at := pace.Start.Add(-time.Second); at.Before(pace.Full); at = at.Add(100 * time.Millisecond) {
		due := pace.Due(at, 1000)
		if due < last || due > 1000 {
			t.Fatalf("at %s %d are due, and %d were before", at, due, last)
		}
		if at.Before(pace.Start) && due != 0 {
			t.Fatalf("%d are due before the start", due)
		}
		last = due
	}
	if last != 1000 {
		t.Errorf("%d of 1000 were due at the end", last)
	}
}

func TestMinutesCoverFirstToLast(t *testing.T) {
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, c := range []struct{ first, last, want string }{
		{"2026-11-23T18:58:59.999999Z", "2026-11-23T18:59:00Z", "18:58–18:59, 18:59–19:00"},
		{"2026-11-23T18:58:00Z", "2026-11-23T18:58:59.999999Z", "18:58–18:59"},
		{"2026-11-23T18:58:00Z", "2026-11-23T19:00:00.000001Z", "18:58–18:59, 18:59–19:00, 19:00–19:01"},
	} {
		if got := clocks(minutes(at(c.first), at(c.last))); got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.first, c.last, got, c.want)
		}
	}
}
