//go:build world

package eventstore_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// ordersStart is the beginning of the hour that the orders of the tests are in.
var ordersStart = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// orders is a model over a table that others load: 200,000 rows in an hour, a fifth of them in one microsecond, and as many
// in the hours around it.
func orders(t *testing.T, store *eventstore.Store) export.Model {
	t.Helper()
	table := "`" + store.Database() + "`.orders"
	eventstoretest.Exec(t, "CREATE TABLE "+table+" (id UInt64, shop Nullable(Int32), state LowCardinality(String), amount Decimal(18, 4), note Nullable(String), "+
		"tags Array(String), `odd name` Float64, updated DateTime64(6, 'Europe/Berlin')) ENGINE = MergeTree ORDER BY (updated, id)")
	eventstoretest.Exec(t, fmt.Sprintf("INSERT INTO "+table+" SELECT number, if(number %% 7 = 0, NULL, number %% 5), ['new', 'paid', 'it''s \\t\\\\'][number %% 3 + 1], number / 3, "+
		"if(number %% 2 = 0, NULL, 'x' || number), [toString(number)], number / 7, "+
		"fromUnixTimestamp64Micro(%d + if(number %% 5 = 0, 1800000007, number * 17999 - 3600000000), 'Europe/Berlin') FROM numbers(600000)", ordersStart.UnixMicro()))
	model := export.Model{Name: "orders", Arrival: "updated", Key: []string{"id", "note"}, Version: "updated", Team: "shop", Settle: export.Duration(time.Minute),
		Query: "SELECT * FROM " + table + "\nWHERE updated >= {interval_start:DateTime64(6)} AND updated < {interval_end:DateTime64(6)} -- a comment at the end"}
	described, err := store.Describe(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	return described
}

func TestAModelsQueryIsDescribed(t *testing.T) {
	store := eventstoretest.New(t)
	got := orders(t, store).Columns
	want := []export.Column{
		{Name: "id", Type: "UInt64"}, {Name: "shop", Type: "Nullable(Int32)"}, {Name: "state", Type: "LowCardinality(String)"}, {Name: "amount", Type: "Decimal(18, 4)"},
		{Name: "note", Type: "Nullable(String)"}, {Name: "tags", Type: "Array(String)"}, {Name: "odd name", Type: "Float64"}, {Name: "updated", Type: "DateTime64(6, 'Europe/Berlin')"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("described otherwise (-want +got):\n%s", diff)
	}
}

func TestABadModelIsToldInFull(t *testing.T) {
	store := eventstoretest.New(t)
	good := orders(t, store)
	for name, test := range map[string]struct {
		change func(*export.Model)
		kind   export.Kind
		want   string
	}{
		"syntax":        {func(m *export.Model) { m.Query = "SELEC 1" }, export.KindConfig, "describe its query: ClickHouse cannot run it"},
		"no table":      {func(m *export.Model) { m.Query = "SELECT * FROM nowhere" }, export.KindConfig, "nowhere"},
		"no column":     {func(m *export.Model) { m.Query = "SELECT id, price FROM " + store.Database() + ".orders" }, export.KindConfig, "price"},
		"not bound":     {func(m *export.Model) { m.Query = "SELECT {since:DateTime} AS updated, 1 AS id" }, export.KindConfig, "since"},
		"not a select":  {func(m *export.Model) { m.Query = "DROP TABLE orders" }, export.KindConfig, "describe its query"},
		"two in one":    {func(m *export.Model) { m.Query = "SELECT 1) UNION ALL (SELECT 2" }, export.KindConfig, "arrival: \"updated\" is no column"},
		"arrival":       {func(m *export.Model) { m.Arrival = "created" }, export.KindConfig, `model "orders": arrival: "created" is no column of its query: select it, or name one of id, shop, state, amount, note, tags, odd name, updated`},
		"arrival kind":  {func(m *export.Model) { m.Arrival = "id" }, export.KindConfig, `model "orders": arrival: "id" is UInt64, and must be DateTime or DateTime64 of at most 6 digits: select toDateTime64(id, 6, 'UTC')`},
		"arrival null":  {func(m *export.Model) { m.Query = "SELECT toNullable(now()) AS updated, 1 AS id, '' AS note, 1 AS shop" }, export.KindConfig, `arrival: "updated" is Nullable(DateTime), and a row without an arrival time is in no interval`},
		"key":           {func(m *export.Model) { m.Key = []string{"nr"} }, export.KindConfig, `key: "nr" is no column`},
		"version":       {func(m *export.Model) { m.Version = "v" }, export.KindConfig, `version: "v" is no column`},
		"team":          {func(m *export.Model) { m.Team = "note" }, export.KindConfig, `model "orders": team: "note" is String, and must be a whole number`},
		"nanoseconds":   {func(m *export.Model) { m.Query = "SELECT now64(9) AS updated, 1 AS id, '' AS note, 1 AS shop" }, export.KindConfig, `"updated" is DateTime64(9), and must be`},
		"somebody else": {func(m *export.Model) { m.Query = "SELECT id FROM nowhere.orders" }, export.KindConfig, "nowhere"},
	} {
		model := good
		test.change(&model)
		_, err := store.Describe(t.Context(), model)
		if err == nil || export.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v (kind %s), want %q of kind %s", name, err, export.KindOf(err), test.want, test.kind)
		}
	}
}

// readRows reads what chunks hold, as lines of JSON, sorted.
func readRows(t *testing.T, store *eventstore.Store, query eventstore.ChunkQuery, chunks []export.Chunk) []string {
	t.Helper()
	var all []string
	for _, chunk := range chunks {
		query.Chunk, query.Encoding = chunk, plainJSON
		lines := strings.Split(strings.TrimSuffix(string(readChunk(t, store, query)), "\n"), "\n")
		if uint64(len(lines)) != chunk.Rows {
			t.Errorf("chunk %d has %d rows, planned were %d", chunk.Index, len(lines), chunk.Rows)
		}
		all = append(all, lines...)
	}
	slices.Sort(all)
	return all
}

func TestAModelIsCutIntoChunksThatCoverEachRowOnce(t *testing.T) {
	store := eventstoretest.New(t)
	model := orders(t, store)
	interval := export.Interval{Start: ordersStart, End: ordersStart.Add(time.Hour)}
	text := func(values ...string) (list []json.RawMessage) {
		for _, value := range values {
			encoded, _ := json.Marshal(value)
			list = append(list, encoded)
		}
		return list
	}
	for name, test := range map[string]struct {
		team    export.Team
		filters []export.Filter
		where   string
	}{
		"all":          {export.Team{All: true}, nil, "1"},
		"a team":       {export.Team{ID: 3}, nil, "shop = 3"},
		"included":     {export.Team{All: true}, []export.Filter{{Column: "state", Include: text("new", "it's \t\\")}}, "state != 'paid'"},
		"excluded":     {export.Team{All: true}, []export.Filter{{Column: "note", Exclude: text("x1", "x3")}}, "ifNull(note, '') NOT IN ('x1', 'x3')"},
		"numbers":      {export.Team{All: true}, []export.Filter{{Column: "shop", Include: []json.RawMessage{[]byte("1"), []byte("4")}}, {Column: "amount", AtLeast: []byte("1000.5")}}, "shop IN (1, 4) AND amount >= 1000.5"},
		"times, below": {export.Team{All: true}, []export.Filter{{Column: "updated", Below: text("2026-03-01 11:20:00.000000")[0]}}, "updated < toDateTime64('2026-03-01 11:20:00', 6, 'Europe/Berlin')"},
	} {
		t.Run(name, func(t *testing.T) {
			query := eventstore.ChunkQuery{Interval: interval, Team: test.team, Model: model, Columns: model.Columns, Filters: test.filters}
			whole, err := store.ChunkContent(t.Context(), query)
			if err != nil {
				t.Fatal(err)
			}
			want := number(t, store, fmt.Sprintf("SELECT count() FROM orders WHERE toStartOfHour(updated) = toDateTime(%d) AND %s", ordersStart.Unix(), test.where))
			if whole.Rows != want || want == 0 {
				t.Fatalf("%d rows are selected, the table has %d", whole.Rows, want)
			}
			for _, target := range []uint64{1000, 7000, 50_000} {
				chunks, err := store.PlanChunks(t.Context(), eventstore.PlanQuery{Interval: interval, Team: test.team, Model: model, Columns: model.Columns, Filters: test.filters, TargetRows: target})
				if err != nil {
					t.Fatal(err)
				}
				var sum export.Content
				for _, chunk := range chunks {
					query.Chunk = chunk
					content, err := store.ChunkContent(t.Context(), query)
					if err != nil {
						t.Fatal(err)
					}
					if content.Rows != chunk.Rows || chunk.Rows > target {
						t.Errorf("target %d: chunk %d has %d rows, planned were %d", target, chunk.Index, content.Rows, chunk.Rows)
					}
					sum = sum.Plus(content)
				}
				if sum != whole {
					t.Errorf("target %d: %d chunks hold %s, the interval %s", target, len(chunks), sum, whole)
				}
			}
		})
	}
	chunks, err := store.PlanChunks(t.Context(), eventstore.PlanQuery{Interval: interval, Team: export.Team{ID: 2}, Model: model, Columns: model.Columns[:3], TargetRows: 3000})
	if err != nil {
		t.Fatal(err)
	}
	lines := readRows(t, store, eventstore.ChunkQuery{Interval: interval, Team: export.Team{ID: 2}, Model: model, Columns: model.Columns[:3]}, chunks)
	if len(slices.Compact(lines)) != len(lines) || !strings.HasPrefix(lines[0], `{"id":`) || strings.Contains(lines[0], "amount") {
		t.Errorf("%d lines, of them %d different, such as %s", len(lines), len(slices.Compact(lines)), lines[0])
	}
}

// Chunks of a table that is sorted by arrival read little more than they hold, though the bounds are outside of the query.
func TestAModelsChunksReadLittleMoreThanTheyHold(t *testing.T) {
	store := eventstoretest.New(t)
	model := orders(t, store)
	model.Query = "SELECT * FROM `" + store.Database() + "`.orders" // no bounds of its own
	interval := export.Interval{Start: ordersStart, End: ordersStart.Add(time.Hour)}
	query := eventstore.ChunkQuery{Interval: interval, Team: export.Team{All: true}, Model: model, Columns: model.Columns}
	estimate, err := store.EstimateRead(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := store.ChunkContent(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	if estimate.Total != 600_000 || estimate.Rows < whole.Rows || estimate.Rows > whole.Rows+3*8192 || !slices.Equal(estimate.Tables, []string{store.Database() + ".orders"}) {
		t.Errorf("%d rows are exported, the estimate is %+v", whole.Rows, estimate)
	}
	model.Query = "SELECT * FROM `" + store.Database() + "`.orders WHERE sleep(0) = 0 ORDER BY amount LIMIT 1000000"
	if estimate, err = store.EstimateRead(t.Context(), eventstore.ChunkQuery{Interval: interval, Team: export.Team{All: true}, Model: model, Columns: model.Columns}); err != nil || estimate.Rows != estimate.Total {
		t.Errorf("a query that reads all is estimated as %+v, %v", estimate, err)
	}
}

func TestTheLatestArrivalIsThatOfRowsThatAreTaken(t *testing.T) {
	store := eventstoretest.New(t)
	model := orders(t, store)
	look := func(interval export.Interval, filters ...export.Filter) (time.Time, bool) {
		t.Helper()
		at, has, err := store.LastArrival(t.Context(), eventstore.ChunkQuery{Interval: interval, Team: export.Team{All: true}, Model: model, Columns: model.Columns, Filters: filters})
		if err != nil {
			t.Fatal(err)
		}
		return at, has
	}
	hour := export.Interval{Start: ordersStart, End: ordersStart.Add(time.Hour)}
	want := number(t, store, fmt.Sprintf("SELECT toUInt64(toUnixTimestamp64Micro(max(updated))) FROM orders WHERE updated < toDateTime(%d)", hour.End.Unix()))
	if at, has := look(hour); !has || at.UnixMicro() != int64(want) {
		t.Errorf("%s (%t), want %s", at, has, time.UnixMicro(int64(want)).UTC())
	}
	if at, has := look(hour, export.Filter{Column: "state", Include: []json.RawMessage{[]byte(`"nowhere"`)}}); has {
		t.Errorf("of no rows: %s", at)
	}
	if at, has := look(export.Interval{Start: hour.Start.Add(-9000 * time.Hour), End: hour.Start.Add(-8000 * time.Hour)}); has {
		t.Errorf("before all rows: %s", at)
	}
	events := eventstore.ChunkQuery{Interval: hour, Team: export.Team{All: true}}
	if at, has, err := store.LastArrival(t.Context(), events); err != nil || has {
		t.Errorf("of an empty table: %s, %t, %v", at, has, err)
	}
	eventstoretest.LoadPast(t, store, blockOf(testworld.Rand(t), "kafka/topic/0", 1, hour.Start.Add(time.Minute+time.Microsecond), 5, 1))
	if at, has, err := store.LastArrival(t.Context(), events); err != nil || !has || !at.Equal(hour.Start.Add(time.Minute+time.Microsecond)) {
		t.Errorf("of events: %s, %t, %v", at, has, err)
	}
}
