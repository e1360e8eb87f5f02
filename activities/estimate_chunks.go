package activities

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

const (
	// maxPlanned is how many intervals of a range are planned one by one. Those that are one chunk by their size need not be.
	maxPlanned = 32
	// tried is how many intervals of another model than `events` are planned in any case: its query may depend on the bounds of
	// the interval, and then count otherwise when it is asked for a whole range.
	tried = 3
)

// count counts the rows of each interval: of one by its plan, of many by one query.
func (e *estimator) count(ctx context.Context, intervals []export.Interval) error {
	if len(intervals) == 1 {
		e.counted = []eventstore.Counted{{Interval: intervals[0]}}
		chunks, err := e.planInterval(ctx, 0)
		if err != nil {
			return err
		}
		for _, chunk := range chunks {
			e.counted[0].Rows, e.counted[0].Bytes = e.counted[0].Rows+chunk.Rows, e.counted[0].Bytes+chunk.Bytes
		}
	} else {
		counted, err := e.Events.CountIntervals(ctx, e.plan(e.answer.Span, e.chunkRows), intervals)
		if err != nil {
			return err
		}
		e.counted = counted
	}
	for _, counted := range e.counted {
		e.answer.Rows, e.answer.ValueBytes = e.answer.Rows+counted.Rows, e.answer.ValueBytes+counted.Bytes
		if counted.Rows == 0 {
			e.answer.Empty++
		}
	}
	return nil
}

// planInterval gives the chunks of an interval, as its run would have them.
func (e *estimator) planInterval(ctx context.Context, i int) ([]export.Chunk, error) {
	if chunks, done := e.planned[i]; done {
		return chunks, nil
	}
	chunks, err := e.Events.PlanChunks(ctx, e.plan(e.counted[i].Interval, e.chunkRows))
	if err != nil {
		return nil, err
	}
	e.planned[i] = chunks
	return chunks, nil
}

// chunksOf gives the chunks of an interval that has rows, without planning one that is a chunk by its size.
func (e *estimator) chunksOf(ctx context.Context, i int) ([]export.Chunk, error) {
	counted := e.counted[i]
	if _, done := e.planned[i]; !done && e.isOneChunk(i) {
		return []export.Chunk{{Rows: counted.Rows, Bytes: counted.Bytes}}, nil
	}
	return e.planInterval(ctx, i)
}

func (e *estimator) isOneChunk(i int) bool {
	return e.plan(e.counted[i].Interval, e.chunkRows).OneChunk(e.counted[i])
}

// bySize lists the intervals that have rows, the smallest first.
func (e *estimator) bySize() []int {
	var filled []int
	for i, counted := range e.counted {
		if counted.Rows > 0 {
			filled = append(filled, i)
		}
	}
	slices.SortStableFunc(filled, func(a, b int) int { return cmp.Compare(e.counted[a].Bytes, e.counted[b].Bytes) })
	return filled
}

// countChunks counts chunks: an interval that is one by its size as one, of the others as many as are planned, and where
// there are too many to plan, as many for their size.
func (e *estimator) countChunks(ctx context.Context) error {
	filled := e.bySize()
	var large []int
	for _, i := range filled {
		if !e.isOneChunk(i) {
			large = append(large, i)
		}
	}
	for _, i := range spread(large, maxPlanned) {
		if _, err := e.planInterval(ctx, i); err != nil {
			return err
		}
	}
	if err := e.try(ctx, filled); err != nil {
		return err
	}
	chunks, full, filling, left := len(filled)-len(large), 0.0, 0.0, 0.0
	for _, i := range large {
		amount := e.plan(e.counted[i].Interval, e.chunkRows).ChunksFor(e.counted[i])
		planned, done := e.planned[i]
		if !done {
			left += amount
			continue
		}
		chunks, full, filling = chunks+len(planned), full+float64(len(planned)), filling+amount
	}
	if left > 0 {
		chunks += int(math.Round(left * full / filling))
	}
	e.answer.Chunks, e.answer.Files, e.answer.ChunksPlanned, e.answer.PlannedIntervals = chunks, chunks, left == 0, len(e.planned)
	return nil
}

// try holds the count of the whole range against that of some intervals by themselves.
func (e *estimator) try(ctx context.Context, filled []int) error {
	if e.definition.Model.BuiltIn() || len(e.counted) == 1 || e.open {
		return nil
	}
	for _, i := range spread(filled, tried) {
		chunks, err := e.planInterval(ctx, i)
		if err != nil {
			return err
		}
		rows := uint64(0)
		for _, chunk := range chunks {
			rows += chunk.Rows
		}
		if rows != e.counted[i].Rows {
			e.note("model %q has %d rows in %s when it is asked for that interval, and %d when it is asked for the whole range: its query depends on the interval's bounds, so a sum over intervals is not known; estimate them one by one",
				e.definition.Model.Name, rows, e.counted[i].Interval, e.counted[i].Rows)
			return nil
		}
	}
	return nil
}

// spread takes at most so many out of a list, evenly.
func spread(all []int, most int) []int {
	if len(all) <= most {
		return all
	}
	var taken []int
	for k := range most {
		taken = append(taken, all[(2*k+1)*len(all)/(2*most)])
	}
	return taken
}
