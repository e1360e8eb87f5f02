package eventstore

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/export"
)

// PlanQuery asks for the chunks of an interval.
type PlanQuery struct {
	Interval export.Interval
	Team     export.Team
	// Model is `events` when zero. Another must have its Columns.
	Model export.Model
	// Columns are those that are exported; of `events` the usual ones when nil.
	Columns []export.Column
	Filters []export.Filter
	// TargetRows is about how many rows a chunk should hold, TargetBytes how many bytes of values; the defaults of package
	// export when 0. They grow when more than MaxChunks would come out.
	TargetRows, TargetBytes uint64
	// MaxChunks bounds the answer; export.MaxChunks when 0.
	MaxChunks int
	// Open tells that rows of the interval may still arrive, and chunks are only wanted to see how many there are so far.
	Open bool
	// LogComment stands in the server's query log; it may be empty.
	LogComment string
	// Settings are ClickHouse's for this query, such as priority or max_threads, beyond those that the reading itself needs.
	Settings map[string]string
}

// target is what a chunk may hold, with the defaults of package export.
func (q PlanQuery) target() target {
	asked := target{rows: q.TargetRows, bytes: q.TargetBytes}
	if asked.rows == 0 {
		asked.rows = export.DefaultChunkRows
	}
	if asked.bytes == 0 {
		asked.bytes = export.DefaultChunkBytes
	}
	return asked
}

// PlanChunks cuts an interval, whose end the watermark must have passed unless the query says Open, into chunks: disjoint, in sort order, covering,
// each with the number of its rows. The same rows give the same chunks, whoever asks. No row, no chunk.
//
// A chunk holds no more than the targets, or is a stretch of the sort order that cannot be cut: see histogram.
func (s *Store) PlanChunks(ctx context.Context, query PlanQuery) ([]export.Chunk, error) {
	rows, err := newRelation(query.Interval, query.Team, query.Model, query.Columns, query.Filters)
	if err != nil {
		return nil, err
	}
	if query.MaxChunks == 0 {
		query.MaxChunks = export.MaxChunks
	}
	ctx, cancel := bounded(ctx, planTimeout)
	defer cancel()
	by := counted{store: s, rows: rows, logComment: query.LogComment, settings: query.Settings}
	var counts histogram = eventsHistogram{by}
	if !query.Model.BuiltIn() {
		counts = modelHistogram{by}
	}
	chunks, err := plan(ctx, counts, query.target(), query.MaxChunks, query.Open)
	return chunks, wrap(fmt.Sprintf("plan the chunks of %s", query.Interval), err)
}

// CountRows counts the rows of a chunk, for those who compare; the zero Chunk is the whole interval.
func (s *Store) CountRows(ctx context.Context, interval export.Interval, team export.Team, chunk export.Chunk) (uint64, error) {
	if err := validateRange(interval, team); err != nil {
		return 0, err
	}
	ctx, cancel := bounded(ctx, planTimeout)
	defer cancel()
	var rows uint64
	err := s.ask(ctx, "SELECT count() FROM events WHERE "+rangeOfChunk(interval, team, chunk), nil, &rows)
	return rows, wrap(fmt.Sprintf("count the rows of %s", interval), err)
}
