package starter

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
)

// Pause has the schedule of an export start nothing more. Runs that are under way go on. Nobody starts later what falls due in
// a pause: Resume says what that was. It answers false, and with the pause that there is, when the export was paused
// already. Killed at any point it has paused or it has not.
func (s *Starter) Pause(ctx context.Context, name string, pause export.Pause) (export.Pause, bool, error) {
	if _, err := s.Definition(ctx, name); err != nil {
		return export.Pause{}, false, err
	}
	before, err := s.Temporal.ScheduleClient().GetHandle(ctx, name).Describe(ctx)
	if err != nil {
		return export.Pause{}, false, fmt.Errorf("read schedule %q: %w", name, err)
	}
	if before.Schedule.State.Paused {
		return export.ParsePause(before.Schedule.State.Note), false, nil
	}
	pause.Since = pause.Since.UTC().Truncate(time.Second)
	return pause, true, s.setPaused(ctx, name, true, pause.String())
}

// Resumed is what Resume found.
type Resumed struct {
	// Pause is the one that has ended.
	Pause export.Pause
	// Missed is the time whose intervals fell due in the pause and were not started; nil when there is none, or when it is not
	// known since when the export was paused.
	Missed *export.Interval
}

// Resume has the schedule of an export start again what falls due from now on. It answers false when it was not paused.
func (s *Starter) Resume(ctx context.Context, name, by string) (Resumed, bool, error) {
	definition, err := s.Definition(ctx, name)
	if err != nil {
		return Resumed{}, false, err
	}
	grid, err := definition.Grid()
	if err != nil {
		return Resumed{}, false, err
	}
	before, err := s.Temporal.ScheduleClient().GetHandle(ctx, name).Describe(ctx)
	if err != nil {
		return Resumed{}, false, fmt.Errorf("read schedule %q: %w", name, err)
	}
	if !before.Schedule.State.Paused {
		return Resumed{}, false, nil
	}
	resumed := Resumed{Pause: export.ParsePause(before.Schedule.State.Note)}
	if err := s.setPaused(ctx, name, false, fmt.Sprintf("resumed by %s at %s", by, time.Now().UTC().Format(time.RFC3339))); err != nil {
		return resumed, false, err
	}
	if since := resumed.Pause.Since; !since.IsZero() {
		// An interval that ends in the pause was due in it. What ends right now may be started besides, and finds itself done.
		missed := export.Interval{Start: grid.Containing(since).Start, End: grid.LastEnded(time.Now()).End}
		if missed.Start.Before(missed.End) {
			resumed.Missed = &missed
		}
	}
	return resumed, true, nil
}

const (
	// requestTries is how often a request is repeated that a schedule has forgotten.
	requestTries = 5
	// takenUpWithin is how long a schedule may take to take a request up; it takes a moment.
	takenUpWithin = 3 * time.Second
)

// setPaused pauses or unpauses by an update that changes nothing else, and looks whether that was taken up. Of several requests
// at its next turn, such as backfills, triggers, and what Temporal's own tools pause with, a schedule takes up the last and
// forgets the others, and so it does with updates: docs/temporal.md has a row about it. An update is disturbed by updates alone.
func (s *Starter) setPaused(ctx context.Context, name string, paused bool, notes string) error {
	service, namespace := s.Temporal.WorkflowService(), cmp.Or(s.Namespace, client.DefaultNamespace)
	for range requestTries {
		described, err := service.DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: namespace, ScheduleId: name})
		if err != nil {
			return fmt.Errorf("read schedule %q: %w", name, err)
		}
		wanted := described.GetSchedule()
		wanted.State.Paused, wanted.State.Notes = paused, notes
		// By the token another update is not undone that comes in between.
		if _, err := service.UpdateSchedule(ctx, &workflowservice.UpdateScheduleRequest{
			Namespace: namespace, ScheduleId: name, Schedule: wanted, ConflictToken: described.GetConflictToken(), RequestId: uuid.NewString(),
		}); err != nil {
			return fmt.Errorf("pause or resume schedule %q: %w", name, err)
		}
		if taken, err := s.takenUp(ctx, name, paused, notes); taken || err != nil {
			return err
		}
	}
	return fmt.Errorf("pause or resume schedule %q: it has taken up none of %d updates: does something else update it all the while?", name, requestTries)
}

// takenUp waits for a while until the schedule is as it was asked to be.
func (s *Starter) takenUp(ctx context.Context, name string, paused bool, notes string) (bool, error) {
	return s.described(ctx, name, func(now *client.ScheduleDescription) bool {
		return now.Schedule.State.Paused == paused && now.Schedule.State.Note == notes
	})
}
