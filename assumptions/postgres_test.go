//go:build world

package assumptions

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millrace/millrace/internal/testworld"
)

// postgres is a schema of its own for one test, which comes first in the search path of every connection.
type postgres struct {
	*pgx.Conn
	schema string
}

func newSchema(t *testing.T) postgres {
	t.Helper()
	p := postgres{schema: testworld.Name(t)}
	p.Conn = p.connect(t)
	p.do(t, "CREATE SCHEMA "+p.schema)
	t.Cleanup(func() {
		if _, err := p.connect(t).Exec(context.Background(), "DROP SCHEMA "+p.schema+" CASCADE"); err != nil {
			t.Error(err)
		}
	})
	return p
}

// connect opens one more connection.
func (p postgres) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(testworld.Env(t, "MILLRACE_POSTGRES_URL"))
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["search_path"] = p.schema
	config.RuntimeParams["timezone"] = "UTC"
	connection, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close(context.Background()) })
	return connection
}

func (p postgres) do(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := p.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// text is the single value of a query, as Postgres writes it.
func (p postgres) text(t *testing.T, query string) string {
	t.Helper()
	var value *string
	if err := p.QueryRow(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if value == nil {
		return `NULL`
	}
	return *value
}

// copyIn feeds COPY's text format, and returns how many rows the server says that it took.
func (p postgres) copyIn(ctx context.Context, table string, rows io.Reader) (int64, error) {
	tag, err := p.PgConn().CopyFrom(ctx, rows, "COPY "+table+" FROM STDIN (FORMAT text)")
	return tag.RowsAffected(), err
}

func sqlState(err error) string {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return ""
	}
	return refused.Code
}

// tabSeparated is what ClickHouse writes for a query, with the settings that Millrace uses for Postgres.
func (d clickhouseDatabase) tabSeparated(t *testing.T, query string) io.ReadCloser {
	t.Helper()
	answer, err := plainClient.Do(d.request(t, d.name, query+" FORMAT TabSeparated", map[string]string{
		"date_time_output_format": "iso", "enable_http_compression": "0",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != 200 {
		body, _ := io.ReadAll(answer.Body)
		t.Fatalf("%s: %s", answer.Status, body)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer.Body
}

// ClickHouse's TabSeparated is COPY's text format: whatever it escapes, Postgres reads as it was.
func TestTabSeparatedIsCopysTextFormat(t *testing.T) {
	d, p := newDatabase(t), newSchema(t)
	for _, test := range []struct{ name, clickhouse, postgres, want string }{
		{"a null", "CAST(NULL AS Nullable(String))", "text", "NULL"},
		{"a text that looks like a null", `'\\N'`, "text", `\N`},
		{"a text that looks like the end of COPY", `'\\.'`, "text", `\.`},
		{"an empty text", "''", "text", ""},
		{"tabs, line breaks, backslashes", `'a\tb\nc\rd\\e\\n\b\f\v'`, "text", "a\tb\nc\rd\\e\\n\b\f\v"},
		{"quotes", `'it''s "so"'`, "text", `it's "so"`},
		{"emoji and letters outside of Latin", "'żółw 🐢 日本語'", "text", "żółw 🐢 日本語"},
		{"JSON with escapes", `'{"a":"\\u0000 \\ud800 \\n","b":"\\\\"}'`, "json", `{"a":"\u0000 \ud800 \n","b":"\\"}`},
		{"microseconds", "toDateTime64('2026-11-23 10:00:00.000001', 6, 'UTC')", "timestamptz", "2026-11-23 10:00:00.000001+00"},
		{"a time before 1970", "toDateTime64('1901-02-03 04:05:06.700000', 6, 'UTC')", "timestamptz", "1901-02-03 04:05:06.7+00"},
		{"the last time there is", "toDateTime64('2299-12-31 23:59:59.999999', 6, 'UTC')", "timestamptz", "2299-12-31 23:59:59.999999+00"},
		{"a time without zone", "toDateTime64('2026-11-23 10:00:00.5', 6, 'UTC')", "timestamp", "2026-11-23 10:00:00.5"},
		{"a uuid", "toUUID('0192D3F1-0000-7000-8000-00000000000A')", "uuid", "0192d3f1-0000-7000-8000-00000000000a"},
		{"the least Int64", "toInt64('-9223372036854775808')", "bigint", "-9223372036854775808"},
		{"the greatest UInt64", "toUInt64('18446744073709551615')", "numeric", "18446744073709551615"},
		{"a decimal", "toDecimal64('-12.3400', 4)", "numeric", "-12.34"},
		{"not a number", "nan", "double precision", "NaN"},
		{"infinity", "inf", "double precision", "Infinity"},
		{"minus infinity", "-inf", "double precision", "-Infinity"},
		{"minus zero", "-0.0", "double precision", "-0"},
		{"a float of many digits", "toFloat64(0.1) + 0.2", "double precision", "0.30000000000000004"},
		{"true", "true", "boolean", "true"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.do(t, "DROP TABLE IF EXISTS one", "CREATE TABLE one (v "+test.postgres+")")
			if rows, err := p.copyIn(t.Context(), "one", d.tabSeparated(t, "SELECT "+test.clickhouse)); err != nil || rows != 1 {
				t.Fatalf("%d rows, %v", rows, err)
			}
			if got := p.text(t, "SELECT v::text FROM one"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// What Postgres cannot hold it refuses, with a code and the number of the row. Nothing is changed silently.
func TestCopyRefusesWhatPostgresCannotHold(t *testing.T) {
	d, p := newDatabase(t), newSchema(t)
	for _, test := range []struct{ name, clickhouse, postgres, code string }{
		{"a NUL byte", `'a\0b'`, "text", "22021"},
		{"bytes that are no UTF-8", `'\xff\xfe'`, "text", "22021"},
		{"a surrogate as bytes", `'\xed\xa0\x80'`, "text", "22021"},
		{"an escaped NUL in jsonb", `'{"a":"\\u0000"}'`, "jsonb", "22P05"},
		{"a lone surrogate in jsonb", `'{"a":"\\ud800"}'`, "jsonb", "22P02"},
		{"a number in jsonb beyond what numeric holds", `'1e999999'`, "jsonb", "22003"},
		{"text that is no JSON", `'{'`, "json", "22P02"},
		{"a number that is too large", "toUInt64('18446744073709551615')", "bigint", "22003"},
		{"a text that is too long", "'four'", "varchar(3)", "22001"},
		{"a date that is none", "'2026-02-30'", "date", "22008"},
		{"a null", "CAST(NULL AS Nullable(String))", "text NOT NULL", "23502"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.do(t, "DROP TABLE IF EXISTS one", "CREATE TABLE one (v "+test.postgres+")")
			_, err := p.copyIn(t.Context(), "one", d.tabSeparated(t, "SELECT "+test.clickhouse))
			if got := sqlState(err); got != test.code {
				t.Errorf("got %q (%v), want %s", got, err, test.code)
			}
			if got := p.text(t, "SELECT count(*)::text FROM one"); got != "0" {
				t.Errorf("%s rows are there", got)
			}
		})
	}
}

// The number of the row that COPY refuses stands in the error's context.
func TestCopyTellsTheLineThatItRefuses(t *testing.T) {
	p := newSchema(t)
	p.do(t, "CREATE TABLE one (n int, v jsonb)")
	_, err := p.copyIn(t.Context(), "one", strings.NewReader("1\t{}\n2\t{}\n3\t{\n4\t{}\n"))
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || !strings.Contains(refused.Where, "line 3, column v") {
		t.Errorf("%+v", refused)
	}
}

// A source that breaks off ends COPY as failed, and none of its rows are there.
func TestCopyOfABrokenSourceLeavesNothing(t *testing.T) {
	p := newSchema(t)
	p.do(t, "CREATE TABLE one (v text)")
	broken := io.MultiReader(strings.NewReader("a\nb\n"), errorReader{errors.New("connection reset by peer")})
	if _, err := p.copyIn(t.Context(), "one", broken); sqlState(err) != "57014" {
		t.Errorf("got %v", err)
	}
	if got := p.text(t, "SELECT count(*)::text FROM one"); got != "0" {
		t.Errorf("%s rows are there", got)
	}
}

type errorReader struct{ error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.error }

const (
	upsert = "INSERT INTO runs (run, revision) VALUES ('run', $1) ON CONFLICT (run) DO UPDATE SET revision = EXCLUDED.revision WHERE runs.revision < EXCLUDED.revision RETURNING revision"
	asked  = 5 * time.Second // patience for another connection's lock
)

// The commit mark of a run: an older or equal revision, and so a zombie, gets no row back, also when both are at it at once.
func TestAnUpsertWhoseConditionFailsReturnsNoRow(t *testing.T) {
	p := newSchema(t)
	p.do(t, "CREATE TABLE runs (run text PRIMARY KEY, revision int NOT NULL)")
	for _, test := range []struct {
		revision int
		returns  bool
	}{{2, true}, {2, false}, {1, false}, {3, true}} {
		var got int
		err := p.QueryRow(t.Context(), upsert, test.revision).Scan(&got)
		if test.returns && (err != nil || got != test.revision) || !test.returns && !errors.Is(err, pgx.ErrNoRows) {
			t.Errorf("revision %d: got %d, %v", test.revision, got, err)
		}
	}

	// The second waits for the first one's end, and then sees its row.
	first, err := p.connect(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var revision int
	if err := first.QueryRow(t.Context(), upsert, 5).Scan(&revision); err != nil {
		t.Fatal(err)
	}
	second := p.connect(t)
	answer := make(chan error, 1)
	go func() {
		var revision int
		answer <- second.QueryRow(context.Background(), upsert, 4).Scan(&revision)
	}()
	testworld.Eventually(t, asked, func() error {
		if got := p.text(t, "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO runs%'"); got == "0" {
			return errors.New("the second does not wait")
		}
		return nil
	})
	if err := first.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("the older revision was answered %v", err)
	}
}

// Whoever tries again after a COMMIT without an answer either sees the row, or waits until it is known.
func TestAnUnknownCommitIsKnownByTheRow(t *testing.T) {
	p := newSchema(t)
	p.do(t, "CREATE TABLE runs (run text PRIMARY KEY, revision int NOT NULL)")
	for _, test := range []struct {
		name      string
		commit    bool
		published string
	}{{"it came to be", true, "1"}, {"it was rolled back", false, "0"}} {
		t.Run(test.name, func(t *testing.T) {
			p.do(t, "TRUNCATE runs")
			// A transaction that nobody hears of any more.
			lost, err := p.connect(t).Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var revision int
			if err := lost.QueryRow(t.Context(), upsert, 1).Scan(&revision); err != nil {
				t.Fatal(err)
			}
			if got := p.text(t, "SELECT count(*)::text FROM runs"); got != "0" {
				t.Fatal("the row shows before the end")
			}
			again := p.connect(t)
			answer := make(chan error, 1)
			go func() {
				var revision int
				answer <- again.QueryRow(context.Background(), upsert, 1).Scan(&revision)
			}()
			testworld.Eventually(t, asked, func() error {
				if got := p.text(t, "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO runs%'"); got == "0" {
					return errors.New("who tries again does not wait")
				}
				return nil
			})
			if test.commit {
				err = lost.Commit(t.Context())
			} else {
				err = lost.Rollback(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := <-answer; errors.Is(err, pgx.ErrNoRows) != test.commit {
				t.Errorf("who tries again is answered %v", err)
			}
		})
	}
}
