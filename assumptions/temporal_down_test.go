//go:build world

package assumptions

import (
	"fmt"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millrace/millrace/internal/testworld/testtemporal"
)

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

// down kills the server for fifteen seconds while two schedules have something due each second, one with a catch-up window of an
// hour and one with the least that there is.
func down(t *testing.T) []finding {
	own := testtemporal.NewServer(t)
	own.Start()
	connected := own.Dial()
	// Nobody works for it: what is started waits, and that is enough.
	of := func(window time.Duration) *trial {
		s := trial{client: connected, namespace: client.DefaultNamespace}
		return s.try(t, client.ScheduleOptions{Spec: every(time.Second), Overlap: allowAll, CatchupWindow: window})
	}
	const least = 10 * time.Second
	long, short := of(time.Hour), of(least)
	long.nominals(3)
	short.nominals(3)
	own.Kill()
	killed := time.Now()
	long.until(killed.Add(15 * time.Second))
	own.Start()
	long.eventually(func() error {
		_, err := long.handle.Describe(t.Context())
		return err
	})
	up := time.Now()
	missing := long.missed(up)
	if len(missing) > 0 {
		t.Errorf("within an hour, and not started: %v", missing)
	}
	longNames, _ := long.counted()
	if missing = short.missed(up); len(missing) == 0 {
		t.Errorf("all was started that was due from %s to %s", killed, up)
	}
	for _, at := range missing {
		if at.Before(killed.Add(-2*time.Second)) || at.After(up.Add(-least)) {
			t.Errorf("%s was not started; down from %s to %s", at, killed, up)
		}
	}
	shortNames, _ := short.counted()
	return []finding{{"all, late", "-", longNames}, {fmt.Sprintf("what was due in the last %.0f s, late", least.Seconds()), "what was due before", shortNames}}
}

// missed is what was due each second and not started, up to something after a moment; the server counts as many.
func (s *trial) missed(until time.Time) []time.Time {
	s.t.Helper()
	missing := gaps(s.from(until))
	if counted := s.info().GetMissedCatchupWindow(); counted != int64(len(missing)) {
		s.t.Errorf("%d are counted as missed, and these were not started: %v", counted, missing)
	}
	return missing
}
