//go:build bench

package eventstore_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// summaryOf runs a query to its end and gives what the server says that it read for it.
func summaryOf(t *testing.T, store *eventstore.Store, sql string) (rows, bytes uint64) {
	t.Helper()
	address := testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL") + "/?wait_end_of_query=1&database=" + store.Database()
	answer, err := http.Post(address, "text/plain", strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", sql, answer.Status, err, text)
	}
	var told struct {
		Rows  string `json:"read_rows"`
		Bytes string `json:"read_bytes"`
	}
	if err := json.Unmarshal([]byte(answer.Header.Get("X-ClickHouse-Summary")), &told); err != nil {
		t.Fatal(err)
	}
	rows, _ = strconv.ParseUint(told.Rows, 10, 64)
	bytes, _ = strconv.ParseUint(told.Bytes, 10, 64)
	return rows, bytes
}

// One hour out of a table a hundred times that: what is read for a plan, and for the chunks, by the query's own summary.
func TestPlanningOfOneHourInAHundred(t *testing.T) {
	total := 50_000_000
	if text := os.Getenv("MILLRACE_BENCH_ROWS"); text != "" {
		var err error
		if total, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	const hours, teams, granule = 100, 200, 8192
	store := eventstoretest.New(t)
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	began := time.Now()
	eventstoretest.GeneratePast(t, store, eventstoretest.Past{Start: start, Hours: hours, RowsPerHour: total / hours, Teams: teams})
	t.Logf("%d rows in %d hours of %d teams made in %s", total, hours, teams, time.Since(began).Round(time.Second))
	interval := export.Interval{Start: start.Add(50 * time.Hour), End: start.Add(51 * time.Hour)}
	fmt.Printf("%-26s %5s %7s %10s %10s %8s %12s %9s\n", "interval of an hour", "parts", "chunks", "exported", "read", "ratio", "allowed", "plan")
	for _, merged := range []bool{false, true} {
		if merged {
			eventstoretest.Exec(t, "OPTIMIZE TABLE `"+store.Database()+"`.events FINAL")
		}
		for _, test := range []struct {
			name   string
			team   export.Team
			target uint64
		}{
			{"all teams", export.Team{All: true}, 0}, {"all teams, chunks of 50k", export.Team{All: true}, 50_000}, {"all teams, chunks of 10k", export.Team{All: true}, 10_000},
			{"one team", export.Team{ID: 77}, 0}, {"one team, chunks of 1k", export.Team{ID: 77}, 1000},
		} {
			began := time.Now()
			chunks, err := store.PlanChunks(t.Context(), eventstore.PlanQuery{Interval: interval, Team: test.team, TargetRows: test.target})
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			var exported, read uint64
			for _, chunk := range chunks {
				sql, _, _ := strings.Cut(eventstore.ChunkSQL(eventstore.ChunkQuery{Interval: interval, Team: test.team, Chunk: chunk, Encoding: plainJSON}), " FORMAT ")
				rows, _ := summaryOf(t, store, sql+" FORMAT Null")
				exported, read = exported+chunk.Rows, read+rows
			}
			parts := number(t, store, fmt.Sprintf("SELECT uniqExact(_part) FROM events WHERE toStartOfHour(inserted_at) = toDateTime(%d, 'UTC')", interval.Start.Unix()))
			allowed := exported + exported/2
			// Each chunk reads up to a granule beyond either of its bounds in each part, which tells for a team, and for chunks
			// that have hardly more rows than a granule.
			if !test.team.All || test.target > 0 && test.target < 4*granule {
				allowed = exported + 2*granule*parts*uint64(len(chunks))
			}
			fmt.Printf("%-26s %5d %7d %10d %10d %8.3f %12d %9s\n", test.name, parts, len(chunks), exported, read, float64(read)/float64(exported), allowed, took.Round(time.Millisecond))
			if exported == 0 || read > allowed {
				t.Errorf("%s, %d parts: %d rows read for %d, at most %d are allowed", test.name, parts, read, exported, allowed)
			}
		}
	}
}
