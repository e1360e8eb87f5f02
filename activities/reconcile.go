package activities

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

// BegunTask names an export.
type BegunTask struct {
	Export string `json:"export"`
}

// Begun is what there is to know of an export before its intervals are looked at.
type Begun struct {
	// First is where its first published interval begins, Last where the last one of any kind ends; zero when the ledger has none.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Pause is why its schedule is paused; nil when it is not, or when there is no schedule.
	Pause *export.Pause `json:"pause,omitempty"`
}

// FindBegun reads where an export begins, in the ledger, and how its schedule stands.
func (s *Steps) FindBegun(ctx context.Context, task BegunTask) (Begun, error) {
	defer alive(ctx)()
	var begun Begun
	var err error
	if begun.First, begun.Last, err = s.Events.Began(ctx, task.Export); err != nil {
		return begun, failure(ctx, err)
	}
	described, err := activity.GetClient(ctx).ScheduleClient().GetHandle(ctx, task.Export).Describe(ctx)
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
	case err != nil:
		return begun, failure(ctx, export.Errorf(export.KindInternal, "read schedule %q: %w", task.Export, err))
	case described.Schedule.State.Paused:
		pause := export.ParsePause(described.Schedule.State.Note)
		begun.Pause = &pause
	}
	return begun, nil
}

// ReconcileTask is a part of an export's range.
type ReconcileTask struct {
	Definition export.Definition `json:"definition"`
	Span       export.Interval   `json:"span"`
	Begun      Begun             `json:"begun"`
	// Running finds the runs that are under way.
	Running RunningQuery `json:"running"`
}

// ReconcileIntervals finds where each interval of a range stands. Of what the ledger does not have as published, and no run is
// at work on, the destination is asked; a manifest that is found there is written into the ledger again, which is all that
// is ever written.
//
// The order makes the answer hold: the ledger, then the runs, then the destination. A run that the ledger does not have yet
// is still under way, or has published by the time that the destination is asked.
func (s *Steps) ReconcileIntervals(ctx context.Context, task ReconcileTask) (export.Reconciled, error) {
	defer alive(ctx)()
	r := reconciler{Steps: s, task: task}
	found, err := r.reconcile(ctx)
	return found, failure(ctx, err)
}

// reconciler is one call of ReconcileIntervals.
type reconciler struct {
	*Steps
	task        ReconcileTask
	destination destinations.Destination
	grid        export.Grid
}

func (r *reconciler) reconcile(ctx context.Context) (found export.Reconciled, err error) {
	if r.destination, r.task.Definition, err = r.open(ctx, r.task.Definition); err != nil {
		return found, err
	}
	if r.grid, err = r.task.Definition.Grid(); err != nil {
		return found, err
	}
	intervals, err := r.grid.Split(r.task.Span)
	if err != nil {
		return found, err
	}
	known, err := r.look(ctx)
	if err != nil {
		return found, err
	}
	standings := export.Classify(intervals, known)
	manifests, err := r.lookUp(ctx, standings)
	if err != nil {
		return found, err
	}
	if len(manifests) > 0 {
		// A run may have published, and recorded that, since the ledger was read.
		if known.UnderWay, err = r.underWay(ctx); err != nil {
			return found, err
		}
		running := export.Classify(intervals, export.Known{UnderWay: known.UnderWay, Now: known.Now})
		if known.Published, known.Unpublished, err = r.recorded(ctx); err != nil {
			return found, err
		}
		standings = export.Classify(intervals, known)
		restored := map[string]bool{}
		for i, manifest := range manifests {
			if manifest == nil || standings[i].State == export.StateProved || running[i].State != export.StateMissing {
				continue
			}
			standings[i] = export.Standing{Interval: intervals[i], State: export.StateProved}
			key := manifest.Run.Interval.Key()
			if restored[key] {
				continue // a longer run's, by another of the intervals that it covers
			}
			restored[key] = true
			if err := r.Events.RecordRun(ctx, publishedRow(*manifest)); err != nil {
				return found, err
			}
			r.log().Warn("run was not in the ledger, and is recorded again from its manifest", "run", manifest.Run.String(), "manifest", manifest.Location)
			found.Restore(manifest.Run)
		}
	}
	for _, standing := range standings {
		found.Count(standing)
	}
	return found, nil
}

// look reads what ledger and Temporal know.
func (r *reconciler) look(ctx context.Context) (known export.Known, err error) {
	known.Last, known.Now = r.task.Begun.Last, time.Now()
	if pause := r.task.Begun.Pause; pause != nil {
		known.Paused, known.Since, known.Note = true, pause.Since, pause.String()
	}
	if known.Published, known.Unpublished, err = r.recorded(ctx); err != nil {
		return known, err
	}
	known.UnderWay, err = r.underWay(ctx)
	return known, err
}

func (r *reconciler) recorded(ctx context.Context) (published []export.Interval, unpublished []export.Unpublished, err error) {
	rows, err := r.Events.RecordedWithin(ctx, r.task.Definition.Name, r.task.Span)
	for _, row := range rows {
		switch {
		case row.Published > 0:
			published = append(published, row.Interval)
		case row.Ended != "":
			unpublished = append(unpublished, export.Unpublished{
				Interval: row.Interval, Cancelled: row.Ended == eventstore.StatusCancelled, Kind: row.Kind, Error: cutText(row.Error),
			})
		}
	}
	return published, unpublished, err
}

// lookUp asks the destination about the intervals that no run has published or is at work on. The answer has a place for each
// interval, and is empty when nothing was found.
func (r *reconciler) lookUp(ctx context.Context, standings []export.Standing) ([]*export.Manifest, error) {
	cells, err := cellsOf(r.destination, r.task.Definition)
	if err != nil {
		return nil, err
	}
	manifests := make([]*export.Manifest, len(standings))
	var any atomic.Bool
	err = atOnce(ctx, len(standings), func(ctx context.Context, i int) (err error) {
		if !standings[i].State.Hole() && standings[i].State != export.StatePaused {
			return nil
		}
		manifests[i], err = cells.covering(ctx, standings[i].Interval)
		if manifests[i] != nil {
			any.Store(true)
		}
		return err
	})
	if err != nil || !any.Load() {
		return nil, err
	}
	return manifests, nil
}

// listedText is how many letters of an error are told; the ledger has all.
const listedText = 300

func cutText(text string) string {
	if letters := []rune(text); len(letters) > listedText {
		return string(letters[:listedText-1]) + "…"
	}
	return text
}
