package postgres

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

func TestSettingsGetTheirDefaults(t *testing.T) {
	for _, test := range []struct{ block, want string }{
		{``, `{"schema":"public","mode":"append","create":false}`},
		{`{"table": "events", "mode": "merge", "create": true}`, `{"schema":"public","table":"events","mode":"merge","create":true}`},
		{`{"schema": "Mixed Case"}`, `{"schema":"Mixed Case","mode":"append","create":false}`},
	} {
		got, err := normalizeSettings(json.RawMessage(test.block))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: got %s (%v), want %s", test.block, got, err, test.want)
		}
		if again, err := normalizeSettings(got); err != nil || string(again) != string(got) {
			t.Errorf("%s becomes %s (%v)", got, again, err)
		}
	}
}

func TestBlocksThatAreWrongAreNamed(t *testing.T) {
	for _, test := range []struct{ block, want string }{
		{`{"mode": "merge", "run_column": "run"}`, "run_column: is for mode append: with mode merge a row is whatever run wrote it last; leave it out"},
		{`{"tabel": "events"}`, `unknown field "tabel": the fields are schema, table, mode, run_column, create`},
		{`{"mode": "replace"}`, `mode: "replace" is unknown: use append, or merge for one row for each key`},
		{`{"schema": ""}`, `schema: is empty: leave it out, or give a name`},
		{`{"table": "public.events"}`, `table: "public.events" has a dot in it: give the schema in schema, and the table's name alone here`},
		{`{"table": "millrace_runs"}`, `table: "millrace_runs" begins with "millrace_", as Millrace's own tables do: use another name`},
		{`{"table": "` + strings.Repeat("x", 64) + `"}`, `table: "` + strings.Repeat("x", 64) + `" is 64 bytes long: Postgres takes at most 63`},
		{`{"create": "yes"}`, `create: is a string, and must be a bool`},
	} {
		_, err := normalizeSettings(json.RawMessage(test.block))
		wantConfigError(t, test.block, err, test.want)
	}
	for _, test := range []struct{ block, want string }{
		{`{}`, `host is missing: give host, database and user, or a url`},
		{`{"host": "db"}`, `database is missing: name the database that the rows go to`},
		{`{"host": "db", "database": "shop"}`, `user is missing: name the role that writes the rows`},
		{`{"host": "db", "database": "shop", "user": "me", "port": 70000}`, `port: 70000 must be from 1 to 65535`},
		{`{"host": "db", "database": "shop", "user": "me", "tls": "yes"}`, `tls: "yes" is unknown: use verify-full, require or disable`},
		{`{"url": "env:DATABASE_URL", "host": "db"}`, `url is given beside host, port, database, user, password or tls: give the url alone, or these without it`},
		{`{"url": "mysql://me:hunter2hunter2@db/shop"}`, `url: is not an address of a database: give it as postgres://user:password@host:5432/database`},
	} {
		_, err := normalizeConnection(json.RawMessage(test.block))
		wantConfigError(t, test.block, err, test.want)
	}
	for _, block := range []string{`{"url": "postgres://me:hunter2hunter2@db/shop?sslmode=nonsense"}`, `{"host": "db", "database": "shop", "user": "me", "password": "hunter2hunter2", "ca_certificate": "none"}`} {
		_, err := open(t.Context(), json.RawMessage(block), nil, destinations.ShapeOf(export.Definition{}.WithDefaults()))
		if export.KindOf(err) != export.KindConfig || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", block, err)
		}
	}
}

func wantConfigError(t *testing.T, block string, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want || export.KindOf(err) != export.KindConfig {
		t.Errorf("%s:\ngot  %v (%s)\nwant %s", block, err, export.KindOf(err), want)
	}
}

// The codes themselves are the server's: errors_world_test.go makes it say them. Here the classes that no test can make it say.
func TestCodesAreJudgedByThemselvesAndThenByTheirClass(t *testing.T) {
	for code, want := range map[string]export.Kind{
		"08006": export.KindDestinationUnavailable, "28000": export.KindAuth, "40001": export.KindDestinationUnavailable,
		"40P01": export.KindDestinationUnavailable, "53100": export.KindQuota, "55P03": export.KindDestinationUnavailable,
		"57P01": export.KindDestinationUnavailable, "57P03": export.KindDestinationUnavailable, "58030": export.KindDestinationUnavailable,
		"XX001": export.KindDestinationUnavailable, "22012": export.KindData, "23503": export.KindData, "42601": export.KindInternal, "": export.KindInternal,
	} {
		if got := judgeCode(code); got.Kind != want || got.Text == "" {
			t.Errorf("%s is %s (%q), want %s", code, got.Kind, got.Text, want)
		}
	}
}
