//go:build world

package eventstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
)

// rowsRead runs a query and tells how many rows the server read for it.
func rowsRead(t *testing.T, store *eventstore.Store, sql string) uint64 {
	t.Helper()
	var read uint64
	ctx := clickhouse.Context(t.Context(), clickhouse.WithProgress(func(p *clickhouse.Progress) { read += p.Rows }))
	var rows uint64
	if err := store.Conn().QueryRow(ctx, "SELECT count() FROM ("+sql+")").Scan(&rows); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return read
}

// chunkSelect is the query of a chunk without its format, made to read every column.
func chunkSelect(query eventstore.ChunkQuery) string {
	query.Encoding = plainJSON
	sql, _, _ := strings.Cut(eventstore.ChunkSQL(query), " FORMAT ")
	return "SELECT cityHash64(*) FROM (" + sql + ") WHERE NOT ignore(*)"
}

// An interval of all teams reads hardly more rows than it exports, and one team's only its own stretch of each hour, also
// in chunks: the sum over all chunks counts.
func TestIntervalsReadLittleMoreThanTheyExport(t *testing.T) {
	store := eventstoretest.New(t)
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	const granule = 8192
	eventstoretest.Exec(t, "SYSTEM STOP MERGES `"+store.Database()+"`.events")
	eventstoretest.GeneratePast(t, store, eventstoretest.Past{Start: start, Hours: 4, RowsPerHour: 300_000, Teams: 50})
	// Each bound of a chunk costs at most two granules in each part.
	little := func(exported, parts, chunks uint64) uint64 { return exported + 2*granule*parts*chunks }
	for _, merged := range []bool{false, true} {
		if merged {
			eventstoretest.Exec(t, "SYSTEM START MERGES `"+store.Database()+"`.events")
			eventstoretest.Exec(t, "OPTIMIZE TABLE `"+store.Database()+"`.events FINAL")
		}
		for name, test := range map[string]struct {
			hours  int
			team   export.Team
			target uint64
		}{
			"an hour of all":                 {1, export.Team{All: true}, 10_000_000},
			"four hours of all":              {4, export.Team{All: true}, 10_000_000},
			"four hours of all, in chunks":   {4, export.Team{All: true}, 100_000},
			"two hours of one team":          {2, export.Team{ID: 7}, 10_000_000},
			"an hour of one team, in chunks": {1, export.Team{ID: 7}, 2_000},
		} {
			interval := export.Interval{Start: start.Add(time.Hour), End: start.Add(time.Hour + time.Duration(test.hours)*time.Hour)}
			if test.hours == 4 {
				interval = export.Interval{Start: start, End: start.Add(4 * time.Hour)}
			}
			chunks, err := store.PlanChunks(t.Context(), eventstore.PlanQuery{Interval: interval, Team: test.team, TargetRows: test.target})
			if err != nil {
				t.Fatal(err)
			}
			var exported, read uint64
			parts := number(t, store, partsOfEvents)
			for _, chunk := range chunks {
				exported += chunk.Rows
				read += rowsRead(t, store, chunkSelect(eventstore.ChunkQuery{Interval: interval, Team: test.team, Chunk: chunk}))
			}
			t.Logf("%s, %d parts: %d rows in %d chunks, %d read, %s", name, parts, exported, len(chunks), read, fmt.Sprintf("%.3f", float64(read)/float64(exported)))
			if exported == 0 || read > little(exported, parts*uint64(test.hours), uint64(len(chunks))) ||
				len(chunks) == 1 && test.team.All && read > exported*3/2 {
				t.Errorf("%s, %d parts: %d rows read for %d", name, parts, read, exported)
			}
		}
	}
}
