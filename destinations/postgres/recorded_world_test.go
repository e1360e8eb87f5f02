//go:build world

package postgres

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millrace/millrace/internal/recorded"
	"github.com/millrace/millrace/internal/testworld"
)

// Each situation is brought about on a real server, whose answers are in testdata/answers. What a full disk says, or a
// server that starts, cannot be had here: docs/runbooks marks those codes as taken from the documentation.
func TestRecordedAnswersAreThoseOfARealServer(t *testing.T) {
	s := newSchema(t)
	name, asRole := s.role(t, "")
	_, limited := s.role(t, "CONNECTION LIMIT 0")
	s.do(t,
		`CREATE TABLE SCHEMA.t (id bigint PRIMARY KEY, small smallint CHECK (small < 100), name varchar(5) NOT NULL DEFAULT 'x', day date, doc jsonb, again bigint GENERATED ALWAYS AS (id * 2) STORED)`,
		`CREATE TABLE SCHEMA.long (long text UNIQUE)`,
		`CREATE VIEW SCHEMA.joined AS SELECT a.id FROM SCHEMA.t a, SCHEMA.t b`,
		`CREATE VIEW SCHEMA.checked AS SELECT id FROM SCHEMA.t WHERE id > 10 WITH CHECK OPTION`,
		`CREATE SEQUENCE SCHEMA.sequence`,
		`CREATE FUNCTION SCHEMA.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$`,
		`CREATE TABLE SCHEMA.guarded (id bigint)`, `CREATE TRIGGER refuse BEFORE INSERT ON SCHEMA.guarded FOR EACH ROW EXECUTE FUNCTION SCHEMA.refuse()`,
		`CREATE TABLE SCHEMA.parents (id bigint PRIMARY KEY)`, `CREATE TABLE SCHEMA.children (id bigint REFERENCES SCHEMA.parents)`,
		`INSERT INTO SCHEMA.t (id) VALUES (1), (2)`,
	)
	var got recorded.Server
	got.Name = "PostgreSQL " + strings.Fields(s.text(t, "SELECT current_setting('server_version')"))[0]
	mask := strings.NewReplacer(s.name, "SCHEMA", name, "ROLE")
	note := func(situation string, err error) {
		t.Helper()
		var refused *pgconn.PgError
		if !errors.As(err, &refused) {
			t.Errorf("%s: the server refuses nothing (%v)", situation, err)
			return
		}
		message := refused.Message
		if refused.Code == "40P01" || refused.Code == "53300" { // names of processes or of the other role
			message = strings.Join(strings.Fields(message)[:2], " ") + " …"
		}
		got.Answers = append(got.Answers, recorded.Answer{Situation: situation, Code: refused.Code, Message: mask.Replace(message), Kind: judge(err).Kind})
	}

	for _, c := range []struct{ situation, address string }{
		{"a wrong password", s.with(t, func(u *url.URL) { u.User = url.UserPassword("millrace", testSecret) })},
		{"a database that is not there", s.with(t, func(u *url.URL) { u.Path = "/nowhere" })},
		{"a role that has no connection left", limited},
	} {
		_, err := pgx.Connect(t.Context(), c.address)
		note(c.situation, err)
	}
	for _, c := range []struct{ situation, statement string }{
		{"a schema that is not there", "CREATE TABLE nowhere.t (id int)"},
		{"a table that is not there", "INSERT INTO SCHEMA.nowhere VALUES (1)"},
		{"a table that is there already", "CREATE TABLE SCHEMA.t (id int)"},
		{"a column that is not there", "INSERT INTO SCHEMA.t (nowhere) VALUES (1)"},
		{"a column of another type", "INSERT INTO SCHEMA.t (id) SELECT now()"},
		{"a generated column", "INSERT INTO SCHEMA.t (id, again) VALUES (9, 9)"},
		{"a cast that there is not", "SELECT now()::bigint"},
		{"no unique index to merge by", "INSERT INTO SCHEMA.t (id) VALUES (9) ON CONFLICT (small) DO NOTHING"},
		{"a sequence where a table is expected", "INSERT INTO SCHEMA.sequence VALUES (1)"},
		{"a view of two tables", "INSERT INTO SCHEMA.joined VALUES (1)"},
		{"a function that there is not", "SELECT trim_scales(1)"},
		{"a value that is no number", "INSERT INTO SCHEMA.t (id) VALUES ('x')"},
		{"a document that is no JSON", "INSERT INTO SCHEMA.t (id, doc) VALUES (9, '{')"},
		{"an escaped NUL in jsonb", `INSERT INTO SCHEMA.t (id, doc) VALUES (9, '{"a": "\u0000"}')`},
		{"a lone surrogate in jsonb", `INSERT INTO SCHEMA.t (id, doc) VALUES (9, '{"a": "\ud800"}')`},
		{"a text that is too long", "INSERT INTO SCHEMA.t (id, name) VALUES (9, 'too long')"},
		{"a number out of range", "INSERT INTO SCHEMA.t (id, small) VALUES (9, 40000)"},
		{"a date out of range", "INSERT INTO SCHEMA.t (id, day) VALUES (9, '9999999-01-01')"},
		{"a division by zero", "SELECT 1 / 0"},
		{"a value too long for an index", "INSERT INTO SCHEMA.long SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) n"},
		{"NULL where it is not allowed", "INSERT INTO SCHEMA.t (id, name) VALUES (9, NULL)"},
		{"a key that is there already", "INSERT INTO SCHEMA.t (id) VALUES (1)"},
		{"a foreign key that points nowhere", "INSERT INTO SCHEMA.children VALUES (1)"},
		{"a check that does not hold", "INSERT INTO SCHEMA.t (id, small) VALUES (9, 100)"},
		{"a view's check option", "INSERT INTO SCHEMA.checked VALUES (5)"},
		{"a trigger that refuses", "INSERT INTO SCHEMA.guarded VALUES (1)"},
		{"a statement that took too long", "SET LOCAL statement_timeout = 10; SELECT pg_sleep(10)"},
		{"a read-only transaction", "SET LOCAL transaction_read_only = on; INSERT INTO SCHEMA.t (id) VALUES (9)"},
		{"a database that is in use", "DROP DATABASE " + s.text(t, "SELECT quote_ident(current_database())")},
		{"a file that is not there", "COPY SCHEMA.t FROM '/nowhere'"},
		{"a statement that is none", "INSERTS"},
	} {
		// Two statements sent at once are one transaction, which a setting of its own ends with.
		_, err := s.conn.Exec(t.Context(), strings.ReplaceAll(c.statement, "SCHEMA.", s.name+"."))
		note(c.situation, err)
	}
	for _, c := range []struct{ situation, line string }{
		{"COPY of a NUL byte", "9\t1\ta\\0b\n"},
		{"COPY of broken UTF-8", "9\t1\ta\xff\n"},
		{"COPY of a field too few", "9\n"},
	} {
		_, err := s.conn.PgConn().CopyFrom(t.Context(), strings.NewReader(c.line), "COPY "+s.name+".t (id, small, name) FROM STDIN")
		note(c.situation, err)
	}

	stranger := s.connect(t, asRole)
	_, err := stranger.Exec(t.Context(), "CREATE TABLE "+s.name+".mine (id int)")
	note("a role without rights", err)

	one, other := s.connect(t, s.url), s.connect(t, s.url)
	must := func(conn *pgx.Conn, statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if _, err := conn.Exec(t.Context(), strings.ReplaceAll(statement, "SCHEMA.", s.name+".")); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	must(one, "BEGIN", "LOCK TABLE SCHEMA.t")
	must(other, "BEGIN", "SET LOCAL lock_timeout = 10")
	_, err = other.Exec(t.Context(), "INSERT INTO "+s.name+".t (id) VALUES (9)")
	note("a lock that is held for too long", err)
	must(one, "ROLLBACK")
	must(other, "ROLLBACK")

	const change = "UPDATE SCHEMA.t SET small = 1 WHERE id = "
	must(one, "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1 FROM SCHEMA.t")
	must(other, change+"1")
	_, err = one.Exec(t.Context(), strings.ReplaceAll(change+"1", "SCHEMA.", s.name+"."))
	note("a row that another transaction has changed", err)
	must(one, "ROLLBACK")

	must(one, "BEGIN", "SET LOCAL deadlock_timeout = '1h'", change+"1")
	must(other, "BEGIN", "SET LOCAL deadlock_timeout = '10ms'", change+"2")
	waits := make(chan error, 1)
	go func() {
		_, err := one.Exec(context.WithoutCancel(t.Context()), strings.ReplaceAll(change+"2", "SCHEMA.", s.name+"."))
		waits <- err
	}()
	testworld.Eventually(t, 30*time.Second, func() error {
		if s.text(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = "+pid(one)) != "1" {
			return errors.New("it does not wait yet")
		}
		return nil
	})
	_, err = other.Exec(t.Context(), strings.ReplaceAll(change+"1", "SCHEMA.", s.name+"."))
	note("a deadlock", err)
	must(other, "ROLLBACK")
	if err := <-waits; err != nil {
		t.Fatal(err)
	}
	must(one, "ROLLBACK")

	for _, c := range []struct{ situation, setting string }{
		{"a session that stood still within a transaction", "idle_in_transaction_session_timeout"},
		{"a transaction that took too long", "transaction_timeout"},
	} {
		conn := s.connect(t, s.url)
		must(conn, "SET "+c.setting+" = 50", "BEGIN")
		testworld.Eventually(t, 30*time.Second, func() error { // which the server ends by itself
			if s.text(t, "SELECT count(*) FROM pg_stat_activity WHERE pid = "+pid(conn)) != "0" {
				return errors.New("the session is still there")
			}
			return nil
		})
		_, err := conn.Exec(t.Context(), "SELECT 1")
		note(c.situation, err)
	}
	conn := s.connect(t, s.url)
	s.do(t, "SELECT pg_terminate_backend("+pid(conn)+", 10000)")
	_, err = conn.Exec(t.Context(), "SELECT 1")
	note("a session that an administrator ended", err)

	recorded.Hold(t, "postgres", got)
}

func (s schema) connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// pid is the server process of a connection.
func pid(conn *pgx.Conn) string { return strconv.FormatUint(uint64(conn.PgConn().PID()), 10) }
