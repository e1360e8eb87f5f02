//go:build world

package eventstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// Many intervals are counted at once as each is by itself: of a grid in UTC, of days of 23 and 25 hours, and of weeks.
func TestManyIntervalsAreCountedAsOneByOne(t *testing.T) {
	store := eventstoretest.New(t)
	random := testworld.Rand(t)
	spans := map[string]export.Interval{
		"spring": {Start: time.Date(2026, 3, 22, 23, 0, 0, 0, time.UTC), End: time.Date(2026, 4, 5, 22, 0, 0, 0, time.UTC)},
		"autumn": {Start: time.Date(2026, 10, 18, 22, 0, 0, 0, time.UTC), End: time.Date(2026, 11, 1, 23, 0, 0, 0, time.UTC)},
	}
	var blocks []eventstore.Block
	offset := uint64(0)
	for _, span := range spans {
		grid, err := export.NewGrid(export.Duration(24*time.Hour), 0, "Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		days, err := grid.Split(span)
		if err != nil {
			t.Fatal(err)
		}
		var arrivals []time.Time
		for _, day := range days {
			arrivals = append(arrivals, day.Start, day.End.Add(-time.Microsecond))
		}
		for range 60 {
			arrivals = append(arrivals, span.Start.Add(time.Duration(random.Int64N(int64(span.Length())))).Truncate(time.Microsecond))
		}
		for _, arrival := range arrivals {
			rows := 1 + random.IntN(30)
			blocks = append(blocks, blockOf(random, "c/t/0", offset, arrival, rows, 1, 2, 1))
			offset += uint64(rows)
		}
	}
	eventstoretest.LoadPast(t, store, blocks...)
	for name, span := range spans {
		for _, grid := range []struct {
			every export.Duration
			zone  string
			count int
		}{{export.Duration(time.Hour), "", 0}, {export.Duration(24 * time.Hour), "Europe/Berlin", 14}, {export.Duration(7 * 24 * time.Hour), "Europe/Berlin", 2}} {
			made, err := export.NewGrid(grid.every, 0, grid.zone)
			if err != nil {
				t.Fatal(err)
			}
			intervals, err := made.Split(span)
			if err != nil || grid.count > 0 && len(intervals) != grid.count {
				t.Fatalf("%d intervals, %v", len(intervals), err)
			}
			for _, team := range []export.Team{{All: true}, {ID: 2}, {ID: 4711}} {
				if grid.zone == "" && !team.All {
					continue // 336 more plans would tell nothing new
				}
				got, err := store.CountIntervals(t.Context(), eventstore.PlanQuery{Team: team}, intervals)
				if err != nil || len(got) != len(intervals) {
					t.Fatalf("%s, %s: %d answers, %v", name, grid.every, len(got), err)
				}
				for i, counted := range got {
					want := eventstore.Counted{Interval: intervals[i]}
					chunks, err := store.PlanChunks(t.Context(), eventstore.PlanQuery{Interval: intervals[i], Team: team})
					if err != nil || len(chunks) > 1 {
						t.Fatalf("%d chunks, %v", len(chunks), err)
					}
					for _, chunk := range chunks {
						want.Rows, want.Bytes = chunk.Rows, chunk.Bytes
					}
					if diff := cmp.Diff(want, counted); diff != "" {
						t.Errorf("%s, every %s %s, team %s (-planned +counted):\n%s", name, grid.every, grid.zone, team, diff)
					}
				}
			}
		}
	}
}

// An interval that is one chunk by its size is planned as one, and others have at least as many as would be full.
func TestChunksAreToldFromSizesByTheRuleOfThePlan(t *testing.T) {
	store := eventstoretest.New(t)
	model := orders(t, store)
	grid, err := export.NewGrid(export.Duration(10*time.Minute), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	intervals, err := grid.Split(export.Interval{Start: ordersStart.Add(-time.Hour), End: ordersStart.Add(2 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	query := eventstore.PlanQuery{Team: export.Team{All: true}, Model: model, Columns: model.Columns, TargetRows: 40_000}
	counted, err := store.CountIntervals(t.Context(), query, intervals)
	if err != nil {
		t.Fatal(err)
	}
	ones, others := 0, 0
	for i, c := range counted {
		query.Interval = intervals[i]
		chunks, err := store.PlanChunks(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case c.Rows > 0 && query.OneChunk(c):
			ones++
			if len(chunks) != 1 || chunks[0].Rows != c.Rows || chunks[0].Bytes != c.Bytes {
				t.Errorf("%s: counted were %d rows, planned are %+v", c.Interval, c.Rows, chunks)
			}
		case c.Rows > 0:
			others++
			if full := query.ChunksFor(c); float64(len(chunks)) < full || float64(len(chunks)) > 2*full+1 {
				t.Errorf("%s: %d chunks of %.1f that would be full", c.Interval, len(chunks), full)
			}
		}
	}
	if ones == 0 || others == 0 {
		t.Errorf("%d intervals are one chunk, and %d are not: both have to be seen", ones, others)
	}
}

// A sample has values of every type as text, cut by ClickHouse, and rows from all over the chunk.
func TestASampleHasValuesAsPeopleReadThem(t *testing.T) {
	store := eventstoretest.New(t)
	model := orders(t, store)
	model.Query = strings.Replace(model.Query, "SELECT *", "SELECT * REPLACE (repeat('ü', 50) AS note)", 1)
	query := eventstore.ChunkQuery{Interval: export.Interval{Start: ordersStart, End: ordersStart.Add(time.Hour)}, Team: export.Team{All: true}, Model: model, Columns: model.Columns}
	rows, cut, err := store.SampleRows(t.Context(), query, 10, 40)
	if err != nil || len(rows) != 10 || cut != 10 {
		t.Fatalf("%d rows, %d values were cut, %v", len(rows), cut, err)
	}
	shops := map[string]bool{}
	for _, row := range rows {
		for i, column := range model.Columns {
			value := row[i]
			switch {
			case value == nil && column.Name == "shop":
				shops["NULL"] = true
			case value == nil:
				t.Errorf("%s is NULL", column.Name)
			case column.Name == "note" && *value != strings.Repeat("ü", 40):
				t.Errorf("note is %q", *value)
			case column.Name == "tags" && (!strings.HasPrefix(*value, `["`) || *value != `["`+*row[0]+`"]`):
				t.Errorf("tags are %q of %q", *value, *row[0])
			case column.Name == "shop":
				shops[*value] = true
			}
		}
	}
	if len(shops) < 2 {
		t.Errorf("all ten rows are of the shops %v", shops)
	}
	none, cut, err := store.SampleRows(t.Context(), eventstore.ChunkQuery{Interval: query.Interval, Team: export.Team{All: true}}, 10, 40)
	if err != nil || len(none) != 0 || cut != 0 {
		t.Errorf("no row is sampled as %v, %v", none, err)
	}
}
