//go:build world

package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/destinationtest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/internal/testworld/testcut"
)

func worldClickHouse(t testing.TB) destinationtest.ClickHouse {
	t.Helper()
	return destinationtest.ClickHouse{URL: testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL")}
}

// forms are the one way in which a schema holds rows: a table of them.
func (s schema) forms(t testing.TB, more map[string]any) []destinationtest.Form {
	t.Helper()
	const name = "rows"
	with := map[string]any{"table": name}
	for field, value := range more {
		with[field] = value
	}
	of := func(t testing.TB, address string, shape destinations.Shape) *Destination {
		d := s.openAt(t, address, with)
		d.columns, d.key, d.version, d.arrival, d.team = shape.Columns, shape.Key, shape.Version, shape.Arrival, shape.Team
		return d
	}
	return []destinationtest.Form{{
		Name: "table", Settings: s.settings(t, with),
		Open: func(t testing.TB, shape destinations.Shape) destinations.Destination { return of(t, s.url, shape) },
		Unsure: func(t testing.TB, shape destinations.Shape, arrives bool) destinations.Destination {
			var commits *testcut.Commits
			ready := make(chan struct{})
			commits = newCommits(t, s, func(int64) testcut.Cut {
				<-ready
				commits.Refuse() // nobody comes through any more
				if arrives {
					return testcut.LoseAnswer
				}
				return testcut.LoseItself
			})
			close(ready)
			return of(t, s.through(t, commits.Address), shape)
		},
		Fit: func(t testing.TB, columns []export.Column) {
			s.fit(t, of(t, s.url, destinations.Shape{Columns: columns, Key: []string{"id"}}))
		},
		Read: func(t testing.TB, manifest export.Manifest, columns []export.Column) [][]*string {
			return s.texts(t, name, manifest.Run.Interval, columns)
		},
	}}
}

// fit makes a table fit for a destination's columns, as its owner would.
func (s schema) fit(t testing.TB, d *Destination) {
	t.Helper()
	if slices.ContainsFunc(d.columns, func(c export.Column) bool { return len(fitsOf(c)) == 0 }) {
		return // no table is; somebody else is told so
	}
	s.do(t, d.createTarget())
	there := map[string]string{}
	for _, both := range s.list(t, "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped", d.settings.target()) {
		name, kind, _ := strings.Cut(both, " ")
		there[name] = kind
	}
	for _, column := range d.columns {
		kind, has := there[column.Name]
		_, takes := fitOf(column, kind)
		made, name := fitsOf(column)[0].postgres, pgx.Identifier{column.Name}.Sanitize()
		switch {
		case !has:
			s.do(t, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", d.settings.target(), name, made))
		case !takes:
			s.do(t, fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s USING %[2]s::%[3]s", d.settings.target(), name, made))
		}
	}
}

// texts has Postgres say the rows of an interval, each value by its own text.
func (s schema) texts(t testing.TB, table string, interval export.Interval, columns []export.Column) (rows [][]*string) {
	t.Helper()
	var values []string
	for _, column := range columns {
		value := pgx.Identifier{column.Name}.Sanitize()
		if strings.Contains(column.Type, "DateTime") {
			value = "(" + value + " AT TIME ZONE 'UTC')"
		}
		values = append(values, value+"::text")
	}
	for _, line := range s.list(t, fmt.Sprintf("SELECT json_build_array(%s)::text FROM %s.%s WHERE changed >= $1 AND changed < $2", strings.Join(values, ", "), s.name, table), interval.Start, interval.End) {
		var row []*string
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// asExpired is the schema's address for a role that was let in, until its password expired.
func (s schema) asExpired(t testing.TB) string {
	t.Helper()
	name, address := s.role(t, "")
	_ = s.connect(t, address)
	s.do(t, "ALTER ROLE "+name+" VALID UNTIL '2000-01-01'")
	return address
}

// options are settings of the sessions of an address.
func (s schema) options(t testing.TB, settings string) string {
	return s.with(t, func(u *url.URL) {
		query := u.Query()
		query.Set("options", settings)
		u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	})
}

// full is the schema's address for sessions that are answered as by a server whose disk is full, by triggers: none that the
// tests have can be filled. Each of the steps that write makes a table or has a row for one.
func (s schema) full(t testing.TB) string {
	t.Helper()
	s.do(t,
		"CREATE FUNCTION SCHEMA.is_full() RETURNS boolean LANGUAGE sql AS $$ SELECT coalesce(current_setting('millrace.full', true), '') = '"+s.name+"' $$",
		"CREATE FUNCTION SCHEMA.no_table() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF "+s.name+".is_full() THEN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END IF; END $$",
		"CREATE FUNCTION SCHEMA.no_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF "+s.name+".is_full() THEN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END IF; RETURN NULL; END $$",
		"CREATE EVENT TRIGGER "+s.name+" ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION SCHEMA.no_table()",
		"CREATE TRIGGER full_disk BEFORE INSERT ON SCHEMA.events EXECUTE FUNCTION SCHEMA.no_row()",
	)
	t.Cleanup(func() { // before the function that other sessions may be about to call
		if _, err := s.conn.Exec(context.Background(), "DROP EVENT TRIGGER "+s.name); err != nil {
			t.Error(err)
		}
	})
	return s.options(t, "-c millrace.full="+s.name)
}
