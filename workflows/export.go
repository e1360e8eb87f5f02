package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
)

// steps is only ever used to name activities.
var steps *activities.Steps

// Export exports one interval, all or nothing:
//
//	look for a published run → await watermark → plan → prepare → chunks in parallel → prove → publish → record
//
// Where the files have to appear in order, chunks are written out of sight and shown before they are proved; see show.go.
//
// A plan that can never be worked (its rows are not the source's any more, a proof failed, it is another definition's) is
// not the end: its revision is closed, and the run is planned again as the next, once, or a few times where files would be too
// large; see revisions.go. An interval of several of the grid's is claimed before it is planned, and cut where others have a
// part of it; see cover.go.
//
// A redo exports a published interval again, as the next revision, which takes the place of the published one when it is
// published itself; see export.Redo.
//
// It may be started by a schedule, a trigger, a backfill, the UI or by hand, and twice at once: what keeps it exact
// lies at the destination and not in the workflow's id. A run that is published already ends as already_done.
//
// The input is the JSON of an export.Input. It is read here and not by the SDK, so that a slip of the pen in an input
// that was typed by hand ends the run with a kind and a sentence of ours.
func Export(ctx workflow.Context, input json.RawMessage) (export.Outcome, error) {
	run, err := newExportRun(ctx, input)
	if err != nil {
		return export.Outcome{}, refuse(ctx, input, err)
	}
	if err := run.show(ctx); err != nil {
		return export.Outcome{}, err
	}
	outcome, err := run.work(ctx)
	if err != nil {
		return export.Outcome{}, run.fail(ctx, err)
	}
	return outcome, nil
}

// exportRun is what one execution of Export knows.
type exportRun struct {
	definition export.Definition
	grid       export.Grid
	run        export.Run
	// redo asks for the next revision of what is published, and replaces says which one that is, once it is known; nil for most.
	redo     *export.Redo
	replaces *export.Replacement
	queue    string
	priority int
	// scheduled tells that the export's schedule started the run, and neither a person nor a backfill.
	scheduled bool
	// backfill is the workflow id of the backfill that started the run; empty when none did.
	backfill string
	// spans tells that the interval is several of the grid's, and that they are claimed.
	spans bool
	// parts are the runs into which the interval was cut, when others have a part of it; covers is the interval of one cell in
	// whose stead the run is worked, and else zero.
	parts  []activities.CutRun
	covers export.Interval
	// closing tells by what the interval was known to be complete.
	closing export.Closing
	// definitionHash is that of the definition with its destination's defaults, once FindPublished has told it.
	definitionHash string
	// plan is the plan that holds, once PrepareRun has told it.
	plan *export.Plan
	// receipts are those of the chunks of the plan that are written; the others are empty.
	receipts []export.Receipt
	// closed has the revisions that were closed while this execution looked, by it or by another.
	closed []export.Closed
	// hasClosed tells that this execution has closed a revision, which it may do once; ownClosed that it found one closed
	// that it was working.
	hasClosed, ownClosed bool
	// chunkRows bounds the rows of a chunk when closed revisions have taught it; 0 leaves it to the definition. cuts counts
	// the revisions that this execution closed for that, and closedOtherwise tells that it closed one for another reason.
	chunkRows       uint64
	cuts            int
	closedOtherwise bool
	// published is the publication by somebody else that ended the run, if one did.
	published *export.Publication
	progress  export.Progress
	// taken has the steps that the run has come to.
	taken map[string]bool
	// durations is how long each step has taken, in milliseconds; the present one, since then, is not in it yet.
	durations map[string]int64
	since     time.Time
}

// newExportRun finds out which interval is to be exported, and how urgent it is.
func newExportRun(ctx workflow.Context, text json.RawMessage) (*exportRun, error) {
	input, err := readInput(text)
	if err != nil {
		return nil, err
	}
	definition := input.Definition.WithDefaults()
	if err := definition.Validate(); err != nil {
		return nil, err
	}
	grid, err := definition.Grid()
	if err != nil {
		return nil, err
	}
	asked, err := input.Interval()
	if err != nil {
		return nil, err
	}
	scheduled := nominalStart(ctx)
	interval, err := grid.Resolve(asked, scheduled)
	if err != nil {
		return nil, err
	}
	now := workflow.Now(ctx)
	if interval.End.After(now) {
		return nil, export.Errorf(export.KindConfig, "interval %s ends in the future, it is %s now: wait until it has ended, or give an earlier one",
			interval, now.UTC().Format(time.RFC3339))
	}
	if err := input.Redo.Validate(now); err != nil {
		return nil, err
	}
	run := &exportRun{
		definition: definition,
		grid:       grid,
		redo:       input.Redo,
		run:        export.Run{Export: definition.Name, Interval: interval, Revision: export.FirstRevision},
		backfill:   input.Backfill,
		queue:      QueueLive,
		priority:   priorityLive,
		scheduled:  asked == nil,
	}
	switch {
	case input.Backfill != "":
		run.queue, run.priority = QueueBulk, priorityBackfill
	case asked != nil:
		run.priority = priorityManual
	case now.Sub(interval.End) > 2*interval.Length():
		// Two lengths late is no longer live: a backfill, or what piled up while Temporal was down.
		run.queue, run.priority = QueueBulk, priorityBackfill
	}
	if run.spans = !grid.Containing(interval.Start).Equal(interval) && claimsCells(ctx); run.spans {
		if _, err := grid.Cells(interval); err != nil {
			return nil, err
		}
	}
	run.progress = export.Progress{Step: "finding", Run: run.run}
	return run, nil
}

// readInput reads an export.Input. What is no JSON is told apart from what is no definition.
func readInput(text json.RawMessage) (export.Input, error) {
	var input export.Input
	if len(text) == 0 {
		return input, export.Errorf(export.KindConfig, "the workflow has no input: give the definition of an export as JSON; examples/export-shop-events.json is one to copy")
	}
	err := json.Unmarshal(text, &input)
	var classified *export.Error
	if err != nil && !errors.As(err, &classified) {
		err = export.Errorf(export.KindConfig, "the workflow's input is not the JSON of an export: %w; examples/export-shop-events.json is one to copy", err)
	}
	return input, err
}

// refuse ends the workflow for an input that nobody can work, with its kind as the error's type, and marks it so that
// people find it: with the name of its export too, as far as one can be read.
func refuse(ctx workflow.Context, text json.RawMessage, cause error) error {
	kind := export.KindOf(cause)
	marks := []temporal.SearchAttributeUpdate{AttributeErrorKind.ValueSet(string(kind))}
	var named struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(text, &named) == nil && named.Name != "" && len(named.Name) <= maxNameMark {
		marks = append(marks, AttributeExport.ValueSet(named.Name))
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, marks...); err != nil {
		workflow.GetLogger(ctx).Error("note the error's kind on the workflow", "error", err)
	}
	workflow.SetCurrentDetails(ctx, ending("Refused", kind, cause.Error()))
	return temporal.NewNonRetryableApplicationError(cause.Error(), string(kind), nil)
}

// maxNameMark keeps a name that is none from filling a search attribute, which holds 2 kB.
const maxNameMark = 200

func (r *exportRun) work(ctx workflow.Context) (export.Outcome, error) {
	published, err := r.find(ctx)
	if err != nil {
		return export.Outcome{}, err
	}
	if published != nil {
		return r.alreadyDone(ctx, *published)
	}
	if r.closing, err = r.awaitWatermark(ctx); err != nil {
		return export.Outcome{}, err
	}
	if r.spans && r.replaces == nil {
		if outcome, err := r.cover(ctx); outcome != nil || err != nil {
			if outcome == nil {
				outcome = &export.Outcome{}
			}
			return *outcome, err
		}
	}
	return r.workRevisions(ctx)
}

func (r *exportRun) task() activities.RunTask {
	return activities.RunTask{Definition: r.definition, Run: r.run}
}

func (r *exportRun) find(ctx workflow.Context) (*export.Publication, error) {
	r.at(ctx, "finding")
	var found activities.Found
	err := workflow.ExecuteActivity(r.step(ctx, stepTime, "look for a published run"), steps.FindPublished, activities.FindTask{RunTask: r.task(), Redo: r.redo}).Get(ctx, &found)
	r.definitionHash = found.DefinitionHash
	if err == nil && found.Published != nil && r.redo.Asks(*found.Published) {
		if longer := found.Published.Run.Interval; !longer.Equal(r.run.Interval) { // it has the interval's rows
			r.covers = r.run.Interval
			r.move(longer)
		}
		r.replaces = r.redo.Replaces(found.Published.Run)
		r.run.Revision = found.Published.Run.Revision + 1
		r.progress.Run = r.run
		return nil, nil
	}
	return found.Published, err
}

// alreadyDone ends a run that somebody published. The ledger row is written all the same: he may have died before it.
func (r *exportRun) alreadyDone(ctx workflow.Context, published export.Publication) (export.Outcome, error) {
	r.published = &published
	covered := r.run.Interval
	if !published.Run.Interval.Equal(covered) {
		r.move(published.Run.Interval) // a longer run has the interval's rows
	}
	if err := r.record(ctx); err != nil {
		return export.Outcome{}, err
	}
	r.at(ctx, "done")
	outcome := export.Outcome{Status: export.StatusAlreadyDone, Publication: published}
	outcome.Note = fmt.Sprintf("published by workflow %s at %s", published.By.WorkflowID, published.By.At.UTC().Format(time.RFC3339))
	if !published.Run.Interval.Equal(covered) {
		outcome.Note += fmt.Sprintf(", with all of %s", published.Run.Interval)
	}
	if published.DefinitionHash != r.definitionHash {
		outcome.Note += "; the export's definition has changed since, so these rows or bytes are not what it would write now"
	}
	return outcome, nil
}

func (r *exportRun) awaitWatermark(ctx workflow.Context) (export.Closing, error) {
	r.at(ctx, "waiting")
	var closing export.Closing
	task := activities.WatermarkTask{End: r.run.End, Settle: r.definition.Model.Settle}
	summary := "wait until the watermark has passed " + r.run.End.Format(time.RFC3339)
	if task.Settle > 0 {
		summary = fmt.Sprintf("wait until %s have passed since %s", task.Settle, r.run.End.Format(time.RFC3339))
	}
	err := workflow.ExecuteActivity(r.step(ctx, stepTime, summary), steps.AwaitWatermark, task).Get(ctx, &closing)
	return closing, err
}

// prepare makes the plan and writes it at the destination, or takes the one that is there: from here on the plan that
// holds decides, not the input.
func (r *exportRun) prepare(ctx workflow.Context) (activities.Prepared, error) {
	r.at(ctx, "planning")
	var plan export.Plan
	var prepared activities.Prepared
	task := activities.PlanTask{RunTask: r.task(), Closing: r.closing, Replaces: r.replaces, ChunkRows: r.chunkRows}
	if err := workflow.ExecuteActivity(r.longStep(ctx, "count the rows and cut them into chunks"), steps.PlanRun, task).Get(ctx, &plan); err != nil {
		return prepared, err
	}
	r.at(ctx, "preparing")
	summary := fmt.Sprintf("write the plan: %s rows in %s", count(plan.Rows), plural(len(plan.Chunks), "chunk"))
	if err := workflow.ExecuteActivity(r.step(ctx, stepTime, summary), steps.PrepareRun, plan).Get(ctx, &prepared); err != nil {
		return prepared, err
	}
	if prepared.Published == nil && prepared.Closed == nil && prepared.Covered == nil {
		r.plan = &prepared.Plan
		r.progress.Chunks, r.progress.Rows = len(r.plan.Chunks), r.plan.Rows
	}
	return prepared, nil
}

// writeChunks has all chunks written, as many at once as the workers of the queue have slots. The first that fails
// for good ends the others.
func (r *exportRun) writeChunks(ctx workflow.Context) error {
	r.receipts = make([]export.Receipt, len(r.plan.Chunks))
	return r.writeSome(ctx, r.plan.Chunks)
}

// writeSome has some of the plan's chunks written.
func (r *exportRun) writeSome(ctx workflow.Context, chunks []export.Chunk) error {
	r.at(ctx, "writing")
	ctx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	hash := r.plan.Hash()
	task := activities.RunTask{Definition: r.plan.Definition, Run: r.run}
	selector := workflow.NewSelector(ctx)
	var failed error
	for _, chunk := range chunks {
		summary := fmt.Sprintf("chunk %d/%d, %s rows", chunk.Index+1, len(r.plan.Chunks), count(chunk.Rows))
		future := workflow.ExecuteActivity(r.chunkStep(ctx, summary), steps.WriteChunk, activities.ChunkTask{RunTask: task, PlanHash: hash, Chunk: chunk})
		selector.AddFuture(future, func(done workflow.Future) {
			var receipt export.Receipt
			if err := done.Get(ctx, &receipt); err != nil {
				if failed == nil {
					failed = err
					cancel()
				}
				return
			}
			r.receipts[chunk.Index] = receipt
			r.progress.ChunksDone++
			r.progress.RowsDone += receipt.Rows
			r.progress.BytesDone += receipt.Bytes
			r.at(ctx, "writing")
		})
	}
	for range chunks {
		selector.Select(ctx)
	}
	return failed
}

// publish proves the run while readers still see nothing, and then commits it.
func (r *exportRun) publish(ctx workflow.Context) (activities.Committed, error) {
	r.at(ctx, "proving")
	task := activities.FinishTask{Plan: *r.plan, Receipts: r.receipts}
	var committed activities.Committed
	summary := fmt.Sprintf("prove %s rows in %s", count(r.plan.Rows), plural(len(r.receipts), "file"))
	if err := workflow.ExecuteActivity(r.longStep(ctx, summary), steps.ProveRun, task).Get(ctx, &task.Proof); err != nil {
		return committed, err
	}
	r.at(ctx, "publishing")
	task.Durations = r.durations
	err := workflow.ExecuteActivity(r.longStep(ctx, "publish"), steps.PublishRun, task).Get(ctx, &committed)
	return committed, err
}

func (r *exportRun) record(ctx workflow.Context) error {
	r.at(ctx, "recording")
	return workflow.ExecuteActivity(r.step(ctx, stepTime, "write the ledger row"), steps.RecordRun, r.task()).Get(ctx, nil)
}

// fail makes the error that people see, with the run's interval and kind, after tidying up. Tidying is tried for a
// minute at most and never hides the failure: whatever it leaves, a later run does not trip over it.
func (r *exportRun) fail(ctx workflow.Context, cause error) error {
	if ctx.Err() != nil {
		// A step that was told to end is not tried again, and says why it did not: its worker was killed, its store away.
		cause = ctx.Err()
	}
	kind, message := r.explain(cause)
	r.at(ctx, r.progress.Step) // its time counts, too
	tidy, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	tidy = workflow.WithActivityOptions(tidy, workflow.ActivityOptions{
		TaskQueue: QueueControl, StartToCloseTimeout: tidyTime / 2, ScheduleToCloseTimeout: tidyTime, RetryPolicy: retries,
		Priority: temporal.Priority{PriorityKey: r.priority, FairnessKey: r.run.Export},
	})
	saying := func(summary string) workflow.Context {
		return workflow.WithActivityOptions(tidy, withSummary(tidy, summary))
	}
	logger := workflow.GetLogger(ctx)
	if err := workflow.UpsertTypedSearchAttributes(tidy, AttributeErrorKind.ValueSet(string(kind))); err != nil {
		logger.Error("note the error's kind on the workflow", "error", err)
	}
	if r.plan != nil {
		if err := workflow.ExecuteActivity(saying("take back what is unfinished"), steps.AbortRun, activities.AbortTask{RunTask: activities.RunTask{Definition: r.plan.Definition, Run: r.run}, Receipts: r.outOfSight()}).Get(tidy, nil); err != nil {
			logger.Warn("take back what is unfinished at the destination", "error", err)
		}
	}
	if len(r.parts) == 0 { // else each of its runs has a row of its own
		failed := activities.FailedTask{RunTask: r.task(), Kind: kind, Message: message, Started: workflow.GetInfo(ctx).WorkflowStartTime, Durations: r.durations}
		if err := workflow.ExecuteActivity(saying("write the ledger row of the failure"), steps.RecordFailure, failed).Get(tidy, nil); err != nil {
			logger.Warn("write the ledger row of a failed run", "error", err)
		}
	}
	details := r.failureDetails(kind, message)
	if pause := r.pauseExport(ctx, saying("see whether the export is to be paused"), kind); pause != nil {
		details += fmt.Sprintf("\n**The export is paused:** %s\n", pause)
	}
	workflow.SetCurrentDetails(tidy, details)
	if temporal.IsCanceledError(cause) {
		return cause // so that Temporal shows the run as canceled and not as failed
	}
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf("%s: %s", r.run, message), string(kind), nil)
}

// explain finds the kind and the sentence in an activity's failure. A step that ran out of time carries its last
// failure along.
func (r *exportRun) explain(err error) (export.Kind, string) {
	if temporal.IsCanceledError(err) {
		return export.KindCancelled, "the run was cancelled"
	}
	var failure *temporal.ApplicationError
	if errors.As(err, &failure) {
		kind := export.Kind(failure.Type())
		message := failure.Message()
		// The server also ends a step whose next attempt would come too late, and then there is no timeout in the chain.
		var step *temporal.ActivityError
		if errors.As(err, &step) && step.RetryState() == enumspb.RETRY_STATE_TIMEOUT {
			message = fmt.Sprintf("gave up after %s: %s", r.definition.GiveUpAfter, message)
		}
		return kind, message
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		return export.KindInternal, fmt.Sprintf("gave up after %s: no worker finished the step in time (%s)", r.definition.GiveUpAfter, timeout.TimeoutType())
	}
	return export.KindInternal, err.Error()
}
