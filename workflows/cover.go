package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
)

// A run over several cells of the grid claims each of them before it plans. A cell that is somebody's already is where the
// interval is cut: then several runs have its rows, and this execution has them worked by children. A run of one cell that
// finds it claimed works the longer run in its stead. Who cuts comes to the same runs as everybody else, so whoever is killed
// in the middle is succeeded by any of them; see export.Grid.Cut.

// changeClaims marks executions that claim the cells of their interval: those that 0.5 began asked nobody.
const changeClaims = "claim-cells"

// claimsCells tells whether this execution claims what its interval spans. It is asked only where that is several cells.
func claimsCells(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, changeClaims, workflow.DefaultVersion, 1) >= 1
}

// cutsAtOnce is how many runs of an interval that was cut are under way at once.
const cutsAtOnce = 4

// cut claims the cells of the run's interval, and finds which runs have their rows.
func (r *exportRun) cut(ctx workflow.Context) ([]activities.CutRun, error) {
	r.at(ctx, "claiming")
	var cut activities.Cut
	err := workflow.ExecuteActivity(r.longStep(ctx, "claim what "+r.run.Interval.String()+" spans"), steps.ClaimCells, activities.FindTask{RunTask: r.task(), Redo: r.redo}).Get(ctx, &cut)
	return cut.Runs, err
}

// cover claims the cells that the run spans. Neither outcome nor error means that all of them are its own, and it is to be
// worked as one run.
func (r *exportRun) cover(ctx workflow.Context) (*export.Outcome, error) {
	runs, err := r.cut(ctx)
	if err != nil {
		return nil, err
	}
	if len(runs) == 1 && runs[0].Interval.Equal(r.run.Interval) {
		return nil, nil
	}
	r.parts = runs
	outcome, err := r.workCuts(ctx)
	return &outcome, err
}

// workCuts has the runs worked into which the interval was cut, and tells what they have published together.
func (r *exportRun) workCuts(ctx workflow.Context) (export.Outcome, error) {
	r.at(ctx, "writing")
	window := cutsAtOnce
	if r.definition.Order == export.OrderStrict {
		window = 1
	}
	var failed error
	failures, published, running := 0, 0, 0
	total := export.Publication{Run: r.run, DefinitionHash: r.definitionHash, By: author(ctx)}
	for i := range r.parts {
		if r.parts[i].Published {
			continue
		}
		if err := workflow.Await(ctx, func() bool { return running < window }); err != nil {
			failed = err
			break
		}
		running++
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer func() { running-- }()
			outcome, err := r.workCut(ctx, r.parts[i].Interval)
			switch {
			case err != nil:
				if failures++; failed == nil {
					failed = err
				}
				return
			case outcome.Status == export.StatusPublished:
				published++
				total.Rows, total.Bytes, total.Files = total.Rows+outcome.Rows, total.Bytes+outcome.Bytes, total.Files+outcome.Files
			}
			r.parts[i].Published = true
			r.at(ctx, "writing")
		})
	}
	drained, release := workflow.NewDisconnectedContext(ctx)
	defer release()
	if err := workflow.Await(drained, func() bool { return running == 0 }); err != nil {
		return export.Outcome{}, err
	}
	if failed != nil {
		if failures > 1 {
			kind, message := endingOf(failed)
			failed = temporal.NewNonRetryableApplicationError(fmt.Sprintf("%d of the runs into which it was cut failed; the first: %s", failures, message), string(kind), nil)
		}
		return export.Outcome{}, failed
	}
	r.at(ctx, "done")
	outcome := export.Outcome{Status: export.StatusPublished, Publication: total, Note: fmt.Sprintf("others had a part of the interval: it was cut into %s, of which this workflow published %d", plural(len(r.parts), "run"), published)}
	if published == 0 {
		outcome.Status = export.StatusAlreadyDone
	}
	return outcome, nil
}

// workCut has one of the runs worked by a child, under the id that everybody gives it, or awaits the one that works it.
func (r *exportRun) workCut(ctx workflow.Context, interval export.Interval) (export.Outcome, error) {
	wanted := oneRun{
		definition: r.definition, grid: r.grid, run: export.Run{Export: r.run.Export, Interval: interval, Revision: export.FirstRevision}, redo: r.redo,
		backfill: r.backfill, priority: r.priority, summary: "part of " + r.run.Interval.String(), step: r.step,
	}
	return wanted.do(ctx)
}

// join is for a run whose interval is claimed for a longer one: it goes on as that run. Where others have all cells around it,
// it is that run itself, and since its first plan can never be written it closes that revision.
func (r *exportRun) join(ctx workflow.Context, claim export.Claim) (*export.Outcome, error) {
	runs, err := r.cut(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(runs) != 1:
		return nil, temporal.NewNonRetryableApplicationError(
			fmt.Sprintf("it was claimed as one interval of the grid, and is %d by now: the export's earlier intervals were changed by hand", len(runs)), string(export.KindConfig), nil)
	case runs[0].Interval.Equal(r.run.Interval):
		return r.closeClaimed(ctx, claim)
	}
	workflow.GetLogger(ctx).Info("a longer run covers the interval, and is worked in its stead", "run", r.run.String(), "longer", runs[0].Interval.String())
	r.covers = r.run.Interval
	r.move(runs[0].Interval)
	published, err := r.find(ctx)
	if err != nil {
		return nil, err
	}
	if published != nil {
		return r.foundPublished(ctx, *published)
	}
	r.closing, err = r.awaitWatermark(ctx)
	return nil, err
}

// move makes another interval the run's.
func (r *exportRun) move(interval export.Interval) {
	r.run = export.Run{Export: r.run.Export, Interval: interval, Revision: export.FirstRevision}
	r.plan, r.receipts, r.taken, r.closed = nil, nil, nil, nil
	r.progress = export.Progress{Step: r.progress.Step, Run: r.run}
}

// closeClaimed closes the revision in whose plan's place a claim stands.
func (r *exportRun) closeClaimed(ctx workflow.Context, claim export.Claim) (*export.Outcome, error) {
	r.at(ctx, "closing")
	task := activities.CloseTask{RunTask: r.task(), Kind: export.KindConfig, Durations: r.durations,
		Reason: fmt.Sprintf("it was claimed for %s, and other runs have what is around it: it is a run by itself, as the next revision", claim.CoveredBy)}
	var committed activities.Committed
	if err := workflow.ExecuteActivity(r.step(ctx, stepTime, "close the revision that is claimed"), steps.CloseRun, task).Get(ctx, &committed); err != nil {
		return nil, err
	}
	if committed.Closed == nil {
		return r.foundPublished(ctx, committed.Publication)
	}
	r.goOnAfter(ctx, *committed.Closed)
	return nil, nil
}

// author is this execution.
func author(ctx workflow.Context) export.Author {
	execution := workflow.GetInfo(ctx).WorkflowExecution
	return export.Author{WorkflowID: execution.ID, RunID: execution.RunID, At: workflow.Now(ctx).UTC()}
}
