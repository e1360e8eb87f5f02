package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
	"github.com/millrace/millrace/internal/schedules"
)

// PauseTask names an export of which a run has failed.
type PauseTask struct {
	Definition export.Definition `json:"definition"`
}

// Paused is the pause that an export is under, by whomever; nil when it is not paused.
type Paused struct {
	Pause *export.Pause `json:"pause,omitempty"`
}

// PauseFailing pauses the schedule of an export whose runs have failed for its pause_after by nothing but what its user has to
// mend. The ledger tells that, with ClickHouse's clock. A schedule that is paused already stays as it is, with its note; a
// schedule that is not there is left alone. Called twice it pauses once: the second call finds the pause. Killed at any point it
// has paused or it has not, and the next run that fails looks again.
func (s *Steps) PauseFailing(ctx context.Context, task PauseTask) (Paused, error) {
	defer alive(ctx)()
	failing, err := s.Events.Failing(ctx, task.Definition.Name)
	if err != nil {
		return Paused{}, failure(ctx, err)
	}
	now, err := s.Events.Now(ctx)
	if err != nil {
		return Paused{}, failure(ctx, err)
	}
	if err := failpoint.Hit(ctx, "export.pause"); err != nil {
		return Paused{}, failure(ctx, err)
	}
	paused, err := s.pauseFailing(ctx, task.Definition, failing, now)
	if err == nil {
		err = failpoint.Hit(ctx, "export.paused")
	}
	return paused, failure(ctx, err)
}

func (s *Steps) pauseFailing(ctx context.Context, definition export.Definition, failing export.Failing, now time.Time) (Paused, error) {
	var wrong error
	decide := func(state schedules.State) (schedules.State, bool) {
		if state.Paused {
			return state, false
		}
		var pause export.Pause
		var pauses bool
		pause, pauses, wrong = failing.Pause(definition, export.ParseResumed(state.Notes), now)
		return schedules.State{Paused: true, Notes: pause.String()}, pauses
	}
	state, changed, err := schedules.SetState(ctx, activity.GetClient(ctx).WorkflowService(), activity.GetInfo(ctx).Namespace, definition.Name, decide)
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return Paused{}, nil
	case err != nil:
		return Paused{}, export.Errorf(export.KindInternal, "see whether export %q is to be paused: %w", definition.Name, err)
	case wrong != nil || !state.Paused:
		return Paused{}, wrong
	}
	pause := export.ParsePause(state.Notes)
	if changed {
		s.log().Warn("an export is paused, for its user has something to mend", "export", definition.Name, "kind", failing.Kind, "runs", failing.Runs,
			"failing_since", failing.Since.UTC().Format(time.RFC3339), "runbook", failing.Kind.Runbook())
	}
	return Paused{Pause: &pause}, nil
}
