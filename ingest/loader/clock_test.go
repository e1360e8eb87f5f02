package loader

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAJumpOfTheClockNeedsASecondReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var readings []time.Duration // from the truth
		c := &clock{read: func(context.Context) (time.Time, error) {
			if len(readings) == 0 {
				return time.Time{}, errors.New("no reading is left")
			}
			off := readings[0]
			readings = readings[1:]
			return time.Now().Add(off), nil
		}}
		for _, step := range []struct {
			name     string
			readings []time.Duration
			off      time.Duration
			refused  bool
		}{
			{name: "the first reading is taken", readings: []time.Duration{0}},
			{name: "a small jump is taken", readings: []time.Duration{9 * time.Second}, off: 9 * time.Second},
			{name: "a large jump that is not confirmed is refused", readings: []time.Duration{time.Hour, 9 * time.Second}, refused: true},
			{name: "a large jump that is confirmed is taken", readings: []time.Duration{time.Hour, time.Hour}, off: time.Hour},
			{name: "back is taken", readings: []time.Duration{-time.Hour}, off: -time.Hour},
		} {
			time.Sleep(30 * time.Second)
			readings = step.readings
			at, err := c.now(t.Context())
			if step.refused != (err != nil) {
				t.Errorf("%s: %v", step.name, err)
			}
			if want := time.Now().Add(step.off).Truncate(time.Microsecond); err == nil && !at.Equal(want) {
				t.Errorf("%s: %s, want %s", step.name, at, want)
			}
			if len(readings) != 0 {
				t.Errorf("%s: %d readings are left", step.name, len(readings))
			}
		}
	})
}

func TestTheAgeOfATimeIsToldWhileClickHouseIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := false
		c := &clock{read: func(ctx context.Context) (time.Time, error) {
			if away {
				<-ctx.Done()
				return time.Time{}, ctx.Err()
			}
			return time.Now().Add(-time.Hour), nil // which is what counts
		}}
		if age := c.since(time.Now()); age != 0 {
			t.Errorf("before any reading: %s", age)
		}
		mark, err := c.now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		away = true
		go func() { _, _ = c.now(t.Context()) }()
		time.Sleep(3 * time.Second)
		if age := c.since(mark); age.Round(time.Millisecond) != 3*time.Second {
			t.Errorf("after 3 s: %s", age)
		}
		if age := c.since(mark.Add(time.Minute)); age != 0 {
			t.Errorf("of a time to come: %s", age)
		}
	})
}
