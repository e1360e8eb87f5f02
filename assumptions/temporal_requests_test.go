//go:build world

package assumptions

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// sentAtOnce has the scheduler find several requests at its next turn. It takes up the last, and forgets the others. Whether it
// has its turn between two is chance, so it is asked until it had not.
func (s trial) sentAtOnce(t *testing.T) finding {
	tried := s.try(t, client.ScheduleOptions{Spec: every(time.Hour), Overlap: allowAll, Paused: true})
	const sent = 8
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	next := func() time.Time { at = at.Add(time.Hour); return at }
	tried.eventually(func() error {
		before := len(tried.nominals(0))
		var all sync.WaitGroup
		for range sent {
			hour := next()
			all.Go(func() { tried.backfill(hour, hour) })
		}
		all.Wait()
		last := next() // it is the last, so it is never forgotten
		tried.backfill(last, last)
		got := tried.from(last.Add(-time.Second))
		if len(got)-before == sent+1 {
			return fmt.Errorf("each of %d had a turn of its own", sent)
		}
		return nil
	})
	names, _ := tried.counted()
	return finding{"at least the last of them", "those that the scheduler has not taken up when the next one comes", names}
}

func (s trial) paused(t *testing.T) finding {
	tried := s.try(t, client.ScheduleOptions{Spec: every(time.Second), Overlap: allowAll, CatchupWindow: time.Hour})
	tried.nominals(1)
	if err := tried.handle.Pause(t.Context(), client.SchedulePauseOptions{}); err != nil {
		t.Fatal(err)
	}
	paused := time.Now()
	tried.until(paused.Add(4 * time.Second))
	if err := tried.handle.Unpause(t.Context(), client.ScheduleUnpauseOptions{}); err != nil {
		t.Fatal(err)
	}
	resumed := time.Now()
	got := tried.from(resumed)
	for _, at := range got {
		if at.After(paused.Add(time.Second)) && at.Before(resumed.Add(-time.Second)) {
			t.Errorf("%s fell into the pause and was started", at)
		}
	}
	names, _ := tried.counted()
	return finding{"what is due after the pause", "what is due in it", names}
}

// from is what was started, once something is of a later time.
func (s *trial) from(later time.Time) []time.Time {
	s.t.Helper()
	var got []time.Time
	s.eventually(func() error {
		got = s.nominals(1)
		if last := got[len(got)-1]; !last.After(later) {
			return fmt.Errorf("the last start is %s", last)
		}
		return nil
	})
	return got
}

// updatedAllTheWhile has four clients update the schedule without a pause, while something is due each second: the scheduler
// takes up what is due before it takes up an update, in the same turn, so none is lost between the two.
func (s trial) updatedAllTheWhile(t *testing.T) finding {
	tried := s.try(t, client.ScheduleOptions{Spec: every(time.Second), Overlap: allowAll, CatchupWindow: time.Hour})
	described, err := tried.client.WorkflowService().DescribeSchedule(t.Context(), &workflowservice.DescribeScheduleRequest{Namespace: tried.namespace, ScheduleId: tried.id})
	if err != nil {
		t.Fatal(err)
	}
	storm, end := context.WithCancel(t.Context())
	defer end()
	var updates atomic.Int64
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := 0; storm.Err() == nil; i++ {
				if _, err := tried.client.WorkflowService().UpdateSchedule(storm, &workflowservice.UpdateScheduleRequest{
					Namespace: tried.namespace, ScheduleId: tried.id, Schedule: described.Schedule, RequestId: fmt.Sprintf("%d-%d", worker, i),
				}); err == nil {
					updates.Add(1)
				}
			}
		})
	}
	tried.nominals(6)
	end()
	all.Wait()
	tried.eventually(func() error {
		if missing := gaps(tried.nominals(6)); len(missing) > 0 {
			return fmt.Errorf("%v were not started, with %d updates", missing, updates.Load())
		}
		return nil
	})
	names, _ := tried.counted()
	return finding{"all", "-", names}
}

// gaps are the seconds between the first and the last of some times that are not among them.
func gaps(times []time.Time) []time.Time {
	var missing []time.Time
	for at := times[0]; at.Before(times[len(times)-1]); at = at.Add(time.Second) {
		if !slices.ContainsFunc(times, at.Equal) {
			missing = append(missing, at)
		}
	}
	return missing
}

// updatedToOtherTimes has the new times due before the update: they are not made up for, whatever the catch-up window says, and
// only a backfill fills them.
func (s trial) updatedToOtherTimes(t *testing.T) finding {
	now := time.Now().UTC().Truncate(time.Second)
	hourly := func(at time.Time) client.ScheduleSpec {
		return client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour, Offset: at.Sub(at.Truncate(time.Hour))}}}
	}
	tried := s.try(t, client.ScheduleOptions{Overlap: allowAll, CatchupWindow: time.Hour, Spec: hourly(now.Add(-time.Minute))})
	// The new time comes after the schedule was made, and has passed when the schedule is updated.
	due := now.Add(2 * time.Second)
	tried.until(due)
	if err := tried.handle.Update(t.Context(), client.ScheduleUpdateOptions{
		DoUpdate: func(before client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			schedule, spec := before.Description.Schedule, hourly(due)
			schedule.Spec = &spec
			return &client.ScheduleUpdate{Schedule: &schedule}, nil
		},
	}); err != nil {
		t.Fatal(err)
	}
	var description *client.ScheduleDescription
	tried.eventually(func() (err error) {
		description, err = tried.handle.Describe(t.Context())
		// The SDK gives no update as the zero second of 1970, and not as the zero time.
		if err == nil && description.Info.LastUpdateAt.Unix() == 0 {
			err = fmt.Errorf("the update has not been taken up")
		}
		return err
	})
	if next := description.Info.NextActionTimes[0]; !next.Equal(due.Add(time.Hour)) || description.Info.NumActions != 0 {
		t.Errorf("the next start is %s, after %d", next, description.Info.NumActions)
	}
	names, _ := tried.counted()
	tried.backfill(now, time.Now())
	if got := tried.nominals(1); len(got) != 1 || !got[0].Equal(due) {
		t.Errorf("the backfill started %v", got)
	}
	return finding{"the new times from the update on", "the new times before it", names}
}
