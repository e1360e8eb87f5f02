//go:build world

package assumptions

import (
	"fmt"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/internal/testworld"
)

// overlap has six due at once while a run is going.
func (s trial) overlap(policy enumspb.ScheduleOverlapPolicy) func(*testing.T) finding {
	return func(t *testing.T) finding {
		s := s.try(t, client.ScheduleOptions{Spec: every(time.Hour), Overlap: policy, Paused: true})
		if description, err := s.handle.Describe(t.Context()); err != nil || policy == 0 && description.Schedule.Policy.Overlap != skip {
			t.Fatalf("the default overlap is %s (%v)", description.Schedule.Policy.Overlap, err)
		}
		s.trigger()
		s.nominals(1)
		const due = 6
		first := time.Date(2026, 3, 1, 1, 0, 0, 0, time.UTC)
		s.backfill(first, first.Add((due-1)*time.Hour))
		// Each is started, held back or counted as skipped; or else the last of them is there, in the place of what ran.
		atOnce := 0
		s.eventually(func() error {
			info := s.info()
			all := s.nominals(1)
			running := s.executions(true)
			atOnce = max(atOnce, len(running))
			switch seen := int64(len(all)-1) + info.GetBufferSize() + info.GetOverlapSkipped(); {
			case seen == due, len(all) == 2 && len(running) == 1 && info.GetBufferSize() == 0:
				return nil
			default:
				return fmt.Errorf("of %d due %d are started, held back or skipped", due, seen)
			}
		})
		s.release()
		got := s.nominals(1)
		got = got[:len(got)-1] // the latest is the one that ran
		return s.told(got, due, atOnce)
	}
}

// told is the finding of an overlap.
func (s *trial) told(got []time.Time, due, atOnce int) finding {
	started := "none"
	switch {
	case len(got) == due && atOnce > 1:
		started = "all, at once"
	case len(got) == due:
		started = "all, one after the other"
	case len(got) == 1 && got[0].Hour() == 1:
		started = "the first, when the run has ended"
	case len(got) == 1 && got[0].Hour() == due:
		started = "the last"
	case len(got) > 0:
		s.t.Errorf("started were %v", got)
	}
	for _, e := range s.executions(false) {
		switch e.status {
		case enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
			started += "; the run is cancelled"
		case enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED:
			started += "; the run is terminated"
		}
	}
	leftOut := "-"
	if missing := due - len(got); missing > 0 {
		leftOut = fmt.Sprint(missing)
	}
	_, figures := s.counted()
	return finding{started, leftOut, figures}
}

// overflow has more due than a schedule holds back.
func (s trial) overflow(t *testing.T) finding {
	tried := s.try(t, client.ScheduleOptions{Spec: every(24 * time.Hour), Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL})
	// A thousand requests and more, one after the other, take a quiet machine ten seconds.
	testworld.Eventually(t, 4*time.Minute, func() error {
		for range 100 {
			tried.trigger()
		}
		if info := tried.info(); info.GetBufferDropped() == 0 {
			return fmt.Errorf("none is dropped, with %d held back", info.GetBufferSize())
		}
		return nil
	})
	names, _ := tried.counted()
	return finding{fmt.Sprintf("%d, one after the other", tried.info().GetBufferSize()), "what is due beyond", names}
}
