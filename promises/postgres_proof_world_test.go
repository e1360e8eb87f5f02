//go:build world

package promises

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
)

// manifest is the manifest in the run's row of the first hour.
func (w warehouse) manifest(t *thread, name string) export.Manifest {
	t.Helper()
	var text string
	err := w.QueryRow(t.Context(), "SELECT manifest::text FROM "+w.schema+".millrace_runs WHERE export = $1 AND interval_start = $2", name, hour(0).Start).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	var manifest export.Manifest
	if err := json.Unmarshal([]byte(text), &manifest); err != nil {
		t.Fatal(err)
	}
	return manifest
}

func (w warehouse) do(t *thread, statements string) {
	t.Helper()
	if _, err := w.Exec(t.Context(), strings.ReplaceAll(statements, "SCHEMA", w.schema)); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// canonicalContent is what the first hour of a team amounts to by the hash that databases compute.
func (t *thread) canonicalContent(team int64, without string) export.Content {
	t.Helper()
	var columns []export.Column
	for _, column := range export.EventColumns() {
		if column.Name != without {
			columns = append(columns, column)
		}
	}
	content, err := t.events.CanonicalContent(t.Context(), eventstore.ChunkQuery{Interval: hour(0), Team: export.Team{ID: team}}, columns)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// changing makes each staging table of the schema change a value of every row that is copied into it.
const changing = `
	CREATE FUNCTION SCHEMA.change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.event := NEW.event || ' '; RETURN NEW; END $$;
	CREATE FUNCTION SCHEMA.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE made record; BEGIN
		FOR made IN SELECT object_identity FROM pg_event_trigger_ddl_commands() WHERE schema_name = 'SCHEMA' AND object_identity LIKE '%millrace_staging%' LOOP
			EXECUTE 'CREATE TRIGGER change BEFORE INSERT ON ' || made.object_identity || ' FOR EACH ROW EXECUTE FUNCTION SCHEMA.change()';
		END LOOP; END $$;
	CREATE EVENT TRIGGER watch_SCHEMA ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION SCHEMA.watch()`

// What Postgres has is held against the source: rows that somebody changes on their way into a staging table are published
// only where the definition leaves reading back out, and then nobody says that they were read.
func TestRowsThatPostgresHasOtherwiseAreNotPublished(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	w := newWarehouse(t)
	var blocks []eventstore.Block
	for i, properties := range []string{`{"text": "Grüße \"\\ \u0000 🌊"}`, `{"n": 1}`, `{"n": 1.50}`} {
		made, _ := block(hour(0).Start.Add(time.Duration(i)*time.Minute), int64(i+1), 900, properties)
		blocks = append(blocks, made)
	}
	eventstoretest.LoadPast(tt, t.events, blocks...)
	t.work()
	definition := w.into("proved", 1, "append")
	t.run(definition, hour(0))
	want := t.canonicalContent(1, "")
	proof := w.manifest(t, "proved").Proof
	if proof.Level != export.ProofReadback || proof.Source == nil || *proof.Source != want || proof.Stored == nil || *proof.Stored != want || want.Rows != 900 || len(proof.NotCompared) != 0 {
		t.Errorf("the proof is %+v, the source has %s", proof, want)
	}
	rows, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: "proved"})
	if err != nil || len(rows) != 1 || rows[0].Stored == nil || *rows[0].Stored != want {
		t.Errorf("the ledger has %+v, %v", rows, err)
	}

	w.do(t, changing)
	t.Cleanup(func() {
		if _, err := w.Exec(context.Background(), "DROP EVENT TRIGGER IF EXISTS watch_"+w.schema); err != nil {
			t.Error(err)
		}
	})
	changed := w.into("changed", 2, "append")
	t.run(changed, hour(0))
	if got := w.list(t, "SELECT count(*)::text FROM %s.events"); got[0] != "900" {
		t.Errorf("%s rows are there, 900 were published", got)
	}
	if rows, err = t.events.Runs(t.Context(), eventstore.RunFilter{Export: "changed"}); err != nil || len(rows) != 2 {
		t.Fatalf("the ledger has %+v, %v", rows, err)
	}
	for _, row := range rows {
		if row.Status == eventstore.StatusPublished || row.ErrorKind != export.KindData || !strings.Contains(row.Error, "the source has 900 rows") {
			t.Errorf("the ledger has %s: %s (%s)", row.Status, row.Error, row.ErrorKind)
		}
	}
	t.Log(rows[0].Error)
	streamed := w.into("streamed", 2, "append")
	streamed.Proof = export.ProofStream
	t.run(streamed, hour(0))
	if proof := w.manifest(t, "streamed").Proof; proof.Level != export.ProofStream || proof.Stored != nil || proof.Source == nil || *proof.Source != t.canonicalContent(2, "") {
		t.Errorf("the proof is %+v", proof)
	}

	w.do(t, "DROP EVENT TRIGGER watch_SCHEMA; DROP TABLE SCHEMA.events")
	w.do(t, "CREATE TABLE SCHEMA.events (team_id bigint, uuid uuid, event text, distinct_id text, timestamp timestamptz, properties jsonb, received_at timestamptz, inserted_at timestamptz)")
	escaped := w.into("kept-otherwise", 3, "append")
	t.run(escaped, hour(0))
	if proof := w.manifest(t, "kept-otherwise").Proof; fmt.Sprint(proof.NotCompared) != "[properties]" || proof.Stored == nil || *proof.Stored != t.canonicalContent(3, "properties") {
		t.Errorf("the proof is %+v", proof)
	}
}

// What happens to rows after they were published is found by whoever asks, with the interval, and with a run column the chunk.
// Where rows are merged it is said that it cannot be told.
func TestVerifyNamesWhatHasChangedInPostgres(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	const hours = 4
	var blocks []eventstore.Block
	for n := range hours {
		for i := range 3 {
			made, _ := block(hour(n).Start.Add(time.Duration(i)*time.Minute), 1, 1000, `{"n": 1}`)
			blocks = append(blocks, made)
		}
	}
	eventstoretest.LoadPast(tt, t.events, blocks...)
	t.work()
	changes := []string{
		"",
		"DELETE FROM SCHEMA.%[1]s WHERE ctid = (SELECT ctid FROM SCHEMA.%[1]s WHERE inserted_at >= '%[2]s' AND inserted_at < '%[3]s' LIMIT 1)",
		"INSERT INTO SCHEMA.%[1]s SELECT * FROM SCHEMA.%[1]s WHERE inserted_at >= '%[2]s' AND inserted_at < '%[3]s' LIMIT 1",
		"UPDATE SCHEMA.%[1]s SET event = event || ' ' WHERE ctid = (SELECT ctid FROM SCHEMA.%[1]s WHERE inserted_at >= '%[2]s' AND inserted_at < '%[3]s' LIMIT 1)",
	}
	w := newWarehouse(t)
	for table, test := range map[string]struct {
		mode, more string
		want       []string
		chunk      int
	}{
		"appended": {"append", "", []string{export.VerifiedWhole, export.VerifiedDiffers, export.VerifiedDiffers, export.VerifiedDiffers}, -1},
		"named":    {"append", `, "run_column": "millrace_run"`, []string{export.VerifiedWhole, export.VerifiedDiffers, export.VerifiedDiffers, export.VerifiedDiffers}, 1},
		"merged":   {"merge", "", []string{export.VerifiedWhole, export.VerifiedUntold, "", export.VerifiedDiffers}, -1},
	} {
		definition := w.into(table+"-rows", 1, test.mode)
		definition.ChunkRows = 1000
		definition.Settings = json.RawMessage(fmt.Sprintf(`{"schema": %q, "table": %q, "mode": %q, "create": true%s}`, w.schema, table, test.mode, test.more))
		for n := range hours {
			t.run(definition, hour(n))
		}
		for n, change := range changes {
			start := hour(n).Start.Add(time.Minute) // the second chunk
			if change != "" && test.want[n] != "" {
				w.do(t, fmt.Sprintf(change, table, start.Format(time.RFC3339), start.Add(time.Minute).Format(time.RFC3339)))
			}
		}
		report, err := t.starter.Verify(t.Context(), definition, export.Interval{Start: hour(0).Start, End: hour(hours - 1).End})
		if err != nil {
			t.Fatal(err)
		}
		for n, interval := range report.Intervals {
			switch want := test.want[n]; {
			case want == "":
			case interval.Result != want || want == export.VerifiedWhole && len(interval.Differences) > 0:
				t.Errorf("%s, hour %d: %s, %+v", table, n, interval.Result, interval.Differences)
			case want != export.VerifiedWhole && (len(interval.Differences) != 1 || interval.Differences[0].Chunk != test.chunk):
				t.Errorf("%s, hour %d: %+v", table, n, interval.Differences)
			case want != export.VerifiedWhole:
				t.Logf("%s: chunk %d: %s", interval.Run, interval.Differences[0].Chunk, interval.Differences[0].What)
			}
		}
	}
}
