package activities

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/export"
)

// measure says how a run of the last interval would be cut, and how much of the tables it would read. An interval without rows
// tells nothing of that, so the latest that has some stands in for it, and is named.
func (s *Steps) measure(ctx context.Context, definition export.Definition) (string, error) {
	now, err := s.Events.Now(ctx)
	if err != nil {
		return "", err
	}
	grid, err := definition.Grid()
	if err != nil {
		return "", err
	}
	last := grid.LastEnded(now)
	found, rows, err := s.measureInterval(ctx, definition, last)
	if err != nil || rows > 0 {
		return found, err
	}
	latest, since, err := s.latestWithRows(ctx, definition, grid, last)
	switch {
	case err != nil: // such as a table that is too large to be looked through in time; the interval itself could be planned
		return fmt.Sprintf("%s; an earlier one that has rows was not found: %v", found, err), nil
	case latest == nil:
		return fmt.Sprintf("%s; none since %s has rows, so how much a run reads is not known", found, since.UTC().Format(time.RFC3339)), nil
	}
	instead, _, err := s.measureInterval(ctx, definition, *latest)
	return fmt.Sprintf("%s has no rows, so the latest that has is measured: %s", last, instead), err
}

// measureInterval plans an interval, and tells the rows that it has. The error is also of one that reads too much.
func (s *Steps) measureInterval(ctx context.Context, definition export.Definition, interval export.Interval) (string, uint64, error) {
	run := export.Run{Export: definition.Name, Interval: interval, Revision: export.FirstRevision}
	chunks, err := s.chunks(ctx, definition, run, definition.ChunkRows)
	if err != nil {
		return "", 0, err
	}
	reads, err := s.Events.EstimateRead(ctx, chunkQuery(definition, run, export.Chunk{}, "estimate"))
	if err != nil {
		return "", 0, err
	}
	rows := uint64(0)
	for _, chunk := range chunks {
		rows += chunk.Rows
	}
	cut := "1 chunk"
	if len(chunks) != 1 {
		cut = fmt.Sprintf("%d chunks", len(chunks))
	}
	found := fmt.Sprintf("%s has %d rows in %s, for which ClickHouse reads ", interval, rows, cut)
	if len(reads.Tables) == 0 { // all parts are ruled out, or the tables are of engines that are not estimated
		found += "nothing that it can estimate"
	} else {
		found += fmt.Sprintf("%d of the %d rows of %s", reads.Rows, reads.Total, strings.Join(reads.Tables, ", "))
	}
	if reads.Rows > tooMuch(rows) {
		return found, rows, export.Errorf(export.KindConfig, "%s, which is too much: bound the table's sort key in the model's query by {%s:DateTime} and {%s:DateTime}, or sort the table by %s",
			found, export.ParameterStart, export.ParameterEnd, definition.Model.ArrivalColumn())
	}
	return found, rows, nil
}

// How far back rows are looked for, and by how much longer each look is than the one before: what all of them read is one
// column of at most so many times the stretch that the rows are away.
const (
	furthestLook = 400 * 24 * time.Hour
	longerLook   = 8
	// lookTime bounds all looks: somebody waits for the answer.
	lookTime = 20 * time.Second
)

// latestWithRows looks for the latest interval before one that has rows, in stretches that grow; nil when there is none since
// the time that it gives.
func (s *Steps) latestWithRows(ctx context.Context, definition export.Definition, grid export.Grid, before export.Interval) (*export.Interval, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	since := before.Start
	for length := longerLook * time.Duration(definition.Every); before.End.Sub(since) < furthestLook; length *= longerLook {
		stretch := export.Interval{Start: since.Add(-min(length, furthestLook)), End: since}
		run := export.Run{Export: definition.Name, Interval: stretch, Revision: export.FirstRevision}
		at, has, err := s.Events.LastArrival(ctx, chunkQuery(definition, run, export.Chunk{}, "look"))
		if err != nil {
			return nil, since, err
		}
		if has {
			return new(grid.Containing(at)), since, nil
		}
		since = stretch.Start
	}
	return nil, since, nil
}

// tooMuch is how many rows may be read at most for so many that are exported: four for each, and a million for tables that
// are small, or joined.
func tooMuch(rows uint64) uint64 { return 4*rows + 1_000_000 }
