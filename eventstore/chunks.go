package eventstore

import (
	"context"

	"github.com/millrace/millrace/export"
)

// PlanQuery asks for the chunks of an interval.
type PlanQuery struct {
	Interval export.Interval
	Team     export.Team
	// TargetRows is about how many rows a chunk should hold; export.DefaultChunkRows when 0. It grows when more than
	// MaxChunks would come out.
	TargetRows uint64
	// MaxChunks bounds the answer; export.MaxChunks when 0.
	MaxChunks int
	// QueryID names the query at the server and LogComment stands in its log; both may be empty.
	QueryID    string
	LogComment string
}

// PlanChunks cuts an interval, whose end the watermark must have passed, into chunks: disjoint, in sort order, covering,
// each with the number of its rows. The same rows give the same chunks, whoever asks. No row, no chunk.
//
// A chunk is cut between two places of (hour, team, arrival time, source), so a single block is never cut: a chunk has
// at most TargetRows rows, or is one source's rows of one arrival time, that is, one team's rows of one block.
func (s *Store) PlanChunks(ctx context.Context, query PlanQuery) ([]export.Chunk, error) {
	return nil, errNotBuilt
}
