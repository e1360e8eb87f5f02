package workflows

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/governor"
)

const (
	// surveyed is how many intervals are looked up at a time before any of them is started.
	surveyed = 100
	// executionEvents is how long a history may grow before the backfill continues as new, so that people can read it. A run
	// takes about seven events.
	executionEvents = 500
	// standingFirst and standingEvery are when a worker is asked how its governor stands.
	standingFirst, standingEvery = 10 * time.Second, time.Minute
	// awaitTime bounds the wait for a run that somebody else has under way.
	awaitTime = 7 * 24 * time.Hour
)

// Backfill exports the intervals of a past range that are not published yet, or, as a redo, that were published before it
// began: a window of Export runs slides over it. A run
// that is under way already is awaited; one that fails does not stop the others unless that is wanted.
//
//	for each interval: look for a published run → start a run, or await the one there is → count how it ended
//
// Its runs give way to live ones, and go on when it is terminated: a backfill of the same range finds them. Updates pause,
// resume, narrow, widen and cancel it. It continues as new when its window has drained and its history is long.
//
// The input is the JSON of an export.Backfill, read here and not by the SDK, as that of Export.
func Backfill(ctx workflow.Context, input json.RawMessage) (export.BackfillProgress, error) {
	parsed, err := export.ParseBackfill(input)
	if err != nil {
		return export.BackfillProgress{}, temporal.NewNonRetryableApplicationError(err.Error(), string(export.KindOf(err)), nil)
	}
	b := &backfill{Backfill: parsed, redo: parsed.RedoFrom(workflow.GetInfo(ctx).WorkflowStartTime.UTC())}
	if err := b.redo.Validate(workflow.Now(ctx)); err != nil {
		return export.BackfillProgress{}, temporal.NewNonRetryableApplicationError(err.Error(), string(export.KindOf(err)), nil)
	}
	if b.grid, err = parsed.Definition.Grid(); err != nil {
		return export.BackfillProgress{}, err
	}
	if b.steps, err = parsed.Steps(); err != nil {
		return export.BackfillProgress{}, err
	}
	if err := b.begin(ctx); err != nil {
		return b.progress, err
	}
	if err := b.show(ctx); err != nil {
		return b.progress, err
	}
	if err := b.work(ctx); err != nil {
		return b.end(ctx, err)
	}
	if !b.exhausted(ctx) {
		return b.progress, b.continueAsNew(ctx)
	}
	return b.end(ctx, nil)
}

// backfill is what one execution of Backfill knows.
type backfill struct {
	export.Backfill
	grid  export.Grid
	steps export.Steps
	// redo is what it asks of each run; nil for most.
	redo     *export.Redo
	progress export.BackfillProgress
	// ahead are intervals that were looked up, in the order of work; Next is where the first begins.
	ahead []lookedUp
	// standing is what a worker last said of its governor.
	standing string
	// cancelRuns cancels the runs that are under way.
	cancelRuns workflow.CancelFunc
}

// lookedUp is an interval, and whether it was published when it was looked up.
type lookedUp struct {
	export.Interval
	published bool
}

// begin finds the range, or takes over where the last execution has left off.
func (b *backfill) begin(ctx workflow.Context) error {
	if b.Carried != nil {
		b.progress = *b.Carried
		b.progress.Executions++
		return nil
	}
	b.progress = export.BackfillProgress{
		Export: b.Definition.Name, State: export.BackfillRunning, Parallel: b.Parallel, Started: workflow.Now(ctx).UTC(), Executions: 1,
	}
	span, err := b.asked(ctx)
	if err != nil {
		return err
	}
	b.progress.Span, b.progress.Next = span, span.Start
	if b.NewestFirst {
		b.progress.Next = span.End
	}
	if !span.Start.Before(span.End) {
		return nil // nothing has ended yet
	}
	intervals, err := b.Cut(span)
	if err != nil {
		return refusedBackfill("%s", err)
	}
	b.progress.Intervals = len(intervals)
	return nil
}

// asked is the range that was asked for, as of now.
func (b *backfill) asked(ctx workflow.Context) (export.Interval, error) {
	present := b.present(ctx)
	span := export.Interval{End: present}
	if b.End != nil {
		span.End = b.End.UTC()
	}
	if span.End.After(present) {
		return span, refusedBackfill("end %s has not ended yet: the last interval that has is %s; leave end out to go on until the present",
			span.End.Format(time.RFC3339), b.grid.LastEnded(workflow.Now(ctx)))
	}
	if b.Start != nil {
		span.Start = b.Start.UTC()
	} else {
		step := b.step(ctx, stepTime, "find the earliest row")
		var earliest activities.Earliest
		if err := workflow.ExecuteActivity(step, steps.FindEarliest, activities.EarliestTask{Team: b.Definition.Team}).Get(ctx, &earliest); err != nil {
			return span, err
		}
		if span.Start = span.End; earliest.At != nil {
			span.Start = b.grid.Containing(*earliest.At).Start
		}
	}
	if span.Start.After(span.End) {
		return span, refusedBackfill("start %s is after %s, where the range ends", span.Start.Format(time.RFC3339), span.End.Format(time.RFC3339))
	}
	return span, nil
}

func refusedBackfill(format string, arguments ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, arguments...), string(export.KindConfig), nil)
}

// present is the last boundary that has passed.
func (b *backfill) present(ctx workflow.Context) time.Time {
	return b.grid.LastEnded(workflow.Now(ctx)).End
}

// step gives the options of a step on the control queue.
func (b *backfill) step(ctx workflow.Context, attempt time.Duration, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: QueueControl, StartToCloseTimeout: attempt, ScheduleToCloseTimeout: time.Duration(b.Definition.GiveUpAfter),
		HeartbeatTimeout: heartbeat, RetryPolicy: retries, Summary: summary,
		Priority: temporal.Priority{PriorityKey: priorityBackfill, FairnessKey: b.Definition.Name},
	})
}

// work slides the window until there is nothing more to start, and drains it. The error says that the looking-up of
// intervals failed, or that it was cancelled.
func (b *backfill) work(ctx workflow.Context) error {
	working, cancel := workflow.WithCancel(ctx)
	b.cancelRuns = cancel
	if b.progress.State == export.BackfillCancelling {
		cancel()
	}
	looking, stopLooking := workflow.WithCancel(ctx)
	workflow.Go(looking, b.lookAtGovernor)
	failed := b.slide(working)
	drained, release := workflow.NewDisconnectedContext(ctx)
	defer release()
	if failed != nil {
		b.told(ctx)
	}
	if err := workflow.Await(drained, func() bool { return b.progress.Running == 0 && workflow.AllHandlersFinished(ctx) }); err != nil {
		return err
	}
	stopLooking()
	if ctx.Err() != nil {
		b.progress.State = export.BackfillCancelling
	}
	if b.progress.State == export.BackfillCancelling {
		return temporal.NewCanceledError(b.progress)
	}
	return failed
}

// lookAtGovernor asks a worker now and then what holds chunks back, for people to read.
func (b *backfill) lookAtGovernor(ctx workflow.Context) {
	pause := func(wait time.Duration) error {
		return workflow.NewTimerWithOptions(ctx, wait, workflow.TimerOptions{Summary: "until a worker is asked how its governor stands"}).Get(ctx, nil)
	}
	for wait := standingFirst; pause(wait) == nil; wait = standingEvery {
		if b.progress.State == export.BackfillPaused {
			continue
		}
		step := workflow.GetActivityOptions(b.step(ctx, stepTime, "ask a worker how its governor stands"))
		step.TaskQueue, step.ScheduleToCloseTimeout = QueueBulk, standingEvery // where no worker has a place the answer would be old
		var standing governor.Standing
		if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, step), steps.ReadStanding).Get(ctx, &standing); err == nil {
			b.standing = standing.String()
			b.told(ctx)
		}
	}
}

// slide starts a run whenever there is a place for one.
func (b *backfill) slide(ctx workflow.Context) error {
	for {
		if err := workflow.Await(ctx, func() bool { return b.stopped() || b.mayStart() }); err != nil {
			return err
		}
		if b.stopped() || b.isLong(ctx) {
			return nil
		}
		interval, err := b.next(ctx)
		if err != nil {
			return err
		}
		if interval == nil {
			// At the end of an open range others may have ended while the last ones were worked.
			if err := workflow.Await(ctx, func() bool { return b.progress.Running == 0 || b.stopped() }); err != nil {
				return err
			}
			if b.stopped() || !b.grow(ctx) {
				return nil
			}
			continue
		}
		if !b.mayStart() {
			continue // since it was looked up
		}
		starting := *interval
		b.passed(starting)
		b.progress.Running++
		b.told(ctx)
		workflow.Go(ctx, func(ctx workflow.Context) {
			b.export(ctx, starting)
			b.progress.Running--
			b.told(ctx)
		})
	}
}

// mayStart tells that there is a place for one more run.
func (b *backfill) mayStart() bool {
	return b.progress.State == export.BackfillRunning && b.progress.Running < b.progress.Parallel
}

// stopped tells that nothing more is to be started.
func (b *backfill) stopped() bool {
	return b.progress.State == export.BackfillStopping || b.progress.State == export.BackfillCancelling
}

func (b *backfill) isLong(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	return info.GetContinueAsNewSuggested() || info.GetCurrentHistoryLength() > executionEvents
}

// exhausted tells that no interval is left to be looked at.
func (b *backfill) exhausted(ctx workflow.Context) bool {
	return b.stopped() || len(b.ahead) == 0 && b.atEnd() && (b.End != nil || !b.present(ctx).After(b.progress.Span.End))
}

func (b *backfill) backwards() bool { return b.NewestFirst && !b.progress.CatchingUp }

func (b *backfill) atEnd() bool {
	if b.backwards() {
		return !b.progress.Next.After(b.progress.Span.Start)
	}
	return !b.progress.Next.Before(b.progress.Span.End)
}

// grow takes in what has ended since an open range was last looked at, and tells whether that is anything.
func (b *backfill) grow(ctx workflow.Context) bool {
	present := b.present(ctx)
	if b.End != nil || !present.After(b.progress.Span.End) {
		return false
	}
	b.progress.CatchingUp = true
	b.progress.Next, b.progress.Span.End = b.progress.Span.End, present
	b.progress.Intervals += len(b.steps.Cut(export.Interval{Start: b.progress.Next, End: present}))
	return true
}

// next is the next interval that is not published; nil when there is none in the range. It looks up many at a time, and
// leaves the interval ahead until it is passed.
func (b *backfill) next(ctx workflow.Context) (*export.Interval, error) {
	for {
		for len(b.ahead) > 0 && b.ahead[0].published {
			b.passed(b.ahead[0].Interval)
			b.progress.AlreadyDone++
		}
		if len(b.ahead) > 0 {
			return &b.ahead[0].Interval, nil
		}
		batch := b.batch()
		if len(batch) == 0 {
			return nil, nil
		}
		summary := fmt.Sprintf("look up %s, from %s", plural(len(batch), "interval"), batch[0])
		var survey activities.Survey
		task := activities.SurveyTask{Definition: b.Definition, Intervals: batch, Redo: b.redo}
		if err := workflow.ExecuteActivity(b.step(ctx, planTime, summary), steps.SurveyIntervals, task).Get(ctx, &survey); err != nil {
			return nil, err
		}
		for i, interval := range batch {
			b.ahead = append(b.ahead, lookedUp{interval, slices.Contains(survey.Published, i)})
		}
	}
}

// batch are the next intervals to be looked up, in the order of work.
func (b *backfill) batch() []export.Interval {
	var batch []export.Interval
	for at := b.progress.Next; len(batch) < surveyed; {
		if b.backwards() {
			if !at.After(b.progress.Span.Start) {
				break
			}
			batch = append(batch, b.steps.Until(b.progress.Span.Start, at))
			at = batch[len(batch)-1].Start
			continue
		}
		if !at.Before(b.progress.Span.End) {
			break
		}
		batch = append(batch, b.steps.From(at, b.progress.Span.End))
		at = batch[len(batch)-1].End
	}
	return batch
}

// passed moves Next behind the interval that is ahead.
func (b *backfill) passed(interval export.Interval) {
	b.ahead = b.ahead[1:]
	b.progress.Next = interval.End
	if b.backwards() {
		b.progress.Next = interval.Start
	}
}

// continueAsNew goes on in a new execution. The window has drained, so what is carried is all there is; intervals that were
// looked up and not started are looked up again.
func (b *backfill) continueAsNew(ctx workflow.Context) error {
	carried := b.progress
	again := b.Backfill
	again.Carried = &carried
	if b.redo != nil { // not what was published since
		again.RedoBefore = &b.redo.Before
	}
	return workflow.NewContinueAsNewError(ctx, NameBackfill, again)
}

// end is the result. A backfill with runs that failed has failed itself, so that people see it.
func (b *backfill) end(ctx workflow.Context, cause error) (export.BackfillProgress, error) {
	if cause == nil {
		b.progress.State = export.BackfillDone
	}
	b.told(ctx)
	if cause == nil && b.progress.Failed > 0 {
		first := b.progress.Failures[0]
		cause = temporal.NewNonRetryableApplicationError(
			fmt.Sprintf("%d of %s failed; the first, %s: %s. What failed is repeated by: %s",
				b.progress.Failed, plural(b.progress.Intervals, "interval"), first.Interval, first.Error, b.repeat()),
			string(first.Kind), nil, b.progress)
	}
	if cause == nil || temporal.IsCanceledError(cause) {
		return b.progress, cause
	}
	kind, _ := endingOf(cause)
	if err := workflow.UpsertTypedSearchAttributes(ctx, AttributeErrorKind.ValueSet(string(kind))); err != nil {
		workflow.GetLogger(ctx).Error("note the error's kind on the workflow", "error", err)
	}
	return b.progress, cause
}

// repeat is the command that repeats what failed. The ledger does not tell what a redo has failed to do.
func (b *backfill) repeat() string {
	if b.redo == nil {
		return fmt.Sprintf("millrace run %s --failed", b.Definition.Name)
	}
	return fmt.Sprintf("millrace backfill %s --start %s --end %s --redo-before %s", b.Definition.Name,
		b.progress.Span.Start.Format(time.RFC3339), b.progress.Span.End.Format(time.RFC3339), b.redo.Before.Format(time.RFC3339Nano))
}
