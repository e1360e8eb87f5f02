package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

// EstimateRuns tells what the runs of a range would read and write. It asks ClickHouse by the queries of the runs themselves,
// which give way to those of live runs as a backfill's do, and the destination and the ledger; it writes nowhere. What is wrong with the destination is part of the answer; an error
// says that the rows could not be counted.
func (s *Steps) EstimateRuns(ctx context.Context, task export.EstimateTask) (export.Estimate, error) {
	if activity.IsActivity(ctx) {
		defer alive(ctx)()
	}
	e := estimator{Steps: s}
	err := e.estimate(ctx, task)
	return e.answer, failure(ctx, err)
}

// estimator is one estimate under way.
type estimator struct {
	*Steps
	definition export.Definition
	answer     export.Estimate
	// told is what the destination says; nil when it cannot be asked.
	told *destinations.Foretold
	// counted has each interval of the range, and planned the chunks of those that were planned, by their place in it; cutFiner
	// has the pieces of those whose chunks are too large to be encoded whole.
	counted  []eventstore.Counted
	planned  map[int][]export.Chunk
	cutFiner map[int][]export.Chunk
	// rule is the plan's, but for the interval: how many rows a chunk holds, and so on.
	rule eventstore.PlanQuery
}

func (e *estimator) estimate(ctx context.Context, task export.EstimateTask) error {
	intervals, err := e.begin(ctx, task)
	if err != nil {
		return err
	}
	e.ask(ctx)
	if len(intervals) == 0 {
		e.answer.BytesFrom, e.answer.ChunksPlanned, e.answer.Source.Tables = export.BytesEncoded, true, []string{}
		return nil
	}
	if err := e.count(ctx, intervals); err != nil {
		return err
	}
	if err := e.countChunks(ctx); err != nil {
		return err
	}
	pieces, err := e.countBytes(ctx)
	if err != nil {
		return err
	}
	if err := e.fitFiles(ctx); err != nil {
		return err
	}
	reads, err := e.Events.EstimateRead(ctx, e.chunk(e.answer.Span, export.Chunk{}))
	if err != nil {
		return err
	}
	e.answer.Source = export.SourceRead{Rows: reads.Rows, Total: reads.Total, Tables: append([]string{}, reads.Tables...)}
	if err := e.lookBack(ctx, task.Redo); err != nil || !task.Sample {
		return err
	}
	return e.sampleRows(ctx, pieces)
}

// begin reads the definition as a plan does, and cuts the range.
func (e *estimator) begin(ctx context.Context, task export.EstimateTask) ([]export.Interval, error) {
	definition, err := destinations.Normalize(task.Definition)
	if err != nil {
		return nil, err
	}
	if e.definition, err = e.describe(ctx, definition); err != nil {
		return nil, err
	}
	grid, err := e.definition.Grid()
	if err != nil {
		return nil, err
	}
	span, err := e.span(ctx, task, grid)
	if err == nil {
		err = task.CheckLength(span)
	}
	if err != nil {
		return nil, err
	}
	var intervals []export.Interval
	if span.Start.Before(span.End) { // else there is no row at all
		if intervals, err = task.Cut(span); err != nil {
			return nil, err
		}
	}
	e.planned, e.cutFiner = map[int][]export.Chunk{}, map[int][]export.Chunk{}
	e.answer = export.Estimate{Export: e.definition.Name, Span: span, Intervals: len(intervals)}
	e.answer.Destination = export.Arrangement{Kind: e.definition.Destination, Columns: []export.PlacedColumn{}}
	e.answer.Incomplete, err = e.incomplete(ctx, e.definition.Model.Settle, span.End)
	e.rule = planQuery(e.definition, e.run(span), e.definition.ChunkRows, "estimate")
	e.rule.Open, e.rule.Settings = e.answer.Incomplete != "", e.bulkReads()
	return intervals, err
}

// span is the range of a task. What was left out is told by ClickHouse's clock, and by the earliest row.
func (e *estimator) span(ctx context.Context, task export.EstimateTask, grid export.Grid) (span export.Interval, err error) {
	if task.Start == nil || task.End == nil {
		now, err := e.Events.Now(ctx)
		if err != nil {
			return span, err
		}
		span = grid.LastEnded(now)
	}
	if task.End != nil {
		span.End = task.End.UTC()
	}
	switch {
	case task.Start != nil:
		span.Start = task.Start.UTC()
	case task.Past:
		earliest, found, err := e.Events.EarliestArrival(ctx, e.definition.Team)
		if err != nil {
			return span, err
		}
		if span.Start = span.End; found && earliest.Before(span.End) {
			span.Start = grid.Containing(earliest).Start
		}
	}
	return span, nil
}

// ask asks the destination how rows would stand there.
func (e *estimator) ask(ctx context.Context) {
	destination, _, err := e.Steps.open(ctx, e.definition)
	if err != nil {
		e.answer.Destination.Problem = err.Error()
		return
	}
	knows, can := destination.(destinations.Foretells)
	if !can {
		columns, _ := e.definition.Exported() // it was described
		e.answer.Destination.Columns = destinations.Placed(columns, func(c export.Column) string { return c.Type })
		return
	}
	told := knows.Foretell(ctx)
	e.told = &told
	e.answer.Destination.Place, e.answer.Destination.Format = told.Place, told.Encoding
	e.answer.Destination.Columns, e.answer.Destination.Problem = told.Columns, told.Problem
}

// recentRuns is how many runs of the ledger are looked at to learn how fast runs are.
const recentRuns = 200

// lookBack reads in the ledger what is published already, which leaves the runs of a redo their work, and how fast runs were.
func (e *estimator) lookBack(ctx context.Context, redo bool) error {
	var recorded []eventstore.Recorded
	var err error
	if !redo {
		if e.answer.Published, err = e.Events.PublishedWithin(ctx, e.definition.Name, e.answer.Span); err != nil {
			return err
		}
		if recorded, err = e.Events.RecordedWithin(ctx, e.definition.Name, e.answer.Span); err != nil {
			return err
		}
	}
	rows := e.left(recorded)
	for _, whose := range []struct{ of, name string }{{export.OfExport, e.definition.Name}, {export.OfAll, ""}} {
		runs, err := e.Events.Runs(ctx, eventstore.RunFilter{Export: whose.name, Limit: recentRuns})
		if err != nil {
			return err
		}
		var past []export.Pace
		for _, run := range runs {
			if run.Status == eventstore.StatusPublished {
				past = append(past, export.Pace{Rows: run.Rows, Took: took(run)})
			}
		}
		if e.answer.Duration = export.NewForecast(whose.of, past, rows); e.answer.Duration != nil {
			return nil
		}
	}
	return nil
}

// left are the rows of each interval that is not recorded as published, by runs of whatever length. One that is published
// in part counts whole.
func (e *estimator) left(recorded []eventstore.Recorded) []uint64 {
	var published, intervals []export.Interval
	for _, one := range recorded {
		if one.Published > 0 {
			published = append(published, one.Interval)
		}
	}
	for _, counted := range e.counted {
		intervals = append(intervals, counted.Interval)
	}
	standings := export.Classify(intervals, export.Known{Published: published})
	var rows []uint64
	for i, counted := range e.counted {
		if standings[i].State != export.StateProved {
			rows = append(rows, counted.Rows)
			e.answer.Left.Runs++
			e.answer.Left.Rows += counted.Rows
		}
	}
	return rows
}

// took is how long a published run took, without its wait for the watermark: from its plan to its publication, or what its steps
// took, and its start and the ways between them with it.
func took(run eventstore.LedgerRow) time.Duration {
	var steps time.Duration
	for step, millis := range run.Durations {
		if step != "waiting" {
			steps += time.Duration(millis) * time.Millisecond
		}
	}
	return max(run.PublishedAt.Sub(run.StartedAt), steps)
}

// sampleRows takes some rows of a piece that was encoded, or of the first interval that has any.
func (e *estimator) sampleRows(ctx context.Context, pieces []piece) error {
	e.answer.Sample = &export.RowSample{Rows: [][]*string{}}
	if len(pieces) == 0 {
		return nil
	}
	rows, cut, err := e.Events.SampleRows(ctx, e.chunk(pieces[0].interval, pieces[0].chunk), export.SampleRows, export.SampleText)
	if len(rows) > 0 {
		e.answer.Sample.Rows, e.answer.Sample.Cut = rows, cut
	}
	return err
}

// chunk names rows of an interval, or of the whole range.
func (e *estimator) chunk(interval export.Interval, chunk export.Chunk) eventstore.ChunkQuery {
	query := chunkQuery(e.definition, e.run(interval), chunk, "estimate")
	query.Settings = e.bulkReads()
	return query
}

// plan asks for the chunks of an interval.
func (e *estimator) plan(interval export.Interval) eventstore.PlanQuery {
	query := e.rule
	query.Interval = interval
	query.LogComment = "millrace estimate " + e.run(interval).String()
	return query
}

func (e *estimator) run(interval export.Interval) export.Run {
	return export.Run{Export: e.definition.Name, Interval: interval, Revision: export.FirstRevision}
}

func (e *estimator) note(format string, args ...any) {
	e.answer.Notes = append(e.answer.Notes, fmt.Sprintf(format, args...))
}
