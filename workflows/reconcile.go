package workflows

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
)

const (
	// reconciledAtOnce is how many intervals a step looks at, for the sake of its time and of what the destination is asked.
	reconciledAtOnce = 2000
	// compareGiveUp bounds the retries of one run that is compared; what then is not known is told as that.
	compareGiveUp = time.Hour
)

// Reconcile tells where every interval of an export stands since it began, and compares published runs with what ClickHouse and
// the destination have now. It changes nothing, except that it writes the ledger row of a run whose manifest it finds at
// the destination, and what its input asks for besides: see reconcile_heal.go.
//
//	find where the export begins → where does each interval stand? → choose published runs → hash the source, read back → report
//
// The input is the JSON of an export.ReconcileTask, read here and not by the SDK, as that of Export.
func Reconcile(ctx workflow.Context, input json.RawMessage) (export.ReconcileReport, error) {
	task, err := export.ParseReconcile(input)
	r := reconciliation{task: task, report: export.ReconcileReport{Export: task.Definition.Name, Changed: map[export.Change]int{}}}
	if err != nil {
		return r.report, temporal.NewNonRetryableApplicationError(err.Error(), string(export.KindOf(err)), nil)
	}
	if r.grid, err = task.Definition.Grid(); err != nil {
		return r.report, err
	}
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryProgress, func() (export.ReconcileReport, error) { return r.report, nil },
		workflow.QueryHandlerOptions{Description: "what was found so far"}); err != nil {
		return r.report, err
	}
	shows := showsReconciliation(ctx)
	if shows {
		if err := workflow.UpsertTypedSearchAttributes(ctx, AttributeExport.ValueSet(task.Definition.Name)); err != nil {
			return r.report, err
		}
	}
	if err := r.classify(ctx); err != nil {
		return r.report, err
	}
	if err := r.compare(ctx); err != nil {
		return r.report, err
	}
	if err := r.heal(ctx); err != nil {
		return r.report, err
	}
	if shows {
		r.note(ctx)
	}
	return r.report, nil
}

// changeShows marks reconciliations that are found by their export's name, and whose findings are counted.
const changeShows = "show-reconciliation"

func showsReconciliation(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, changeShows, workflow.DefaultVersion, 1) >= 1
}

// note has a worker count what was found and not healed. What it misses is in the result all the same.
func (r *reconciliation) note(ctx workflow.Context) {
	task := activities.NoteTask{Export: r.report.Export, Found: r.report.NotHealed()}
	step := workflow.GetActivityOptions(r.step(ctx, stepTime, tidyTime, "count what was found"))
	step.TaskQueue = QueueControl
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, step), steps.NoteReconciled, task).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Warn("count what a reconciliation has found", "error", err)
	}
}

// reconciliation is one Reconcile.
type reconciliation struct {
	task   export.ReconcileTask
	grid   export.Grid
	report export.ReconcileReport
	// changed are the published runs that are not what they were, by time.
	changed []changedRun
}

// step gives the options of a step, which takes what live runs and chunks of backfills leave.
func (r *reconciliation) step(ctx workflow.Context, attempt, giveUp time.Duration, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: QueueBulk, StartToCloseTimeout: attempt, ScheduleToCloseTimeout: giveUp,
		HeartbeatTimeout: heartbeat, WaitForCancellation: true, RetryPolicy: retries, Summary: summary,
		Priority: temporal.Priority{PriorityKey: priorityVerification, FairnessKey: r.task.Definition.Name},
	})
}

// classify finds the range, and where its intervals stand.
func (r *reconciliation) classify(ctx workflow.Context) error {
	name := r.task.Definition.Name
	var begun activities.Begun
	step := r.step(ctx, stepTime, verifyGiveUp, "find where "+name+" begins")
	if err := workflow.ExecuteActivity(step, steps.FindBegun, activities.BegunTask{Export: name}).Get(ctx, &begun); err != nil {
		return err
	}
	if err := r.span(ctx, begun); err != nil {
		return err
	}
	return r.inPieces(func(piece export.Interval) error {
		var found export.Reconciled
		task := activities.ReconcileTask{Definition: r.task.Definition, Span: piece, Begun: begun, Running: r.running()}
		if err := workflow.ExecuteActivity(r.step(ctx, planTime, verifyGiveUp, "look at "+piece.String()), steps.ReconcileIntervals, task).Get(ctx, &found); err != nil {
			return err
		}
		r.report.Add(found)
		r.show(ctx)
		return nil
	})
}

// inPieces calls each with so many intervals of the range as a step looks at, oldest first.
func (r *reconciliation) inPieces(each func(piece export.Interval) error) error {
	for from := r.report.Span.Start; from.Before(r.report.Span.End); {
		piece := export.Interval{Start: from, End: from}
		for n := 0; n < reconciledAtOnce && piece.End.Before(r.report.Span.End); n++ {
			piece.End = r.grid.Containing(piece.End).End
		}
		if err := each(piece); err != nil {
			return err
		}
		from = piece.End
	}
	return nil
}

// running finds the runs that are under way.
func (r *reconciliation) running() activities.RunningQuery {
	return activities.RunningQuery{
		Query: RunsOf(r.task.Definition.Name) + ` AND ExecutionStatus = "Running"`, End: AttributeIntervalEnd.GetName(), Scheduled: scheduledStart.GetName(), Progress: QueryProgress,
	}
}

// span is the range, as of now.
func (r *reconciliation) span(ctx workflow.Context, begun activities.Begun) error {
	last := r.grid.LastEnded(workflow.Now(ctx))
	span := export.Interval{End: r.grid.LastDue(workflow.Now(ctx))}
	if r.task.End != nil {
		span.End = r.task.End.UTC()
	}
	switch {
	case r.task.Start != nil:
		span.Start = r.task.Start.UTC()
	case begun.First.IsZero():
		return refused("the ledger has no published run of export %s: give a start", r.task.Definition.Name)
	default:
		span.Start = r.grid.Containing(begun.First).Start
	}
	if span.End.After(last.End) {
		return refused("end %s has not ended yet: the last interval that has is %s", span.End.Format(time.RFC3339), last)
	}
	if !span.Start.Before(span.End) {
		return refused("start %s is not before %s, where the range ends", span.Start.Format(time.RFC3339), span.End.Format(time.RFC3339))
	}
	for at := span.Start; at.Before(span.End); at = r.grid.Containing(at).End {
		if r.report.Intervals++; r.report.Intervals > export.MaxReconciled {
			return refused("%s has more than %d intervals: give a later start", span, export.MaxReconciled)
		}
	}
	r.report.Span = span
	return nil
}

func refused(format string, arguments ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, arguments...), string(export.KindConfig), nil)
}

// compare holds published runs against what ClickHouse and the destination have now.
func (r *reconciliation) compare(ctx workflow.Context) error {
	task := activities.ChooseTask{Export: r.task.Definition.Name, Span: r.report.Span, Sample: *r.task.Sample, All: r.task.All, Day: workflow.Now(ctx)}
	var chosen activities.Chosen
	if err := workflow.ExecuteActivity(r.step(ctx, stepTime, verifyGiveUp, "choose the runs to be compared"), steps.ChooseRuns, task).Get(ctx, &chosen); err != nil {
		return err
	}
	r.report.Published = chosen.Published
	found := make([][]export.Finding, len(chosen.Runs))
	sideBySide(ctx, len(chosen.Runs), verifyingAtOnce, func(ctx workflow.Context, i int) {
		found[i] = r.compareRun(ctx, chosen.Runs[i])
		r.report.Compared++
		r.show(ctx)
	})
	for i, findings := range found {
		if reason := r.report.Found(findings); reason != "" {
			r.changed = append(r.changed, changedRun{chosen.Runs[i].Run, reason})
		}
	}
	r.show(ctx)
	return ctx.Err()
}

// sideBySide does n things, so many at once, until they are done or the workflow is cancelled: then it begins no more of them.
func sideBySide(ctx workflow.Context, n int, atOnce int64, do func(ctx workflow.Context, i int)) {
	places := workflow.NewSemaphore(ctx, atOnce)
	group := workflow.NewWaitGroup(ctx)
	for i := range n {
		if err := places.Acquire(ctx, 1); err != nil {
			break // it was cancelled
		}
		group.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer group.Done()
			defer places.Release(1)
			do(ctx, i)
		})
	}
	group.Wait(ctx)
}

// compareRun hashes the source and reads what lies at the destination, both of one run.
func (r *reconciliation) compareRun(ctx workflow.Context, with activities.ComparedTo) (found []export.Finding) {
	untold := func(err error) []export.Finding {
		_, message := endingOf(err)
		return append(found, export.Finding{Run: with.Run, Change: export.ChangeUntold, Chunk: -1, What: message})
	}
	var comparison activities.Comparison
	step := r.step(ctx, planTime, compareGiveUp, "hash the source of "+with.Run.Interval.String())
	if err := workflow.ExecuteActivity(step, steps.CompareRun, activities.CompareTask{Definition: r.task.Definition, With: with}).Get(ctx, &comparison); err != nil {
		return untold(err)
	}
	if comparison.Finding != nil {
		found = append(found, *comparison.Finding)
	}
	if !comparison.Readable {
		return found
	}
	var verified export.Verification
	step = r.step(ctx, verifyTime, verifyTime, "verify "+with.Run.Interval.String())
	if err := workflow.ExecuteActivity(step, steps.VerifyRun, activities.VerifyTask{RunTask: activities.RunTask{Definition: r.task.Definition, Run: with.Run}}).Get(ctx, &verified); err != nil {
		return untold(err)
	}
	return append(found, verified.Findings()...)
}

// show tells people how far it is, and what was found.
func (r *reconciliation) show(ctx workflow.Context) {
	var text strings.Builder
	fmt.Fprintf(&text, "**%s** · %s · %s, %d compared\n", r.report.Export, r.report.Span, plural(r.report.Intervals, "interval"), r.report.Compared)
	for _, state := range export.IntervalStates() {
		if count := r.report.States[state]; count > 0 {
			fmt.Fprintf(&text, "- %s: %d\n", state, count)
		}
	}
	if r.report.Restored > 0 {
		fmt.Fprintf(&text, "- records restored: %d\n", r.report.Restored)
	}
	for _, change := range export.Changes() {
		if count := r.report.Changed[change]; count > 0 {
			fmt.Fprintf(&text, "- %s: %s\n", change, plural(count, "run"))
		}
	}
	for _, revision := range r.report.Revisions {
		if revision.Error == "" {
			fmt.Fprintf(&text, "- exported again: %s, revision %d\n", revision.Run.Interval, revision.Revision)
		} else {
			fmt.Fprintf(&text, "- not to be exported again: %s (%s): %s\n", revision.Run.Interval, revision.Kind, revision.Error)
		}
	}
	if left := r.report.Leftovers; left != nil {
		fmt.Fprintf(&text, "- left over: %s, %s; removed: %d\n", plural(left.Found, "chunk"), bytes(left.Bytes), left.Removed)
	}
	if filling := r.report.Filling; filling != nil {
		fmt.Fprintf(&text, "- filled by workflow %s: %s %s\n", filling.WorkflowID, filling.Span, filling.Note)
	}
	workflow.SetCurrentDetails(ctx, text.String())
}
