//go:build world

package postgres

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

const testSecret = "hunter2hunter2"

// with is the database's address with changes.
func (s schema) with(t testing.TB, change func(*url.URL)) string {
	t.Helper()
	address, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	change(address)
	return address.String()
}

// role makes a role of the test's own, who may use the schema, and gives the address of who comes as it.
func (s schema) role(t testing.TB, options string) (name, address string) {
	t.Helper()
	name = testworld.Name(t)
	s.do(t, "CREATE ROLE "+name+" LOGIN PASSWORD '"+testSecret+"' "+options)
	t.Cleanup(func() {
		for _, statement := range []string{"DROP OWNED BY " + name + " CASCADE", "DROP ROLE " + name} {
			if _, err := s.conn.Exec(context.Background(), statement); err != nil {
				t.Error(err)
			}
		}
	})
	return name, s.with(t, func(u *url.URL) { u.User = url.UserPassword(name, testSecret) })
}

func wantError(t testing.TB, err error, kind export.Kind, words ...string) {
	t.Helper()
	if export.KindOf(err) != kind || err == nil {
		t.Errorf("got %v (%s), want an error of kind %s", err, export.KindOf(err), kind)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	if strings.Contains(err.Error(), testSecret) {
		t.Errorf("%q tells the password", err)
	}
}

func TestErrorsOfARealServerAreClassifiedAndExplained(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, s schema) (address string)
		kind   export.Kind
		words  []string
	}{
		{"a wrong password", func(t *testing.T, s schema) string {
			return s.with(t, func(u *url.URL) { u.User = url.UserPassword("millrace", testSecret) })
		}, export.KindAuth, []string{"does not accept this user and password", "(28P01)"}},
		{"a database that is not there", func(t *testing.T, s schema) string {
			return s.with(t, func(u *url.URL) { u.Path = "/nowhere" })
		}, export.KindNotFound, []string{"the database does not exist", "(3D000)"}},
		{"a port that nobody listens on", func(t *testing.T, s schema) string {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			return s.through(t, listener.Addr().String())
		}, export.KindDestinationUnavailable, []string{"the connection was refused"}},
		{"a server that speaks something else", func(t *testing.T, s schema) string {
			return s.through(t, strings.TrimPrefix(strings.TrimPrefix(answersNonsense(t), "http://"), "https://"))
		}, export.KindDestinationUnavailable, []string{"the connection broke off"}},
		{"a host that is not known", func(t *testing.T, s schema) string {
			return s.through(t, "postgres.invalid:5432")
		}, export.KindDestinationUnavailable, nil},
		{"a role without rights", func(t *testing.T, s schema) string {
			_, address := s.role(t, "")
			return address
		}, export.KindPermission, []string{"the role lacks a right", "(42501)"}},
		{"a read-only role, as a standby is", func(t *testing.T, s schema) string {
			name, address := s.role(t, "")
			s.do(t, "GRANT ALL ON SCHEMA "+s.name+" TO "+name, "ALTER ROLE "+name+" SET default_transaction_read_only = on")
			return address
		}, export.KindDestinationUnavailable, []string{"read-only", "(25006)"}},
		{"a role that has no connection left", func(t *testing.T, s schema) string {
			_, address := s.role(t, "CONNECTION LIMIT 0")
			return address
		}, export.KindQuota, []string{"no more connections", "(53300)"}},
		{"TLS that the server does not speak", func(t *testing.T, s schema) string {
			return s.with(t, func(u *url.URL) { u.RawQuery = "sslmode=require" })
		}, export.KindDestinationUnavailable, nil},
		{"a schema that is not there", func(t *testing.T, s schema) string {
			s.do(t, "ALTER SCHEMA "+s.name+" RENAME TO "+s.name+"x")
			t.Cleanup(func() {
				if _, err := s.conn.Exec(context.Background(), "ALTER SCHEMA "+s.name+"x RENAME TO "+s.name); err != nil {
					t.Error(err)
				}
			})
			return s.url
		}, export.KindNotFound, []string{"the schema does not exist", "(3F000)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSchema(t)
			d := s.openAt(t, test.change(t, s), nil)
			_, err := d.Prepare(t.Context(), s.planOf(t, 0, 1, nil))
			wantError(t, err, test.kind, test.words...)
			var failed []string
			err = d.Check(t.Context(), func(step destinations.Step) {
				if step.Error != "" {
					failed = append(failed, step.Name)
				}
			})
			if export.KindOf(err) != test.kind || len(failed) == 0 {
				t.Errorf("check: %v, failed steps %v", err, failed)
			}
		})
	}
}

// answersNonsense is the address of a server that is no Postgres.
func answersNonsense(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = client.Write([]byte("220 mail.example.com ESMTP\r\n"))
			client.Close()
		}
	}()
	return listener.Addr().String()
}

// Errors that meet a run on its way into the target: nothing of it shows, and the kind says whether to try again.
func TestErrorsOfTheTargetPublishNothing(t *testing.T) {
	const raise = `CREATE FUNCTION SCHEMA.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN %s END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON SCHEMA.events FOR EACH ROW EXECUTE FUNCTION SCHEMA.refuse()`
	for _, test := range []struct {
		name, prepare string
		kind          export.Kind
		words         []string
	}{
		{"the disk is full", fmt.Sprintf(raise, "RAISE EXCEPTION USING ERRCODE = 'disk_full';"), export.KindQuota, []string{"make room", "(53100)"}},
		{"out of memory", fmt.Sprintf(raise, "RAISE EXCEPTION USING ERRCODE = 'out_of_memory';"), export.KindQuota, []string{"(53200)"}},
		{"a trigger refuses", fmt.Sprintf(raise, "RAISE EXCEPTION 'not today';"), export.KindData, []string{"a trigger", "(P0001)"}},
		{"a trigger keeps rows out", fmt.Sprintf(raise, "RETURN NULL;"), export.KindSchema, []string{"took 0 of the 3 rows"}},
		{"a unique key", "CREATE UNIQUE INDEX one ON SCHEMA.events (distinct_id)", export.KindData, []string{"(23505, constraint one)"}},
		{"a check", "ALTER TABLE SCHEMA.events ADD CONSTRAINT none CHECK (false)", export.KindData, []string{"(23514, constraint none)"}},
		{"a deferred constraint, at COMMIT", "ALTER TABLE SCHEMA.events ADD CONSTRAINT one UNIQUE (distinct_id) DEFERRABLE INITIALLY DEFERRED", export.KindData, []string{"(23505, constraint one)"}},
		{"a column renamed", "ALTER TABLE SCHEMA.events RENAME event TO name", export.KindSchema, []string{`column "event" is missing: add it as text; column "name" is not of the model and must not be null`}},
		{"a type changed", "ALTER TABLE SCHEMA.events ALTER uuid TYPE bytea USING ''", export.KindSchema, []string{`column "uuid" is bytea, and ClickHouse's is UUID: make it uuid or text`}},
		{"the table dropped", "DROP TABLE SCHEMA.events", export.KindNotFound, []string{"events\" does not exist: say create: true"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSchema(t)
			plan := s.planOf(t, 0, 3, nil)
			manifest, err := write(t.Context(), s.open(t, nil), plan, someRows(3))
			if err != nil {
				t.Fatal(err)
			}
			for statement := range strings.SplitSeq(test.prepare, ";\n") {
				s.do(t, statement)
			}
			_, err = s.open(t, nil).Publish(t.Context(), manifest)
			wantError(t, err, test.kind, test.words...)
			if published, err := s.open(t, nil).Published(t.Context(), plan.Run); err != nil || published != nil {
				t.Errorf("published: %v (%v)", published, err)
			}
			if test.kind != export.KindNotFound {
				if got := s.text(t, "SELECT count(*) FROM SCHEMA.events"); got != "0" {
					t.Errorf("%s rows are there", got)
				}
			}
		})
	}
}

// Merging goes by the model's key and version, which must be among what is exported.
func TestAModelThatCannotBeMergedIsRefused(t *testing.T) {
	for words, change := range map[string]func(d *Destination){
		"the model has no version":                           func(d *Destination) { d.version = "" },
		`goes by column "other", which is not exported`:      func(d *Destination) { d.key = []string{"team_id", "other"} },
		`goes by column "changed_at", which is not exported`: func(d *Destination) { d.version = "changed_at" },
	} {
		s := newSchema(t)
		more := map[string]any{"mode": modeMerge}
		d := s.open(t, more)
		change(d)
		_, err := d.Prepare(t.Context(), s.planOf(t, 0, 1, more))
		wantError(t, err, export.KindConfig, words)
	}
}

// A target that does not fit is refused before a byte of a chunk is read, with every column that does not fit.
func TestATableThatDoesNotFitIsRefusedBeforeTheFirstByte(t *testing.T) {
	const fits = `team_id bigint, uuid uuid, event text, distinct_id text, "timestamp" timestamptz, properties jsonb, received_at timestamptz, inserted_at timestamptz`
	for _, test := range []struct {
		name, create, mode string
		kind               export.Kind
		words              []string
	}{
		{"no table", "SELECT 1", modeAppend, export.KindNotFound, []string{"does not exist: say create: true in the export's block, or create it: CREATE TABLE", `"team_id" bigint NOT NULL`}},
		{"columns of other types", strings.NewReplacer("team_id bigint", "team_id integer", "event text", "event varchar(50)", "received_at timestamptz", "received_at timestamptz(3)").Replace("CREATE TABLE SCHEMA.events (" + fits + ")"), modeAppend, export.KindSchema, []string{
			`column "team_id" is integer, and ClickHouse's is Int64: make it bigint or numeric`,
			`column "event" is character varying(50), and ClickHouse's is String: make it text or character varying`,
			`column "received_at" is timestamp(3) with time zone, and ClickHouse's is DateTime64(6, 'UTC'): make it timestamp with time zone or timestamp without time zone`,
		}},
		{"a column too few", "CREATE TABLE SCHEMA.events (" + strings.Replace(fits, "event text, ", "", 1) + ")", modeAppend, export.KindSchema, []string{`column "event" is missing: add it as text`}},
		{"a column too many that must not be null", "CREATE TABLE SCHEMA.events (" + fits + ", more text NOT NULL)", modeAppend, export.KindSchema, []string{`column "more" is not of the model and must not be null`}},
		{"a generated column", "CREATE TABLE SCHEMA.events (" + strings.Replace(fits, "event text", "event text GENERATED ALWAYS AS ('x') STORED", 1) + ")", modeAppend, export.KindSchema, []string{`column "event" is generated`}},
		{"a view", `CREATE VIEW SCHEMA.events AS SELECT 1 AS team_id`, modeAppend, export.KindSchema, []string{"is no table that rows can be moved into"}},
		{"no key to merge by", "CREATE TABLE SCHEMA.events (" + fits + ")", modeMerge, export.KindSchema, []string{`no primary key or unique index on ("team_id", "uuid")`}},
		{"a partial key to merge by", "CREATE TABLE SCHEMA.events (" + fits + "); CREATE UNIQUE INDEX ON SCHEMA.events (team_id, uuid) WHERE team_id = 1", modeMerge, export.KindSchema, []string{`no primary key or unique index`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSchema(t)
			for statement := range strings.SplitSeq(test.create, "; ") {
				s.do(t, statement)
			}
			more := map[string]any{"create": false, "mode": test.mode, "table": "events"}
			d, plan := s.open(t, more), s.planOf(t, 0, 1, more)
			_, err := d.Prepare(t.Context(), plan)
			wantError(t, err, test.kind, test.words...)
			_, err = d.WriteChunk(t.Context(), destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Source: untouched{t}})
			wantError(t, err, test.kind, test.words...)
			var failed []string
			_ = d.Check(t.Context(), func(step destinations.Step) {
				if step.Error != "" {
					failed = append(failed, step.Name)
				}
			})
			if !slices.Equal(failed, []string{"hold the table against the model"}) {
				t.Errorf("check fails at %v", failed)
			}
		})
	}
}

// Tables that a user made, with columns and keys of his own, take rows when the model's columns fit.
func TestATableOfTheUsersOwnTakesRows(t *testing.T) {
	for _, properties := range []string{"json", "jsonb", "text"} {
		for _, instant := range []string{"timestamptz", "timestamp"} {
			t.Run(properties+" "+instant, func(t *testing.T) {
				s := newSchema(t)
				s.do(t, strings.NewReplacer("JSON", properties, "INSTANT", instant).Replace(`CREATE TABLE SCHEMA."My Events" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, inserted_at INSTANT, properties JSON,
					received_at INSTANT, "timestamp" INSTANT, distinct_id varchar, event text, uuid uuid, team_id numeric, loaded timestamptz NOT NULL DEFAULT now(), note text, UNIQUE (team_id, uuid))`))
				more := map[string]any{"table": "My Events", "mode": modeMerge, "create": false}
				if _, err := runOnce(t.Context(), s.open(t, more), s.planOf(t, 0, 3, more), someRows(3)); err != nil {
					t.Fatal(err)
				}
				got := s.text(t, `SELECT string_agg(concat_ws(' ', team_id, right(uuid::text, 2), event, distinct_id, properties, "timestamp" AT TIME ZONE 'UTC'), '; ' ORDER BY uuid) FROM SCHEMA."My Events"`)
				if instant == "timestamp" {
					got = s.text(t, `SELECT string_agg(concat_ws(' ', team_id, right(uuid::text, 2), event, distinct_id, properties, "timestamp"), '; ' ORDER BY uuid) FROM SCHEMA."My Events"`)
				}
				if properties == "jsonb" {
					got = strings.ReplaceAll(got, `{"n": `, `{"n":`)
				}
				want := `1 01 event somebody {"n":1} 2026-11-23 10:00:00; 1 02 event somebody {"n":2} 2026-11-23 10:00:00.000001; 1 03 event somebody {"n":3} 2026-11-23 10:00:00.000002`
				if got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			})
		}
	}
}

// untouched is a source that must not be opened.
type untouched struct{ *testing.T }

func (u untouched) Open(context.Context, export.Encoding) (io.ReadCloser, error) {
	u.Error("the source was opened")
	return io.NopCloser(strings.NewReader("")), nil
}

// text is a source of bytes as they are.
type text string

func (s text) Open(context.Context, export.Encoding) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(s))), nil
}

// A row that Postgres cannot hold ends the chunk, and the error names its key and column, and none of its values.
func TestARowThatPostgresCannotHoldIsNamedByItsKey(t *testing.T) {
	const line = "7\t00000000-0000-7000-8000-0000000000%02x\t%s\tsomebody\t2026-11-23T10:00:00.000001Z\t%s\t2026-11-23T10:00:00Z\t%s\n"
	const at = "2026-11-23T10:00:00Z"
	good := func(id int) string { return fmt.Sprintf(line, id, "event", "{}", at) }
	for _, test := range []struct {
		name, properties, bad, column, code string
	}{
		{"a NUL byte", "json", fmt.Sprintf(line, 3, `hush\0`, "{}", at), "", "22021"},
		{"broken UTF-8", "json", fmt.Sprintf(line, 3, "hush\xff", "{}", at), "", "22021"},
		{"an escaped NUL in jsonb", "jsonb", fmt.Sprintf(line, 3, "event", `{"hush":"\\u0000"}`, at), "properties", "22P05"},
		{"a lone surrogate in jsonb", "jsonb", fmt.Sprintf(line, 3, "event", `{"hush":"\\ud800"}`, at), "properties", "22P02"},
		{"no JSON", "json", fmt.Sprintf(line, 3, "event", `hush`, at), "properties", "22P02"},
		{"a date out of range", "json", fmt.Sprintf(line, 3, "event", "{}", "999999-01-01T00:00:00Z"), "inserted_at", "22008"},
		{"no number", "json", strings.Replace(fmt.Sprintf(line, 3, "event", "{}", at), "7\t", "hush\t", 1), "team_id", "22P02"},
		{"a field too few", "json", "7\t00000000-0000-7000-8000-000000000003\thush\n", "", "22P04"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSchema(t)
			d, plan := s.open(t, nil), s.planOf(t, 0, 5, nil)
			s.do(t, strings.Replace(strings.Replace(d.createTarget(), `"properties" json`, `"properties" `+test.properties, 1), "IF NOT EXISTS", "", 1))
			before := s.contents(t)
			_, err := d.WriteChunk(t.Context(), destinations.ChunkTask{
				Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Source: text(good(1) + good(2) + test.bad + good(4) + good(5)),
			})
			words := []string{"row 3", "(" + test.code}
			if test.code != "22P04" {
				words = append(words, "uuid 00000000-0000-7000-8000-000000000003")
			}
			if test.column != "" {
				words = append(words, "column "+test.column)
			}
			wantError(t, err, export.KindData, words...)
			if test.name != "no number" && strings.Contains(fmt.Sprint(err), "hush") { // there it is the key
				t.Errorf("%q shows a value", err)
			}
			if len(s.stagingTables(t)) != 0 {
				t.Errorf("left behind: %v, before %v", s.contents(t), before)
			}
		})
	}
}

// What only looks strange is kept as it is, in the columns of a table that was created.
func TestStrangeValuesAreKept(t *testing.T) {
	s := newSchema(t)
	huge := strings.Repeat("x", 20<<20)
	lines := `1	00000000-0000-7000-8000-000000000001	\N\\N	a\tb\nc\\	1900-01-01T00:00:00.000001Z	{"nul":"\\u0000","lone":"\\ud800","huge":1e999}	2299-12-31T23:59:59.999999Z	2026-11-23T10:00:00Z` + "\n" +
		"-9223372036854775808\t00000000-0000-7000-8000-000000000002\t🐢\t\t2026-11-23T10:00:00Z\t{\"huge\":\"" + huge + "\"}\t2026-11-23T10:00:00Z\t2026-11-23T10:00:00Z\n"
	lines = strings.Replace(lines, `\N\\N`, `\\N`, 1)
	if _, err := runOnce(t.Context(), s.open(t, nil), s.planOf(t, 0, 2, nil), text(lines)); err != nil {
		t.Fatal(err)
	}
	got := s.text(t, `SELECT concat_ws('|', event, distinct_id, "timestamp" AT TIME ZONE 'UTC', properties, received_at AT TIME ZONE 'UTC') FROM SCHEMA.events WHERE team_id = 1`)
	want := "\\N|a\tb\nc\\|1900-01-01 00:00:00.000001|" + `{"nul":"\u0000","lone":"\ud800","huge":1e999}` + "|2299-12-31 23:59:59.999999"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := s.text(t, "SELECT concat_ws('|', event, distinct_id, length(properties::text)) FROM SCHEMA.events WHERE team_id < 0"); got != fmt.Sprintf("🐢||%d", len(huge)+len(`{"huge":""}`)) {
		t.Errorf("got %q", got)
	}
}

// Merging keeps one row for each key, the one that arrived last: within a chunk, and whatever order intervals are run in.
func TestMergingKeepsTheNewest(t *testing.T) {
	s := newSchema(t)
	more := map[string]any{"mode": modeMerge}
	event := func(id int, name string, hour, micros int) row {
		return row{id, name, tenOClock.Add(time.Duration(hour)*time.Hour + time.Duration(micros)*time.Microsecond)}
	}
	for _, run := range []struct {
		hour int
		rows rows
	}{
		{2, rows{event(1, "noon", 2, 1), event(2, "noon", 2, 1), event(2, "noon, later", 2, 2), event(3, "noon", 2, 3), event(3, "noon, same block, later", 2, 3)}},
		{0, rows{event(1, "morning", 0, 1), event(4, "morning", 0, 1)}}, // a backfill
		{5, rows{event(4, "evening", 5, 1)}},
	} {
		if _, err := runOnce(t.Context(), s.open(t, more), s.planOf(t, run.hour, len(run.rows), more), run.rows); err != nil {
			t.Fatal(err)
		}
	}
	got := s.text(t, "SELECT string_agg(right(uuid::text, 1) || ' ' || event, '; ' ORDER BY uuid) FROM SCHEMA.events")
	if want := "1 noon; 2 noon, later; 3 noon, same block, later; 4 evening"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
