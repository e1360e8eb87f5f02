// Package schedules asks schedules of Temporal for something and looks whether they have taken it up: of several requests at its
// next turn a schedule takes up the last, and forgets the others, though it answered each. docs/temporal.md has a row about it.
package schedules

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/workflowservice/v1"
)

const (
	// Tries is how often a request is repeated that a schedule has forgotten.
	Tries = 5
	// TakenUpWithin is how long a schedule may take to take a request up; it takes a moment.
	TakenUpWithin = 3 * time.Second
)

// State is whether a schedule is paused, and its line of notes.
type State struct {
	Paused bool
	Notes  string
}

// SetState pauses or unpauses a schedule by an update that changes nothing else, and looks whether that was taken up; requests
// such as backfills and triggers cannot make the schedule forget it, only other updates can, and then it is tried again. decide
// is given the state as it is, at each try, and gives the state as it shall be, or false to leave it as it is. The state that the
// schedule is in at the end is returned, and whether decide's last word was to change it. Called twice, or killed and called
// again, it asks decide anew. A serviceerror.NotFound is in the error when there is no such schedule.
func SetState(ctx context.Context, service workflowservice.WorkflowServiceClient, namespace, id string, decide func(State) (State, bool)) (State, bool, error) {
	var asked *State
	for range Tries {
		described, err := service.DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: namespace, ScheduleId: id})
		if err != nil {
			return State{}, false, fmt.Errorf("read schedule %q: %w", id, err)
		}
		schedule := described.GetSchedule()
		now := State{schedule.GetState().GetPaused(), schedule.GetState().GetNotes()}
		if asked != nil && now == *asked {
			return now, true, nil // it was taken up late
		}
		wanted, change := decide(now)
		if !change {
			return now, false, nil
		}
		asked = &wanted
		schedule.State.Paused, schedule.State.Notes = wanted.Paused, wanted.Notes
		// By the token another update is not undone that comes in between.
		if _, err := service.UpdateSchedule(ctx, &workflowservice.UpdateScheduleRequest{
			Namespace: namespace, ScheduleId: id, Schedule: schedule, ConflictToken: described.GetConflictToken(), RequestId: uuid.NewString(),
		}); err != nil {
			return now, false, fmt.Errorf("pause or resume schedule %q: %w", id, err)
		}
		taken, err := TakenUp(ctx, func() (bool, error) {
			described, err := service.DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: namespace, ScheduleId: id})
			if err != nil {
				return false, fmt.Errorf("read schedule %q: %w", id, err)
			}
			state := described.GetSchedule().GetState()
			return State{state.GetPaused(), state.GetNotes()} == wanted, nil
		})
		if err != nil {
			return now, false, err
		}
		if taken {
			return wanted, true, nil
		}
	}
	return State{}, false, fmt.Errorf("pause or resume schedule %q: it has taken up none of %d updates: does something else update it all the while?", id, Tries)
}

// TakenUp looks, for as long as a schedule may take to take something up, whether it has.
func TakenUp(ctx context.Context, look func() (bool, error)) (bool, error) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	enough := time.After(TakenUpWithin)
	for {
		if has, err := look(); has || err != nil {
			return has, err
		}
		select {
		case <-again.C:
		case <-enough:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}
