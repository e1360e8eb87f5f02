package eventstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/export"
)

// Counted is an interval with what its rows amount to.
type Counted struct {
	export.Interval
	// Rows is their number, and Bytes about how many bytes of values they have, as in a plan.
	Rows, Bytes uint64
}

// maxUneven is how many intervals of different lengths, days of a zone, are counted at once: their starts stand in the query.
const maxUneven = 10_000

// CountIntervals counts the rows of many intervals by one query, which reads what a plan of them all reads first. They follow
// each other without a gap, oldest first, and the query's own Interval is not looked at. Each is answered, also without rows.
func (s *Store) CountIntervals(ctx context.Context, query PlanQuery, intervals []export.Interval) ([]Counted, error) {
	if len(intervals) == 0 {
		return nil, nil
	}
	span := export.Interval{Start: intervals[0].Start, End: intervals[len(intervals)-1].End}
	rows, err := newRelation(span, query.Team, query.Model, query.Columns, query.Filters)
	if err != nil {
		return nil, err
	}
	start, err := rows.startOf(intervals)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx, planTimeout)
	defer cancel()
	by := counted{store: s, rows: rows, logComment: query.LogComment, settings: query.Settings}
	cells, err := by.cells(ctx, by.by(rows.where(), map[string]string{"a": start}))
	if err != nil {
		return nil, ofModel(query.Model, fmt.Sprintf("count the rows of %d intervals of %s", len(intervals), span), err)
	}
	answer := make([]Counted, len(intervals))
	for i, interval := range intervals {
		answer[i].Interval = interval
		if len(cells) > 0 && cells[0].at.Arrival == interval.Start.Unix() {
			answer[i].Rows, answer[i].Bytes, cells = cells[0].rows, cells[0].bytes, cells[1:]
		}
	}
	if len(cells) > 0 {
		return nil, export.Errorf(export.KindInternal, "rows were counted for an interval that begins at %d, and none does", cells[0].at.Arrival)
	}
	return answer, nil
}

// startOf is the expression for the start, in Unix seconds, of the interval that a row is in.
func (r relation) startOf(intervals []export.Interval) (string, error) {
	arrival := fmt.Sprintf("intDiv(toUnixTimestamp64Micro(toDateTime64(%s, 6, 'UTC')), 1000000)", export.QuoteName(r.model.ArrivalColumn()))
	length, even := intervals[0].Length(), true
	for _, interval := range intervals {
		even = even && interval.Length() == length
	}
	if even {
		first := intervals[0].Start.Unix()
		return fmt.Sprintf("%[1]d + intDiv(%[2]s - %[1]d, %[3]d) * %[3]d", first, arrival, int64(length/time.Second)), nil
	}
	if len(intervals) > maxUneven {
		return "", export.Errorf(export.KindConfig, "the range has %d intervals, at most %d days of a time zone are counted at once: give a shorter range", len(intervals), maxUneven)
	}
	starts := make([]string, len(intervals))
	for i, interval := range intervals {
		starts[i] = strconv.FormatInt(interval.Start.Unix(), 10)
	}
	return "toInt64(roundDown(" + arrival + ", [" + strings.Join(starts, ",") + "]))", nil
}

// OneChunk tells that an interval with so many rows and bytes of values is planned as one chunk, by the rule of PlanChunks.
func (q PlanQuery) OneChunk(counted Counted) bool {
	return !q.target().exceededBy(cell{rows: counted.Rows, bytes: counted.Bytes})
}

// ChunksFor is how many chunks an interval of so many rows and bytes would have if all of them were full: one that is planned
// has as many or more.
func (q PlanQuery) ChunksFor(counted Counted) float64 {
	asked := q.target()
	return max(float64(counted.Rows)/float64(asked.rows), float64(counted.Bytes)/float64(asked.bytes))
}
