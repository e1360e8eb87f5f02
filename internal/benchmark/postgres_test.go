//go:build bench

package benchmark

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// TestExportToPostgresAgainstStagingByHand writes the same rows into tables of the same Postgres: by runs of Millrace with
// each level of proof, and by hand: COPY of ClickHouse's TabSeparated into an unlogged table and one INSERT … SELECT, with
// no proof. A COPY straight into the target stands beside it.
func TestExportToPostgresAgainstStagingByHand(t *testing.T) {
	rows := number(t, "MILLRACE_BENCH_ROWS", 5_000_000)
	past := newPast(t, rows)
	startWorkerOn(t, past, "  - name: warehouse\n    postgres: {url: env:MILLRACE_POSTGRES_URL}\n")
	b := intoPostgres{past: past, starts: newStarter(t), schema: testworld.Name(t)}
	var err error
	if b.conn, err = pgx.Connect(t.Context(), testworld.Env(t, "MILLRACE_POSTGRES_URL")); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.conn.Close(context.Background()) }()
	b.do(t, "CREATE SCHEMA "+b.schema)
	defer func() { b.do(t, "DROP SCHEMA "+b.schema+" CASCADE") }()
	var version string
	if err := b.conn.QueryRow(t.Context(), "SELECT current_setting('server_version')").Scan(&version); err != nil {
		t.Fatal(err)
	}

	fmt.Printf("machine: %d CPUs, %s/%s, %s; ClickHouse %s, PostgreSQL %s\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), past.version, version)
	fmt.Printf("rows: %d, %d B of TabSeparated each on average; %d rounds, each thing once in a round, into an empty table; medians below\n", rows, b.size(t)/rows, pairs)
	fmt.Println("stream and readback: a run from its start to its end, with that level of proof, in chunks of chunk_rows = 1,000,000.")
	fmt.Println("by hand: COPY by one pgx connection into an unlogged table, then one INSERT … SELECT; direct: COPY into the target; no proof.")
	fmt.Println("verify: the rows read in the target and hashed alone, by one connection, as the workflow Verify does it.")
	for _, mode := range []string{"append", "merge"} {
		b.compare(t, mode)
	}
}

type intoPostgres struct {
	past   *past
	starts *starter.Starter
	conn   *pgx.Conn
	schema string
}

func (b *intoPostgres) compare(t *testing.T, mode string) {
	fmt.Printf("\nmode %s\n%6s %9s %9s %9s %9s %9s %9s %16s %17s %15s\n", mode, "round", "stream", "readback", "COPY", "INSERT", "direct", "verify",
		"by hand÷stream", "by hand÷readback", "proof÷readback")
	ratios, times := make([][]float64, 3), map[string]map[string][]float64{"stream": {}, "readback": {}}
	for round := range pairs + 1 {
		stream, streamed := b.export(t, mode, export.ProofStream, nil)
		var verify time.Duration
		readback, read := b.export(t, mode, export.ProofReadback, func(definition export.Definition) { verify = b.verify(t, definition) })
		copied, inserted := b.byHand(t, mode)
		direct := b.direct(t, mode)
		if round == 0 {
			continue // the first warms all up
		}
		hand := (copied + inserted).Seconds()
		ratios[0] = append(ratios[0], hand/stream.Seconds())
		ratios[1] = append(ratios[1], hand/readback.Seconds())
		ratios[2] = append(ratios[2], (readback-stream).Seconds()/readback.Seconds())
		fmt.Printf("%6d %8.2fs %8.2fs %8.2fs %8.2fs %8.2fs %8.2fs %16.2f %17.2f %15.2f\n", round, stream.Seconds(), readback.Seconds(), copied.Seconds(), inserted.Seconds(), direct.Seconds(), verify.Seconds(),
			ratios[0][round-1], ratios[1][round-1], ratios[2][round-1])
		for _, step := range steps {
			times["stream"][step] = append(times["stream"][step], streamed[step].Seconds())
			times["readback"][step] = append(times["readback"][step], read[step].Seconds())
		}
	}
	fmt.Printf("%6s %59s %16.2f %17.2f %15.2f\n", "median", "", median(ratios[0]), median(ratios[1]), median(ratios[2]))
	for _, level := range []string{"stream", "readback"} {
		printSteps(level, times[level])
	}
}

func (b *intoPostgres) do(t *testing.T, statement string) {
	t.Helper()
	if _, err := b.conn.Exec(context.WithoutCancel(t.Context()), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

const columnsInPostgres = `(team_id bigint NOT NULL, uuid uuid NOT NULL, event text NOT NULL, distinct_id text NOT NULL, "timestamp" timestamptz NOT NULL,
	properties json NOT NULL, received_at timestamptz NOT NULL, inserted_at timestamptz NOT NULL`

// target makes an empty table in the schema, as Millrace would, and has the server at rest.
func (b *intoPostgres) target(t *testing.T, mode string) string {
	t.Helper()
	b.do(t, "DROP TABLE IF EXISTS "+b.schema+".target, "+b.schema+".staging")
	key := ")"
	if mode == "merge" {
		key = ", PRIMARY KEY (team_id, uuid))"
	}
	b.do(t, "CREATE TABLE "+b.schema+".target "+columnsInPostgres+key)
	b.do(t, "CHECKPOINT")
	return b.schema + ".target"
}

func (b *intoPostgres) holdsAll(t *testing.T, table string) {
	t.Helper()
	var rows int
	if err := b.conn.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&rows); err != nil || rows != b.past.rows {
		t.Fatalf("%s has %d rows of %d, %v", table, rows, b.past.rows, err)
	}
}

// export has the worker run one export of the hour; then is called before its rows are gone.
func (b *intoPostgres) export(t *testing.T, mode, proof string, then func(export.Definition)) (time.Duration, map[string]time.Duration) {
	t.Helper()
	table := b.target(t, mode)
	definition := export.Definition{
		Name: testworld.Name(t), Team: export.Team{ID: 1}, Connection: "warehouse", Every: export.Duration(time.Hour), Proof: proof,
		Destination: "postgres", Settings: json.RawMessage(fmt.Sprintf(`{"schema":%q,"table":"target","mode":%q}`, b.schema, mode)),
	}.WithDefaults()
	started, err := b.starts.Start(t.Context(), definition, b.past.interval)
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := b.starts.Follow(t.Context(), started, nil)
	if err != nil || outcome.Rows != uint64(b.past.rows) {
		t.Fatalf("the run wrote %d rows of %d, %v", outcome.Rows, b.past.rows, err)
	}
	b.holdsAll(t, table)
	if then != nil {
		then(definition)
	}
	took, _ := stepTimes(t, b.starts.Temporal, started)
	return runTime(t, b.starts.Temporal, started), took
}

func (b *intoPostgres) verify(t *testing.T, definition export.Definition) time.Duration {
	t.Helper()
	began := time.Now()
	report, err := b.starts.Verify(t.Context(), definition, b.past.interval)
	if err != nil || len(report.Intervals) != 1 || report.Intervals[0].Result != export.VerifiedWhole {
		t.Fatalf("verified: %+v, %v", report, err)
	}
	return time.Since(began)
}

// byHand is what a script does.
func (b *intoPostgres) byHand(t *testing.T, mode string) (copied, inserted time.Duration) {
	t.Helper()
	table := b.target(t, mode)
	staging := b.schema + ".staging"
	b.do(t, "CREATE UNLOGGED TABLE "+staging+" "+columnsInPostgres+")")
	began := time.Now()
	b.copyInto(t, staging)
	copied = time.Since(began)
	began = time.Now()
	statement := "INSERT INTO " + table + " SELECT * FROM " + staging
	if mode == "merge" {
		statement = "INSERT INTO " + table + " AS target SELECT DISTINCT ON (team_id, uuid) * FROM " + staging + ` ORDER BY team_id, uuid, inserted_at DESC
			ON CONFLICT (team_id, uuid) DO UPDATE SET event = EXCLUDED.event, distinct_id = EXCLUDED.distinct_id, "timestamp" = EXCLUDED."timestamp",
			properties = EXCLUDED.properties, received_at = EXCLUDED.received_at, inserted_at = EXCLUDED.inserted_at WHERE target.inserted_at <= EXCLUDED.inserted_at`
	}
	b.do(t, statement)
	inserted = time.Since(began)
	b.holdsAll(t, table)
	return copied, inserted
}

// direct copies into the target itself.
func (b *intoPostgres) direct(t *testing.T, mode string) time.Duration {
	t.Helper()
	table := b.target(t, mode)
	began := time.Now()
	b.copyInto(t, table)
	took := time.Since(began)
	b.holdsAll(t, table)
	return took
}

func (b *intoPostgres) copyInto(t *testing.T, table string) {
	t.Helper()
	source := b.tabSeparated(t)
	defer source.Close()
	if _, err := b.conn.PgConn().CopyFrom(t.Context(), source, "COPY "+table+" FROM STDIN (FORMAT text, ENCODING 'UTF8')"); err != nil {
		t.Fatal(err)
	}
}

func (b *intoPostgres) size(t *testing.T) int {
	t.Helper()
	source := b.tabSeparated(t)
	defer source.Close()
	size, err := io.Copy(io.Discard, source)
	if err != nil {
		t.Fatal(err)
	}
	return int(size)
}

// tabSeparated is what curl would get of ClickHouse: the hour's rows, in the order of the table.
func (b *intoPostgres) tabSeparated(t *testing.T) io.ReadCloser {
	t.Helper()
	database, err := url.Parse(b.past.config.URL)
	if err != nil {
		t.Fatal(err)
	}
	settings := url.Values{"database": {strings.Trim(database.Path, "/")}, "enable_http_compression": {"0"}}
	for name, value := range eventstore.EncodingSettings(export.Encoding{Format: export.FormatTabSeparated, Compression: export.CompressionNone}) {
		settings.Set(name, value)
	}
	query := fmt.Sprintf(`SELECT %s FROM events WHERE toStartOfHour(inserted_at) = toDateTime(%d) AND team_id = 1 FORMAT TabSeparated`, eventstore.SelectEvents(), b.past.interval.Start.Unix())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL")+"/?"+settings.Encode(), strings.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableCompression: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("ClickHouse answers %s", answer.Status)
	}
	return answer.Body
}
