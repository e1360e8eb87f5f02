//go:build world

package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/destinationtest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// schema is a schema of the outside world's database, for one test alone.
type schema struct {
	name string
	url  string
	conn *pgx.Conn
}

func newSchema(t testing.TB) schema {
	t.Helper()
	s := schema{name: testworld.Name(t), url: testworld.Env(t, "MILLRACE_POSTGRES_URL")}
	var err error
	if s.conn, err = pgx.Connect(t.Context(), s.url); err != nil {
		t.Fatal(err)
	}
	s.do(t, "CREATE SCHEMA "+s.name)
	t.Cleanup(func() {
		if _, err := s.conn.Exec(context.Background(), "DROP SCHEMA "+s.name+" CASCADE"); err != nil {
			t.Error(err)
		}
		_ = s.conn.Close(context.Background())
	})
	return s
}

func (s schema) do(t testing.TB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := s.conn.Exec(t.Context(), strings.ReplaceAll(statement, "SCHEMA.", s.name+".")); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// text is the single value of a query.
func (s schema) text(t testing.TB, query string) string {
	t.Helper()
	var value string
	if err := s.conn.QueryRow(t.Context(), "SELECT ("+strings.ReplaceAll(query, "SCHEMA.", s.name+".")+")::text").Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

func (s schema) list(t testing.TB, query string, arguments ...any) []string {
	t.Helper()
	rows, err := s.conn.Query(t.Context(), query, arguments...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return list
}

func encoded(t testing.TB, value any) json.RawMessage {
	t.Helper()
	block, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// settings is an export's block with the schema in it.
func (s schema) settings(t testing.TB, more map[string]any) json.RawMessage {
	t.Helper()
	block := map[string]any{"schema": s.name, "create": true}
	for name, value := range more {
		block[name] = value
	}
	normal, err := normalizeSettings(encoded(t, block))
	if err != nil {
		t.Fatal(err)
	}
	return normal
}

// open opens the schema as a worker does.
func (s schema) open(t testing.TB, more map[string]any) *Destination { return s.openAt(t, s.url, more) }

func (s schema) openAt(t testing.TB, address string, more map[string]any) *Destination {
	t.Helper()
	destination, err := open(t.Context(), encoded(t, connection{URL: address}), s.settings(t, more), destinations.ShapeOf(export.Definition{}.WithDefaults()))
	if err != nil {
		t.Fatal(err)
	}
	return destination.(*Destination)
}

// through is the database's address by way of another host and port.
func (s schema) through(t testing.TB, address string) string {
	t.Helper()
	whole, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	whole.Host = address
	return whole.String()
}

// contents lists the tables of the schema with number and hash of their rows, and copies that are under way. A session
// whose client has hung up is gone within moments, so sessions are looked at again before they are listed.
func (s schema) contents(t testing.TB) []string {
	t.Helper()
	var lines []string
	for _, table := range s.list(t, "SELECT relname::text FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p')", s.name) {
		content := s.text(t, fmt.Sprintf(`SELECT count(*) || ' rows, ' || coalesce(md5(string_agg(r::text, ' ' ORDER BY r::text)), '-') FROM "%s"."%s" AS r`, s.name, table))
		kind := ""
		if isStaging(table) {
			kind = "unfinished "
		}
		lines = append(lines, kind+"table "+table+": "+content)
	}
	const sessions = "SELECT 'unfinished session ' || pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE 'COPY%' || $1 || '%' AND state = 'active'"
	copies := s.list(t, sessions, s.name)
	for range 20 {
		if len(copies) == 0 {
			break
		}
		time.Sleep(25 * time.Millisecond)
		copies = s.list(t, sessions, s.name)
	}
	return append(lines, copies...)
}

// Appending and merging keep all the promises of a destination.
func TestPromises(t *testing.T) {
	for _, mode := range []string{modeAppend, modeMerge} {
		t.Run(mode, func(t *testing.T) {
			found := destinationtest.Run(t, func(t *testing.T) destinationtest.Subject {
				s := newSchema(t)
				more := map[string]any{"mode": mode}
				d := s.open(t, more)
				if _, err := s.conn.Exec(t.Context(), d.createTarget()); err != nil {
					t.Fatal(err)
				}
				full := sync.OnceValue(func() string { return s.full(t) })
				return destinationtest.Subject{
					Kind: "postgres", Settings: s.settings(t, more), BigChunk: 16 << 20, Staged: true, Irreplaceable: mode == modeAppend, ByKey: mode == modeMerge,
					Open:     func(t testing.TB) destinations.Destination { return s.open(t, more) },
					Contents: s.contents,
					Expired:  func(t testing.TB) destinations.Destination { return s.openAt(t, s.asExpired(t), more) },
					ReadOnly: func(t testing.TB) destinations.Destination { // as a standby is
						return s.openAt(t, s.options(t, "-c default_transaction_read_only=on"), more)
					},
					Full:       func(t testing.TB) destinations.Destination { return s.openAt(t, full(), more) },
					ClickHouse: worldClickHouse(t), Forms: s.forms(t, more),
				}
			})
			found.Hold(t, "../../docs/guarantees.md", "Postgres, "+mode)
		})
	}
}

// With a run column, appended rows can be replaced, too.
func TestPromisesOfRedoingWithARunColumn(t *testing.T) {
	more := map[string]any{"run_column": "millrace_run"}
	destinationtest.RunRedoing(t, func(t *testing.T) destinationtest.Subject {
		s := newSchema(t)
		return destinationtest.Subject{
			Kind: "postgres", Settings: s.settings(t, more), Staged: true, Contents: s.contents,
			Open: func(t testing.TB) destinations.Destination { return s.open(t, more) },
		}
	})
}
