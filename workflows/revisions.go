package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
)

// changeRevisions marks executions that close revisions: those that 0.1 began failed instead, and replay so.
const changeRevisions = "close-revisions"

// closesRevisions tells whether this execution closes a revision that cannot be worked. It is asked only where it would,
// so that all other histories stay as they were.
func closesRevisions(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, changeRevisions, workflow.DefaultVersion, 1) >= 1
}

// changeCuts marks executions that close more than one revision, each with files that would be too large.
const changeCuts = "cut-chunks-finer"

// cutsFiner tells whether this execution may close another revision. It is asked only where it would.
func cutsFiner(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, changeCuts, workflow.DefaultVersion, 1) >= 1
}

// maxCuts bounds how often one execution has its chunks cut finer. Each time files are at most nine tenths of what they were.
const maxCuts = 5

// maxRevisions bounds the revisions that one execution looks at. Each but its own one was closed by somebody else.
const maxRevisions = 20

// workRevisions works the first revision that is open, and the next when that has to be closed.
func (r *exportRun) workRevisions(ctx workflow.Context) (export.Outcome, error) {
	for range maxRevisions {
		outcome, err := r.workRevision(ctx)
		if outcome != nil || err != nil {
			if outcome == nil {
				outcome = &export.Outcome{}
			}
			return *outcome, err
		}
	}
	return export.Outcome{}, temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("others closed %d revisions of the run one after the other: see who works on it by the reasons in the plan's folder", maxRevisions), string(export.KindInternal), nil)
}

// workRevision works one revision. Neither outcome nor error means that it is closed, and the next is to be worked; or that a
// longer run is, which covers the interval.
func (r *exportRun) workRevision(ctx workflow.Context) (*export.Outcome, error) {
	prepared, err := r.prepare(ctx)
	switch {
	case err != nil:
		return nil, err
	case prepared.Published != nil:
		return r.foundPublished(ctx, *prepared.Published)
	case prepared.Closed != nil:
		r.goOnAfter(ctx, *prepared.Closed)
		return nil, nil
	case prepared.Covered != nil:
		return r.join(ctx, *prepared.Covered)
	case prepared.Plan.DefinitionHash != r.definitionHash && closesRevisions(ctx):
		return r.foundOtherDefinition(ctx, prepared.Plan)
	}
	if err := r.writeChunks(ctx); err != nil {
		return r.closeIfUnworkable(ctx, err)
	}
	if r.plan.Definition.InOrder(r.run) {
		closed, err := r.showInOrder(ctx)
		if err != nil {
			return r.closeIfUnworkable(ctx, err)
		}
		if closed != nil {
			return r.foundClosed(ctx, *closed)
		}
	}
	committed, err := r.publish(ctx)
	switch {
	case err != nil:
		return r.closeIfUnworkable(ctx, err)
	case committed.Closed != nil:
		return r.foundClosed(ctx, *committed.Closed)
	case committed.By.RunID != workflow.GetInfo(ctx).WorkflowExecution.RunID:
		return r.foundPublished(ctx, committed.Publication)
	}
	if err := r.record(ctx); err != nil {
		return nil, err
	}
	r.at(ctx, "done")
	return &export.Outcome{Status: export.StatusPublished, Publication: committed.Publication}, nil
}

func (r *exportRun) foundPublished(ctx workflow.Context, published export.Publication) (*export.Outcome, error) {
	outcome, err := r.alreadyDone(ctx, published)
	return &outcome, err
}

// foundOtherDefinition closes a revision whose plan is another definition's: the present one is to be worked. One that comes
// from a revision that was closed, or has closed one itself, gives way.
func (r *exportRun) foundOtherDefinition(ctx workflow.Context, plan export.Plan) (*export.Outcome, error) {
	if r.hasClosed || r.ownClosed {
		return r.superseded(ctx, export.Publication{Run: plan.Run, DefinitionHash: plan.DefinitionHash, By: plan.By},
			fmt.Sprintf("workflow %s works revision %d by another definition of the export", plan.By.WorkflowID, plan.Run.Revision))
	}
	r.closedOtherwise = true
	reason := fmt.Sprintf("its plan, by workflow %s, is of another definition of the export", plan.By.WorkflowID)
	return r.close(ctx, export.KindConfig, reason)
}

// closeIfUnworkable closes the revision after a failure that no repetition mends, so that nobody adopts what is there. The
// first time the next revision is worked then; the second time the run has failed all the same. A revision with files that
// would be too large is closed with the number of rows that fit, and the next is planned by it, a few times over: another
// file may be the larger one.
func (r *exportRun) closeIfUnworkable(ctx workflow.Context, cause error) (*export.Outcome, error) {
	details := unworkableBy(cause)
	if !details.Unworkable || !closesRevisions(ctx) {
		return nil, cause
	}
	again := !r.hasClosed
	if details.ChunkRows > 0 {
		if r.chunkRows == 0 || details.ChunkRows < r.chunkRows {
			r.chunkRows = details.ChunkRows
		}
		r.cuts++
		again = again || r.cuts <= maxCuts && cutsFiner(ctx)
	} else {
		again = again || !r.closedOtherwise && cutsFiner(ctx)
		r.closedOtherwise = true
	}
	kind, message := r.explain(cause)
	if again {
		return r.close(ctx, kind, message)
	}
	failed := *r
	if outcome, err := r.close(ctx, kind, message); outcome != nil || err != nil {
		return outcome, err
	}
	r.run, r.plan, r.receipts, r.taken, r.progress = failed.run, failed.plan, failed.receipts, failed.taken, failed.progress
	return nil, cause
}

// unworkableBy is what an activity's failure says of the plan, and nothing for every other error.
func unworkableBy(err error) activities.FailureDetails {
	var failure *temporal.ApplicationError
	var details activities.FailureDetails
	if !errors.As(err, &failure) || !failure.HasDetails() || failure.Details(&details) != nil {
		return activities.FailureDetails{}
	}
	return details
}

// close closes the revision at hand, and goes on with the next; it may have been published, or closed, by somebody else.
func (r *exportRun) close(ctx workflow.Context, kind export.Kind, reason string) (*export.Outcome, error) {
	r.at(ctx, "closing")
	task := activities.CloseTask{RunTask: r.task(), Kind: kind, Reason: reason, ChunkRows: r.chunkRows, Durations: r.durations}
	var committed activities.Committed
	summary := fmt.Sprintf("close revision %d", r.run.Revision)
	if err := workflow.ExecuteActivity(r.step(ctx, stepTime, summary), steps.CloseRun, task).Get(ctx, &committed); err != nil {
		return nil, err
	}
	r.hasClosed = true
	if committed.Closed == nil {
		return r.foundPublished(ctx, committed.Publication)
	}
	if committed.Closed.By.RunID == workflow.GetInfo(ctx).WorkflowExecution.RunID {
		r.goOnAfter(ctx, *committed.Closed)
		return nil, nil
	}
	return r.foundClosed(ctx, *committed.Closed)
}

// foundClosed is for who worked a revision and finds that another closed it: he joins the next if that is of his own
// definition, and has no part in it otherwise.
func (r *exportRun) foundClosed(ctx workflow.Context, closed export.Closed) (*export.Outcome, error) {
	if closed.DefinitionHash != r.definitionHash {
		return r.superseded(ctx, export.Publication{Run: closed.Run, DefinitionHash: closed.DefinitionHash, By: closed.By},
			fmt.Sprintf("workflow %s closed revision %d at %s, and goes on by another definition of the export: %s",
				closed.By.WorkflowID, closed.Run.Revision, closed.By.At.UTC().Format(time.RFC3339), closed.Reason))
	}
	r.ownClosed = true
	r.goOnAfter(ctx, closed)
	return nil, nil
}

func (r *exportRun) superseded(ctx workflow.Context, by export.Publication, note string) (*export.Outcome, error) {
	r.at(ctx, "done")
	return &export.Outcome{Status: export.StatusSuperseded, Publication: by, Note: note}, nil
}

// goOnAfter makes the revision after a closed one the run's.
func (r *exportRun) goOnAfter(ctx workflow.Context, closed export.Closed) {
	workflow.GetLogger(ctx).Info("a revision is closed", "run", closed.Run.String(), "reason", closed.Reason)
	r.closed = append(r.closed, closed)
	r.run.Revision = closed.Run.Revision + 1
	r.chunkRows = closed.ChunkRows
	r.plan, r.receipts = nil, nil
	r.taken = nil
	r.progress = export.Progress{Step: r.progress.Step, Run: r.run}
}
