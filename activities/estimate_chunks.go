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
		counted, err := e.Events.CountIntervals(ctx, e.rule, intervals)
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
	chunks, err := e.Events.PlanChunks(ctx, e.plan(e.counted[i].Interval))
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
	return e.rule.OneChunk(e.counted[i])
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
		amount := e.rule.ChunksFor(e.counted[i])
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

// fitFiles counts chunks again where a file would be larger than the destination takes: the plan of such a run is closed, and
// the next has chunks of as many rows as fit. See export.TooLarge.
func (e *estimator) fitFiles(ctx context.Context) error {
	if e.told == nil || e.told.MaxFile == 0 || e.answer.Rows == 0 {
		return nil
	}
	perAmount := float64(e.answer.Bytes) / amount(e.answer.Rows, e.answer.ValueBytes)
	for range maxCuts {
		largest, err := e.largestChunk(ctx)
		if err != nil {
			return err
		}
		file := perAmount * amount(largest.Rows, largest.Bytes)
		if file <= float64(e.told.MaxFile) || largest.Rows == 1 {
			break
		}
		e.rule.TargetRows = max(1, uint64(float64(largest.Rows)*float64(e.told.MaxFile)/file*roomForLarger))
		clear(e.planned)
		if err := e.countChunks(ctx); err != nil {
			return err
		}
	}
	if e.rule.TargetRows < e.definition.ChunkRows {
		e.note("files of %d rows would be larger than the destination takes: runs close their first revision, and have chunks of about %d rows in the next; make chunk_rows smaller to plan them so at once",
			e.definition.ChunkRows, e.rule.TargetRows)
	}
	return nil
}

const (
	// maxCuts is how many revisions a run closes at most for files that are too large.
	maxCuts = 5
	// roomForLarger is left in a file for rows that are larger than those that were measured.
	roomForLarger = 0.9
)

// largestChunk is the largest of the chunks that are known.
func (e *estimator) largestChunk(ctx context.Context) (largest export.Chunk, err error) {
	for i, counted := range e.counted {
		if _, done := e.planned[i]; !done && (counted.Rows == 0 || !e.isOneChunk(i)) {
			continue
		}
		chunks, err := e.chunksOf(ctx, i)
		if err != nil {
			return largest, err
		}
		for _, chunk := range chunks {
			if amount(chunk.Rows, chunk.Bytes) > amount(largest.Rows, largest.Bytes) {
				largest = chunk
			}
		}
	}
	return largest, nil
}

// try holds the count of the whole range against that of some intervals by themselves, with rows and without.
func (e *estimator) try(ctx context.Context, filled []int) error {
	if e.definition.Model.BuiltIn() || len(e.counted) == 1 || e.rule.Open {
		return nil
	}
	var empty []int
	for i, counted := range e.counted {
		if counted.Rows == 0 {
			empty = append(empty, i)
		}
	}
	for _, i := range slices.Concat(spread(filled, tried), spread(empty, tried)) {
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
