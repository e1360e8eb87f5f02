package starter

import (
	"cmp"
	"context"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/schedules"
)

// Pause has the schedule of an export start nothing more. Runs that are under way go on. Nobody starts later what falls due in
// a pause: Resume says what that was. It answers false, and with the pause that there is, when the export was paused
// already. Killed at any point it has paused or it has not.
func (s *Starter) Pause(ctx context.Context, name string, pause export.Pause) (export.Pause, bool, error) {
	if _, err := s.Definition(ctx, name); err != nil {
		return export.Pause{}, false, err
	}
	pause.Since = pause.Since.UTC().Truncate(time.Second)
	wanted := schedules.State{Paused: true, Notes: pause.String()}
	now, changed, err := s.setState(ctx, name, func(now schedules.State) (schedules.State, bool) { return wanted, !now.Paused })
	return export.ParsePause(now.Notes), changed, err
}

func (s *Starter) setState(ctx context.Context, name string, decide func(schedules.State) (schedules.State, bool)) (schedules.State, bool, error) {
	return schedules.SetState(ctx, s.Temporal.WorkflowService(), cmp.Or(s.Namespace, client.DefaultNamespace), name, decide)
}

// Resumed is what Resume found.
type Resumed struct {
	// Pause is the one that has ended.
	Pause export.Pause
	// Missed is the time whose intervals fell due in the pause and were not started, and, of a pause by Millrace, of those whose
	// runs had failed before; nil when there is none, or when it is not known since when the export was paused.
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
	var resumed Resumed
	ended := schedules.State{Notes: export.ResumedNotes(by, time.Now())}
	_, changed, err := s.setState(ctx, name, func(now schedules.State) (schedules.State, bool) {
		resumed.Pause = export.ParsePause(now.Notes)
		return ended, now.Paused
	})
	if err != nil || !changed {
		return Resumed{}, false, err
	}
	if since := resumed.Pause.Since; !since.IsZero() {
		// An interval that ends in the pause was due in it. What ends right now may be started besides, and finds itself done.
		missed := export.Interval{Start: grid.Containing(since).Start, End: grid.LastEnded(time.Now()).End}
		if from := resumed.Pause.From; !from.IsZero() && from.Before(missed.Start) {
			missed.Start = grid.Containing(from).Start
		}
		if missed.Start.Before(missed.End) {
			resumed.Missed = &missed
		}
	}
	return resumed, true, nil
}
