//go:build world

package promises

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/workflows"
)

// ordersFile is a configuration with a model of one's own, as docs/models.md has one, and an export of it.
const ordersFile = `
models:
  - name: orders
    query: |
      SELECT id, shop, state, customer, note, updated_at FROM %[1]s.orders
      WHERE updated_at >= {interval_start:DateTime64(6)} AND updated_at < {interval_end:DateTime64(6)}
    arrival: updated_at
    key: [id]
    version: updated_at
    team: shop
    settle: 10m
exports:
  - name: shop-orders
    team: 1
    model: orders
    connection: %[2]s
    every: 1h
    chunk_rows: 1000
    filters:
      - {column: state, exclude: [draft, "it's \\ odd"]}
    %[3]s
`

// orders makes a table that Millrace does not load, and parses the file. Each hour has 5,000 rows of two shops, half of them
// at one time, some of states that the export excludes; an order is there in several hours, and is newer in the later.
func (t *thread) orders(connection, block string) export.Definition {
	t.Helper()
	database := t.events.Database()
	eventstoretest.Exec(t.T, fmt.Sprintf("CREATE TABLE `%s`.orders (id UUID, shop Int64, state String, customer Nullable(String), note String, updated_at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY (shop, updated_at)", database))
	for n := range 3 {
		eventstoretest.Exec(t.T, fmt.Sprintf("INSERT INTO `%s`.orders SELECT reinterpretAsUUID(toUInt128(number)), number %% 2 + 1, ['draft', 'paid', 'it''s \\\\ odd', 'sent'][intDiv(number, 2) %% 4 + 1], "+
			"if(number %% 3 = 0, NULL, 'c' || number), 'hour %d \\t\\n,\"', fromUnixTimestamp64Micro(%d + if(intDiv(number, 8) %% 2 = 0, 7, number * 700000), 'UTC') FROM numbers(5000)", database, n, hour(n).Start.UnixMicro()))
	}
	read, err := config.Parse("millrace.yaml", fmt.Appendf(nil, ordersFile, database, connection, block))
	if err != nil {
		t.Fatal(err)
	}
	definition, err := read.Export("shop-orders")
	if err != nil {
		t.Fatal(err)
	}
	return definition
}

// taken is how many rows of an hour the export of shop 1 has to have.
const taken = "SELECT count() FROM %s.orders WHERE shop = 1 AND state NOT IN ('draft', 'it''s \\\\ odd') AND toStartOfHour(updated_at) = toDateTime(%d, 'UTC')"

func (t *thread) exportHours(definition export.Definition, hours int) []export.Outcome {
	t.Helper()
	var outcomes []export.Outcome
	for n := range hours {
		interval := hour(n)
		run, err := t.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: fmt.Sprintf("%s %d", definition.Name, n), TaskQueue: workflows.QueueControl},
			workflows.NameExport, export.Input{Definition: definition, Start: &interval.Start, End: &interval.End})
		if err != nil {
			t.Fatal(err)
		}
		outcomes = append(outcomes, t.outcome(run.GetID(), run.GetRunID()))
	}
	return outcomes
}

func (t *thread) number(format string, args ...any) (n uint64) {
	t.Helper()
	if _, err := fmt.Sscan(string(t.query(fmt.Sprintf(format, args...))), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAModelOfOnesOwnIsExportedAndProved(tt *testing.T) {
	for _, format := range []string{"parquet", "jsoneachrow", "csv", "arrow"} {
		tt.Run(format, func(tt *testing.T) {
			tt.Parallel()
			t := newThread(tt)
			definition := t.orders("lake", fmt.Sprintf("s3: {prefix: orders, format: %s}", format))
			t.work()
			for n, outcome := range t.exportHours(definition, 2) {
				if want := t.number(taken, t.events.Database(), hour(n).Start.Unix()); outcome.Rows != want || want == 0 {
					t.Errorf("%s: %d rows were exported, the table has %d", hour(n), outcome.Rows, want)
				}
			}
			for key, manifest := range t.manifests() {
				var names []string
				for _, column := range manifest.Columns {
					names = append(names, column.Name+" "+column.Type)
				}
				if got := strings.Join(names, ", "); got != "id UUID, shop Int64, state String, customer Nullable(String), note String, updated_at DateTime64(6, 'UTC')" {
					t.Errorf("%s: the manifest has the columns %s", key, got)
				}
				if manifest.Closing.Rule != export.RuleSettle || manifest.Closing.Settle.String() != "10m" {
					t.Errorf("%s was closed by %+v", key, manifest.Closing)
				}
				if manifest.Proof.Level != export.ProofReadback || manifest.Proof.Stored == nil || *manifest.Proof.Stored != *manifest.Proof.Source || len(manifest.Receipts) < 2 {
					t.Errorf("%s is proved by %+v in %d chunks", key, manifest.Proof, len(manifest.Receipts))
				}
			}
			rows, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: "shop-orders"})
			if err != nil || len(rows) != 2 || rows[0].Model != "orders" || rows[0].Closing.Rule != export.RuleSettle {
				t.Errorf("the ledger has %+v, %v", rows, err)
			}
			report, err := t.starter.Verify(t.Context(), definition, export.Interval{Start: hour(0).Start, End: hour(1).End})
			if err != nil || !report.Whole() {
				t.Errorf("verify says %+v, %v", report, err)
			}
		})
	}
}

// An order that comes again in a later hour takes the place of the older one in the table, whichever hour is exported last.
func TestAModelOfOnesOwnIsMergedByItsVersion(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	w := newWarehouse(t)
	definition := t.orders("warehouse", fmt.Sprintf("postgres: {schema: %s, mode: merge, create: true}", w.schema))
	t.work()
	t.exportHours(definition, 3)
	if got := w.list(t, "SELECT DISTINCT left(note, 6) FROM %s.orders"); !slices.Equal(got, []string{"hour 2"}) {
		t.Errorf("the table has the notes %q", got)
	}
	want := t.number("SELECT uniqExact(id) FROM %s.orders WHERE shop = 1 AND state NOT IN ('draft', 'it''s \\\\ odd')", t.events.Database())
	if got := w.list(t, "SELECT count(*)::text FROM %s.orders"); !slices.Equal(got, []string{fmt.Sprint(want)}) {
		t.Errorf("the table has %v rows, the export %d orders", got, want)
	}
}

func TestCheckTellsWhatIsWrongWithAModel(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	good := t.orders("lake", "s3: {prefix: orders}")
	t.work()
	for name, test := range map[string]struct {
		change func(*export.Definition)
		want   string // of a step that failed; "" when none does
	}{
		"good":      {func(*export.Definition) {}, ""},
		"no column": {func(d *export.Definition) { d.Model.Arrival = "created_at" }, `model "orders": arrival: "created_at" is no column of its query: select it, or name one of id, shop, state, customer, note, updated_at`},
		"no table":  {func(d *export.Definition) { d.Model.Query = "SELECT * FROM nowhere" }, "nowhere"},
		"a filter":  {func(d *export.Definition) { d.Filters[0].Column = "status" }, `filters: "status" is no column of the model`},
		"its value": {func(d *export.Definition) { d.Filters = []export.Filter{{Column: "shop", AtLeast: []byte(`"many"`)}} }, "many"},
		"a type": {func(d *export.Definition) {
			d.Model.Query = strings.Replace(d.Model.Query, "note,", "note, CAST('12:34:56' AS Time) AS hour,", 1)
		}, `column "hour" is Time: select toString(hour) AS hour in the model's query, or use another format`},
		"scans a lot": {func(d *export.Definition) { d.Model.Query = "SELECT * FROM " + t.events.Database() + ".large" }, "which is too much: bound the table's sort key in the model's query"},
	} {
		if name == "scans a lot" {
			eventstoretest.Exec(t.T, fmt.Sprintf("CREATE TABLE `%s`.large ENGINE = MergeTree ORDER BY id AS SELECT reinterpretAsUUID(toUInt128(number)) AS id, toInt64(1) AS shop, 'paid' AS state, toDateTime64('2026-03-01 00:00:00', 6, 'UTC') AS updated_at FROM numbers(1200000)", t.events.Database()))
		}
		definition := good
		definition.Filters = slices.Clone(good.Filters)
		test.change(&definition)
		report, err := t.starter.Check(t.Context(), activities.CheckTask{Connection: "lake", Definition: &definition})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var failed string
		for _, step := range report.Steps {
			failed += step.Error
			// The last hour is empty; the orders are of an hour long ago.
			if said := fmt.Sprintf("has no rows, so the latest that has is measured: %s has ", hour(2)); name == "good" && step.Name == "plan the last interval" && !strings.Contains(step.Detail, said) {
				t.Errorf("the plan says %q, want %q", step.Detail, said)
			}
			if strings.HasSuffix(step.Detail, " ") {
				t.Errorf("%s: step %q ends in the middle: %q", name, step.Name, step.Detail)
			}
		}
		if report.OK != (test.want == "") || !strings.Contains(failed, test.want) {
			t.Errorf("%s: %+v, want %q", name, report, test.want)
		}
	}
}

// The guide's configuration is the example's, it loads, and an hour of the guide's table is exported with it.
func TestTheGuideToModels(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	example, err := os.ReadFile("../examples/models.yaml")
	if err != nil {
		t.Fatal(err)
	}
	own := strings.NewReplacer("sales.orders", t.events.Database()+".orders")
	for _, block := range blocks(t.T, "../docs/models.md") {
		switch block.language {
		case "yaml":
			if block.text != string(example) {
				t.Error("the guide's configuration is not examples/models.yaml")
			}
		case "sql":
			eventstoretest.Exec(t.T, own.Replace(block.text))
		}
	}
	eventstoretest.Exec(t.T, fmt.Sprintf("INSERT INTO `%s`.orders SELECT generateUUIDv4(), number %% 2 + 1, ['paid', 'draft'][number %% 3 %% 2 + 1], number / 100, fromUnixTimestamp64Micro(%d + number, 'UTC') FROM numbers(1000)",
		t.events.Database(), hour(0).Start.UnixMicro()))
	read, err := config.Parse("millrace.yaml", []byte(own.Replace(string(example))))
	if err != nil {
		t.Fatal(err)
	}
	definition, err := read.Export("shop-orders")
	if err != nil {
		t.Fatal(err)
	}
	t.work()
	want := t.number("SELECT count() FROM orders WHERE shop = 1 AND state != 'draft' AND amount >= 0.01")
	if outcome := t.exportHours(definition, 1)[0]; outcome.Rows != want || want == 0 {
		t.Errorf("%d rows were exported, the table has %d", outcome.Rows, want)
	}
}
