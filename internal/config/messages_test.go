package config_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
)

// The exact message for each thing that people get wrong: file, line, field, value, remedy.
func TestMessages(t *testing.T) {
	const team = "teams:\n  - {id: 1, name: shop, token: mr_shop}\n"
	const lake = "connections:\n  - name: lake\n    s3:\n      bucket: lake\n"
	const definition = "exports:\n  - name: shop-events\n    team: 1\n    connection: lake\n    every: 1h\n    s3: {prefix: events}\n"
	const orders = "models:\n  - name: orders\n    query: SELECT * FROM shop.orders\n    arrival: updated_at\n    key: [id]\n    settle: 10m\n"
	for _, test := range []struct{ name, file, want string }{
		{"empty", "# nothing\n", `m.yaml: is empty: it needs teams, connections or exports; examples/millrace.yaml is one to copy`},
		{"a list", "- a\n", `m.yaml: must hold the sections teams, connections and exports; examples/millrace.yaml is one to copy`},
		{"two documents", "teams: []\n---\nteams: []\n", `m.yaml: holds 2 YAML documents, but one is read: remove the lines "---"`},
		{"syntax", "teams:\n  - {id: 1\nx", `m.yaml:3: ',' or '}' must be specified`},
		{"key twice", "teams: []\nteams: []\n", `m.yaml:2: mapping key "teams" already defined at [1:1]`},
		{"unknown section", "team: []\n", `m.yaml:1: team: unknown field "team": the fields here are teams, models, connections, exports, backfills, reconcile`},
		{"backfills at no hours", "backfills: {hours: nightly}\n", `m.yaml:1: backfills: hours: "nightly" must be two different times of day, such as "22:00-06:00"`},
		{"backfills with a budget below nothing", "backfills:\n  rows_per_second: -5\n", `m.yaml:2: backfills: rows_per_second: -5 must not be below 0; 0 sets no bound`},
		{"backfills with an unknown field", "backfills:\n  rows: 5\n", `m.yaml:2: backfills.rows: unknown field "rows": the fields here are rows_per_second, megabytes_per_second, hours, time_zone, clickhouse`},
		{"backfills with another setting", "backfills:\n  clickhouse: {max_threads: 1, readonly: 0}\n", `m.yaml:2: backfills.clickhouse.readonly: is no setting of ClickHouse that may be changed here: those are max_memory_usage, max_network_bandwidth, max_threads, priority, workload`},
		{"section of wrong type", "teams: 7\n", `m.yaml:1: teams: a number cannot stand here, it must be a list`},
		{"unknown field of a team", "teams:\n  - id: 1\n    name: shop\n    tokn: mr_shop\n", `m.yaml:4: teams[0].tokn: unknown field "tokn": the fields here are id, name, token`},
		{"team without id", "teams:\n  - {name: shop, token: mr_shop}\n", `m.yaml:2: teams[0].id: 0 must be a number of at least 1, of this team alone for ever`},
		{"team id of wrong type", "teams:\n  - {id: one, name: shop, token: mr_shop}\n", `m.yaml:2: teams[0].id: a string cannot stand here, it must be a whole number`},
		{"team without name", "teams:\n  - {id: 1, token: mr_shop}\n", `m.yaml:2: teams[0].name: is missing: give the team a name for people`},
		{"team without token", "teams:\n  - {id: 1, name: shop}\n", `m.yaml:2: teams[0].token: is missing: give the token that the team's clients send, such as "mr_shop"`},
		{"team id twice", team + "  - {id: 1, name: b, token: b}\n", `m.yaml:3: teams[1].id: 1 is the id of teams[0] ("shop") already: every team needs its own`},
		{"team name twice", team + "  - {id: 2, name: shop, token: b}\n", `m.yaml:3: teams[1].name: "shop" is the name of teams[0] already: every team needs its own`},
		{"team token twice", team + "  - {id: 2, name: b, token: mr_shop}\n", `m.yaml:3: teams[1].token: is the token of teams[0] ("shop") already: every team needs its own, or events could not be told apart`},
		{"connection without name", "connections:\n  - s3: {}\n", `m.yaml:2: connections[0].name: is missing: exports name a connection by it`},
		{"connection without block", "connections:\n  - name: lake\n", `m.yaml:2: connections[0]: connection "lake" has no destination: add one block named after it, such as "s3: {bucket: lake}"`},
		{"connection with two blocks", "connections:\n  - {name: lake, s3: {}, gcs: {}}\n", `m.yaml:2: connections[0]: connection "lake" has the blocks gcs, s3, but a connection is one destination: make it 2 connections`},
		{"connection with a loose field", "connections:\n  - name: lake\n    bucket: lake\n", `m.yaml:3: connections[0].bucket: unknown field "bucket": a connection has a name, and one block named after its destination, such as "s3"`},
		{"connection name twice", lake + "  - name: lake\n    s3: {}\n", `m.yaml:5: connections[1].name: "lake" is the name of connections[0] already: choose another`},
		{"literal secret", lake + "      secret_access_key: hunter2\n", `m.yaml:5: connections[0].s3.secret_access_key: is a secret written out: put it into an environment variable or a file, and write env:NAME or file:PATH here`},
		{"literal number as secret", lake + "      password: 471108\n", `m.yaml:5: connections[0].s3.password: is a secret written out: put it into an environment variable or a file, and write env:NAME or file:PATH here`},
		{"literal below a secret", lake + "      credentials: {key: [hunter2]}\n", `m.yaml:5: connections[0].s3.credentials.key[0]: is a secret written out: put it into an environment variable or a file, and write env:NAME or file:PATH here`},
		{"password in a URL", lake + "      proxy: http://me:hunter2@proxy/\n", `m.yaml:5: connections[0].s3.proxy: is a URL with a password in it: put the whole URL into an environment variable or a file, and write env:NAME or file:PATH here`},
		{"reference to nothing", lake + "      region: \"env:\"\n", `m.yaml:5: connections[0].s3.region: env: must be followed by the name of an environment variable, such as env:AWS_SECRET_ACCESS_KEY`},
		{"file of no path", lake + "      region: \"file:\"\n", `m.yaml:5: connections[0].s3.region: file: must be followed by the path of a file, such as file:/run/secrets/key`},
		{"reconcile at no time", "reconcile: {at: \"25:00\"}\n", `m.yaml:1: reconcile: at: "25:00" is no time of day: give one such as "03:30"`},
		{"reconcile in no zone", "reconcile: {at: \"03:30\", time_zone: Mars}\n", `m.yaml:1: reconcile: time_zone: "Mars" is not a name of the IANA time zone database, such as "Europe/Berlin"`},
		{"reconcile that finds nothing to revise", "reconcile: {at: \"03:30\", sample: 0, revise: true}\n", `m.yaml:1: reconcile: revise: with sample 0 no run is compared, so none is found to be exported again: give a greater sample, or leave one of them out`},
		{"reconcile that removes what is young", "reconcile: {at: \"03:30\", remove: true, remove_after: 5m}\n", `m.yaml:1: reconcile: remove_after: "5m" must be at least "1h": what is younger may be at work`},
		{"export with unknown field", definition + "    fromat: parquet\n", `m.yaml:2: exports[0]: export "shop-events": unknown field "fromat": the fields are name, title, team, model, columns, filters, connection, every, offset, time_zone, earlier, chunk_rows, chunk_bytes, give_up_after, pause_after, proof, order, start, end and redo_before in a run's input, and one block named after the destination, such as "s3"`},
		{"a model without a query", "models:\n  - {name: orders}\n", `m.yaml:2: models[0]: model "orders": query is missing: give one SELECT with the columns to export`},
		{"a model's name alone", "models:\n  - orders\n", `m.yaml:2: models[0]: "orders" is a name alone: give name, query, arrival, key, and settle or watermark`},
		{"a model with columns", orders + "    columns: [{name: id, type: UInt64}]\n", `m.yaml:7: models[0].columns: are what ClickHouse says of the query: leave them out here; an export's columns choose among them`},
		{"a model that never closes", strings.Replace(orders, "    settle: 10m\n", "", 1), `m.yaml:2: models[0]: model "orders": settle is missing: say how long after its end an interval is complete, such as "10m": whoever loads the table must be that fast; for Millrace's own tables say watermark: true instead`},
		{"a model twice", orders + strings.TrimPrefix(orders, "models:\n"), `m.yaml:7: models[1].name: "orders" is the name of models[0] already: choose another`},
		{"export of an unknown model", orders + strings.Replace(definition, "team: 1", "team: 1\n    model: order", 1), `m.yaml:10: exports[0].model: "order" is no model: the models are events, orders; add it under models`},
		{"export off the grid", strings.Replace(definition, "1h", "7m", 1), `m.yaml:2: exports[0]: export "shop-events": every: "7m" must divide a day evenly, or be "1d" or "1w"; try "5m", "15m", "1h" or "1d"`},
		{"export twice", definition + strings.TrimPrefix(definition, "exports:\n"), `m.yaml:7: exports[1].name: "shop-events" is the name of exports[0] already: an export's name is its identity for ever, choose another`},
		{"export of an unknown team", team + strings.Replace(definition, "team: 1", "team: 7", 1), `m.yaml:5: exports[0].team: 7 is no team of this file: the teams are 1 (shop)`},
		{"export to an unknown connection", lake + strings.Replace(definition, "connection: lake", "connection: pond", 1), `m.yaml:8: exports[0].connection: connection "pond" is not in m.yaml: the connections there are lake`},
		{"export with another kind's block", lake + strings.Replace(definition, "s3:", "gcs:", 1), `m.yaml:10: exports[0].gcs: the connection "lake" is of kind "s3": name the block "s3", or take a connection of kind "gcs"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Parse("m.yaml", []byte(test.file))
			if err == nil {
				t.Fatalf("accepted, want %s", test.want)
			}
			if err.Error() != test.want {
				t.Errorf("\ngot  %v\nwant %s", err, test.want)
			}
			if kind := export.KindOf(err); kind != export.KindConfig {
				t.Errorf("kind is %s, want config", kind)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "471108") {
				t.Errorf("shows the secret: %v", err)
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	_, err := config.Load("nowhere.yaml")
	const want = `nowhere.yaml: there is no such file: name one with --config or MILLRACE_CONFIG; examples/millrace.yaml is one to copy`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
