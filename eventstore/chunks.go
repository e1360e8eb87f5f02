package eventstore

import (
	"context"
	"fmt"
	"strings"

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
// A chunk is cut between two places of (hour, team, arrival time, source), so the rows that one block has of one team stay
// together: a chunk has at most TargetRows rows, or is such a stretch alone.
func (s *Store) PlanChunks(ctx context.Context, query PlanQuery) ([]export.Chunk, error) {
	if err := validateRange(query.Interval, query.Team); err != nil {
		return nil, err
	}
	if query.TargetRows == 0 {
		query.TargetRows = export.DefaultChunkRows
	}
	if query.MaxChunks == 0 {
		query.MaxChunks = export.MaxChunks
	}
	ctx, cancel := bounded(ctx, planTimeout)
	defer cancel()
	what := fmt.Sprintf("plan the chunks of %s", query.Interval)
	cells, err := s.cells(withLog(ctx, query.QueryID, query.LogComment), cellsQuery(query.Interval, query.Team))
	if err != nil {
		return nil, wrap(what, err)
	}
	target := targetFor(cells, query.TargetRows, query.MaxChunks)
	if large := above(cells, target); len(large) > 0 {
		// The second question is named by the server, since a name may be used once at a time.
		fine, err := s.cells(withLog(ctx, "", query.LogComment), fineCellsQuery(query.Interval, query.Team, large))
		if err != nil {
			return nil, wrap(what, err)
		}
		if cells, err = refine(cells, fine, target); err != nil {
			return nil, wrap(what, err)
		}
	}
	return cut(cells, target, query.MaxChunks), nil
}

// cellsQuery counts the rows of an interval by hour and team. The empty source and time zero are before every row's.
func cellsQuery(interval export.Interval, team export.Team) string {
	return "SELECT toInt64(toUnixTimestamp(toStartOfHour(inserted_at))) AS h, team_id, toInt64(0), '', count() FROM events WHERE " +
		rangeOf(interval, team) + " GROUP BY h, team_id ORDER BY h, team_id"
}

// fineCellsQuery counts the rows of some cells by arrival time and source.
func fineCellsQuery(interval export.Interval, team export.Team, cells []cell) string {
	var places []string
	for _, cell := range cells {
		places = append(places, fmt.Sprintf("(%s, %d)", hour(cell.at.Hour), cell.at.Team))
	}
	return "SELECT toInt64(toUnixTimestamp(toStartOfHour(inserted_at))) AS h, team_id, toUnixTimestamp64Micro(inserted_at) AS a, toString(source) AS s, count() FROM events WHERE " +
		rangeOf(interval, team) + " AND (toStartOfHour(inserted_at), team_id) IN (" + strings.Join(places, ", ") + ")" +
		" GROUP BY h, team_id, a, s ORDER BY h, team_id, a, s"
}

// cells reads counts by place, in sort order.
func (s *Store) cells(ctx context.Context, query string) ([]cell, error) {
	rows, err := s.query(ctx, query)
	if err != nil {
		return nil, err
	}
	var cells []cell
	err = eachRow(rows, func() error {
		var c cell
		if err := rows.Scan(&c.at.Hour, &c.at.Team, &c.at.Arrival, &c.at.Source, &c.rows); err != nil {
			return err
		}
		cells = append(cells, c)
		return nil
	})
	return cells, err
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
