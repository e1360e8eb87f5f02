//go:build world

package promises

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/workflows"
)

// warehouse is a schema of a test's own in Postgres.
type warehouse struct {
	*pgx.Conn
	schema string
}

func newWarehouse(t *thread) warehouse {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), testworld.Env(t.T, "MILLRACE_POSTGRES_URL"))
	if err != nil {
		t.Fatal(err)
	}
	w := warehouse{connection, testworld.Name(t.T)}
	if _, err := w.Exec(t.Context(), "CREATE SCHEMA "+w.schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := w.Exec(context.Background(), "DROP SCHEMA "+w.schema+" CASCADE"); err != nil {
			t.Error(err)
		}
		_ = w.Close(context.Background())
	})
	return w
}

// into is an hourly export into the schema.
func (w warehouse) into(name string, team int64, mode string) export.Definition {
	definition := hourly(name, team)
	definition.Connection, definition.Destination = "warehouse", "postgres"
	definition.Settings = json.RawMessage(fmt.Sprintf(`{"schema": %q, "table": "events", "mode": %q, "create": true}`, w.schema, mode))
	return definition
}

func (w warehouse) list(t *thread, query string) []string {
	t.Helper()
	rows, err := w.Query(t.Context(), fmt.Sprintf(query, w.schema))
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Whatever was loaded is in the table once, with one row in millrace_runs for each interval, after two backfills of the
// same day and two executions of one interval at once; and nothing else of Millrace's is left there.
func TestEventsAreInAPostgresTableOnce(tt *testing.T) {
	for _, mode := range []string{"append", "merge"} {
		tt.Run(mode, func(tt *testing.T) {
			tt.Parallel()
			t := newThread(tt)
			w := newWarehouse(t)
			ids := t.load(6, 1)
			t.work()
			definition := w.into("shop-rows", 1, mode)
			t.apply(definition)
			for round := range 2 {
				err := t.Client.ScheduleClient().GetHandle(t.Context(), "shop-rows").Backfill(t.Context(), client.ScheduleBackfillOptions{
					Backfill: []client.ScheduleBackfill{{Start: hour(0).End, End: hour(4).End, Overlap: allowAll}},
				})
				if err != nil {
					t.Fatal(err)
				}
				got := t.outcomes("shop-rows", 5*(round+1))
				if got[export.StatusPublished] != 5 || got[export.StatusAlreadyDone] != 5*round {
					t.Fatalf("after backfill %d the outcomes are %v", round+1, got)
				}
			}
			var runs []client.WorkflowRun
			interval := hour(5)
			for _, id := range []string{"one", "other"} {
				run, err := t.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.QueueControl},
					workflows.NameExport, export.Input{Definition: definition, Start: &interval.Start, End: &interval.End})
				if err != nil {
					t.Fatal(err)
				}
				runs = append(runs, run)
			}
			for _, run := range runs {
				if outcome := t.outcome(run.GetID(), run.GetRunID()); outcome.Rows != 6 {
					t.Errorf("%s ends with %+v", run.GetID(), outcome)
				}
			}
			want := slices.Sorted(slices.Values(ids[1]))
			if got := w.list(t, "SELECT uuid::text FROM %s.events ORDER BY uuid::text"); !slices.Equal(got, want) {
				t.Errorf("the table has %d rows, loaded were %d", len(got), len(want))
			}
			if got := w.list(t, "SELECT rows::text FROM %s.millrace_runs ORDER BY interval_start"); !slices.Equal(got, []string{"1", "2", "3", "4", "5", "6"}) {
				t.Errorf("millrace_runs has runs of %v rows", got)
			}
			if got := w.list(t, "SELECT relname::text FROM pg_class WHERE relnamespace = '%s'::regnamespace AND relkind = 'r' ORDER BY 1"); !slices.Equal(got, []string{"events", "millrace_plans", "millrace_runs"}) {
				t.Errorf("the schema has the tables %v", got)
			}
			if got := w.list(t, "SELECT DISTINCT concat_ws(' ', team_id, event, properties, timestamp = inserted_at) FROM %s.events"); !slices.Equal(got, []string{`1 flight {"n": 1} t`}) {
				t.Errorf("the rows are %v", got)
			}
		})
	}
}

// The guide's configuration is the example's, it loads, its statements run, and an hour of events that is exported with it
// is in the table. Names that all databases of a server share are made the test's own.
func TestTheGuideToPostgres(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	w := newWarehouse(t)
	schema := testworld.Name(t.T)
	own := strings.NewReplacer("analytics", schema, "millrace_export", schema)
	example, err := os.ReadFile("../examples/postgres.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var statements []string
	for _, block := range blocks(t.T, "../docs/destinations-postgres.md") {
		switch block.language {
		case "yaml":
			if block.text != string(example) {
				t.Errorf("the guide's configuration is not examples/postgres.yaml")
			}
		case "sql":
			statements = append(statements, own.Replace(block.text))
		}
	}
	if len(statements) != 2 {
		t.Fatalf("the guide has %d blocks of SQL", len(statements))
	}
	if _, err := w.Exec(t.Context(), statements[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := w.Exec(context.Background(), fmt.Sprintf("DROP SCHEMA %[1]s CASCADE; DROP ROLE %[1]s", schema)); err != nil {
			t.Error(err)
		}
	})
	if t.config, err = config.Parse(filepath.Join(t.TempDir(), "millrace.yaml"), []byte(own.Replace(string(example)))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../examples/export-shop-rows-one-hour.json")
	if err != nil {
		t.Fatal(err)
	}
	var input export.Input
	if err := json.Unmarshal([]byte(own.Replace(string(text))), &input); err != nil {
		t.Fatal(err)
	}
	ids := t.load(7, 1)
	t.work()
	run, err := t.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "by hand", TaskQueue: workflows.QueueControl}, workflows.NameExport, input)
	if err != nil {
		t.Fatal(err)
	}
	if outcome := t.outcome(run.GetID(), run.GetRunID()); outcome.Rows != 7 || outcome.DefinitionHash == "" {
		t.Errorf("the run ends with %+v", outcome)
	}
	var from, to, published time.Time
	var rows int64
	if err := w.QueryRow(t.Context(), statements[1]).Scan(&from, &to, &rows, &published); err != nil || rows != 7 || !from.Equal(hour(6).Start) || !to.Equal(hour(6).End) {
		t.Errorf("the guide's query answers %s, %s, %d rows, %v", from, to, rows, err)
	}
	var count int
	if err := w.QueryRow(t.Context(), "SELECT count(*) FROM "+schema+".events WHERE uuid::text = ANY ($1)", ids[1]).Scan(&count); err != nil || count != 7 {
		t.Errorf("%d of the rows are there (%v)", count, err)
	}
}
