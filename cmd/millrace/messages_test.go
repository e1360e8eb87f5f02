package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/config"
)

// What people get wrong, with the exact message on standard error and the exit code.
func TestMessages(t *testing.T) {
	folder := t.TempDir()
	good := filepath.Join(folder, "good.yaml")
	write(t, good, "teams:\n  - {id: 1, name: shop, token: mr_shop}\nconnections:\n  - name: lake\n    s3: {bucket: lake, access_key_id: env:TEST_UNSET, secret_access_key: env:TEST_UNSET}\n")
	teamless := filepath.Join(folder, "teamless.yaml")
	write(t, teamless, "teams: []\n")
	foreign := filepath.Join(folder, "foreign.yaml")
	write(t, foreign, "connections:\n  - name: lake\n    ftp: {host: h}\n")
	wrong := filepath.Join(folder, "wrong.yaml")
	write(t, wrong, "exports:\n  - {name: e, team: 1, connection: lake, every: 1h, s3: {prefix: p, fromat: parquet}}\n")
	hourly := filepath.Join(folder, "hourly.yaml")
	write(t, hourly, "exports:\n  - {name: e, team: 1, connection: lake, every: 1h, s3: {prefix: p}}\n")
	const times = "--start 2026-11-23T10:00:00Z --end 2026-11-23T12:00:00Z"
	world := map[string]string{
		config.VarClickHouseURL: "clickhouse://u:p@127.0.0.1:1/d", config.VarClickHouseHTTPURL: "http://127.0.0.1:1", config.VarKafkaBrokers: "127.0.0.1:1",
	}

	key := map[string]string{config.VarCodecKeys: "k1=env:TEST_KEY", "TEST_KEY": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa="}
	for _, test := range []struct {
		args string
		env  map[string]string
		code int
		want string
	}{
		{"fly", nil, exitUsage, `millrace: "fly" is no command: the commands are apply, backfill, check, codec, completion, delete, estimate, ingest, pause, reconcile, resume, run, runs, setup, status, up, verify, version, worker`},
		{"--fast", nil, exitUsage, "millrace: unknown flag: --fast: see `millrace --help`"},
		{"version now", nil, exitUsage, "millrace: millrace version takes no arguments, but there are 1: see `millrace version --help`"},
		{"run " + times, nil, exitUsage, "millrace: millrace run takes the name of an export, but there are 0: see `millrace run --help`"},
		{"run shop", nil, exitUsage, "millrace: --start is missing: give an RFC 3339 time, such as --start 2026-11-23T10:00:00Z"},
		{"run shop --start 2026-11-23T10:00:00Z", nil, exitUsage, "millrace: --end is missing: give an RFC 3339 time, such as --end 2026-11-23T10:00:00Z"},
		{"run shop --start yesterday --end 2026-11-23T10:00:00Z", nil, exitUsage, `millrace: --start: "yesterday" is not an RFC 3339 time, such as 2026-11-23T10:00:00Z`},
		{"run shop --start 2026-11-23T12:00:00Z --end 2026-11-23T10:00:00Z", nil, exitUsage, "millrace: start 2026-11-23T12:00:00Z is not before end 2026-11-23T10:00:00Z: an interval is [start, end), give a later end"},
		{"run shop --failed --start noon", nil, exitUsage, `millrace: --start: "noon" is not an RFC 3339 time, such as 2026-11-23T10:00:00Z`},
		{"run shop --failed --start 2026-11-23T12:00:00Z --end 2026-11-23T10:00:00Z", world, exitUsage, "millrace: start 2026-11-23T12:00:00Z is not before end 2026-11-23T10:00:00Z: an interval is [start, end), give a later end"},
		{"run shop --failed --parallel 0", nil, exitUsage, "millrace: --parallel: 0 must be at least 1"},
		{"run shop --failed", nil, exitUsage, "millrace: MILLRACE_CLICKHOUSE_URL, MILLRACE_CLICKHOUSE_HTTP_URL are not set: give the addresses of your own servers; " + config.DevWorld},
		{"run shop --parallel 0 " + times, nil, exitUsage, "millrace: --parallel: 0 must be at least 1"},
		{"run shop --dry-run --failed", nil, exitUsage, "millrace: --dry-run estimates a range, and --failed has none: `millrace runs shop --failed` lists what --failed would repeat"},
		{"run shop --dry-run --detach " + times, nil, exitUsage, "millrace: --dry-run starts nothing that --detach could leave alone: give one of them"},
		{"backfill shop --pause --resume", nil, exitUsage, "millrace: --pause and --resume: give one of them at a time"},
		{"backfill shop --follow " + times, nil, exitUsage, "millrace: --follow is for a backfill that is under way, and --start for one that is to be started: give the one or the other"},
		{"backfill shop --resume --note hi", nil, exitUsage, "millrace: --note: it is a note on --pause or --cancel, and neither is given"},
		{"run shop --redo --failed", nil, exitUsage, "millrace: --redo exports again what is published, and --failed what is not: give one of them"},
		{"run shop --redo-before 2026-11-23T10:00:00Z --dry-run " + times, nil, exitUsage, "millrace: " + noForetold},
		{"run shop --redo --redo-before 2026-11-23T10:00:00Z " + times, nil, exitUsage, "millrace: --redo is --redo-before with the present moment: give one of them"},
		{"run shop --redo-before noon " + times, nil, exitUsage, "millrace: --redo-before: \"noon\" is not an RFC 3339 time, such as 2026-11-23T10:00:00Z"},
		{"reconcile shop --sample 3 --all", nil, exitUsage, "millrace: --all compares all published runs, and --sample 3 so many: give one of them"},
		{"reconcile shop --sample 0 --revise", nil, exitUsage, "millrace: --revise exports again what is found not to be what it was, and --sample 0 compares nothing: give --all, or a greater --sample"},
		{"reconcile shop --remove-after 2h", nil, exitUsage, "millrace: --remove-after says how old leftovers must be: give --leftovers or --remove with it"},
		{"backfill shop --reason late", nil, exitUsage, "millrace: --reason says why a range is exported again: give --redo with it"},
		{"backfill shop --redo --follow", nil, exitUsage, "millrace: --follow is for a backfill that is under way, and --redo for one that is to be started: give the one or the other"},
		{"backfill shop --redo-before 2026-11-23T10:00:00Z --dry-run", nil, exitUsage, "millrace: " + noForetold},
		{"backfill shop --redo", nil, exitUsage, "millrace: --redo exports all of its range again, and without --start that is the whole history: give --start, be it that of the whole history"},
		{"backfill shop --redo-before 2026-11-23T10:00:00Z --end 2026-11-23T10:00:00Z", nil, exitUsage, "millrace: --redo exports all of its range again, and without --start that is the whole history: give --start, be it that of the whole history"},
		{"backfill shop --parallel 0 " + times, nil, exitUsage, "millrace: --parallel: 0 must be from 1 to 64; leave it out for 4"},
		{"backfill shop --step 0 " + times, nil, exitUsage, `millrace: --step: "0" must be above zero; leave it out for one interval`},
		{"backfill shop --step 0h " + times, nil, exitUsage, `millrace: --step: "0h" must be above zero; leave it out for one interval`},
		{"backfill shop --dry-run --detach", nil, exitUsage, "millrace: --dry-run starts nothing, so there is nothing for --detach to leave alone: give one of them"},
		{"estimate", nil, exitUsage, "millrace: millrace estimate takes the name of an export, but there are 0: see `millrace estimate --help`"},
		{"estimate shop --end 2026-11-23T10:00:00Z", nil, exitUsage, "millrace: --start is missing: give an RFC 3339 time, such as --start 2026-11-23T10:00:00Z"},
		{"estimate shop --start 2026-11-23T12:00:00Z --end 2026-11-23T10:00:00Z", nil, exitUsage, "millrace: start 2026-11-23T12:00:00Z is not before end 2026-11-23T10:00:00Z: an interval is [start, end), give a later end"},
		{"estimate shop --local --config " + hourly, nil, exitUsage, `millrace: export "shop" is not in ` + hourly + ": the exports there are e"},
		{"estimate e --local --start 2026-11-23T10:00:00Z --end 2026-11-23T10:30:00Z --config " + hourly, nil, exitUsage, "millrace: end 2026-11-23T10:30:00Z is not a boundary of the export's grid (every 1h): the nearest are 2026-11-23T10:00:00Z and 2026-11-23T11:00:00Z"},
		{"estimate e --local --start 1926-01-01T00:00:00Z --end 2026-01-01T00:00:00Z --config " + hourly, nil, exitUsage, "millrace: 1926-01-01T00:00:00Z–2026-01-01T00:00:00Z has more than 250000 intervals of 1h, which is what is estimated at a time: give a shorter range"},
		{"estimate e --local --config " + hourly, nil, exitUsage, "millrace: MILLRACE_CLICKHOUSE_URL, MILLRACE_CLICKHOUSE_HTTP_URL are not set: give the addresses of your own servers; " + config.DevWorld},
		{"codec", nil, exitUsage, "millrace: MILLRACE_CODEC_KEYS is not set, so there is nothing to decrypt with: give it as the workers have it, such as k1=env:MILLRACE_CODEC_KEY"},
		{"codec --listen 8234", key, exitUsage, `millrace: --listen: "8234" must be host:port, such as 127.0.0.1:8234`},
		{"codec --listen :8234", key, exitUsage, `millrace: --listen: ":8234" is not of this machine alone, and whoever reaches it could read everything: give --authorization as well, or listen on 127.0.0.1:8234`},
		{"codec --authorization hunter2", key, exitUsage, "millrace: --authorization: is a secret written out, or nothing: put it into an environment variable or a file, and write env:NAME or file:PATH here"},
		{"codec --origin localhost:8233/x", key, exitUsage, `millrace: --origin: "localhost:8233/x" is not an origin, such as http://localhost:8233: scheme, host and port, without a path`},
		{"status", map[string]string{config.VarCodecKeys: "k1=hunter2"}, exitUsage, `millrace: MILLRACE_CODEC_KEYS: key "k1": is a secret written out, or nothing: put it into an environment variable or a file, and write env:NAME or file:PATH here`},
		{"pause shop", nil, exitUsage, "millrace: --note is missing: say why, for whoever finds the export paused, such as --note \"the bucket moves\""},
		{"pause shop --note=", nil, exitUsage, "millrace: --note is missing: say why, for whoever finds the export paused, such as --note \"the bucket moves\""},
		{"pause", nil, exitUsage, "millrace: millrace pause takes the name of an export, but there are 0: see `millrace pause --help`"},
		{"delete shop --json", nil, exitUsage, `{"error":"--json cannot ask: give --yes","exit_code":2}`},
		{"status a b", nil, exitUsage, "millrace: millrace status takes at most the name of an export, but there are 2: see `millrace status --help`"},
		{"status --limit 0", nil, exitUsage, "millrace: --limit: 0 must be from 1 to 1000"},
		{"setup --only tables,moon", nil, exitUsage, `millrace: --only: "moon" is no part: the parts are tables, topic, search-attributes`},
		{"setup --only topic", nil, exitUsage, "millrace: MILLRACE_KAFKA_BROKERS is not set: give the address of your own server; " + config.DevWorld},
		{"setup", nil, exitUsage, "millrace: MILLRACE_CLICKHOUSE_URL, MILLRACE_CLICKHOUSE_HTTP_URL, MILLRACE_KAFKA_BROKERS are not set: give the addresses of your own servers; " + config.DevWorld},
		{"setup --retention week", nil, exitUsage, "millrace: invalid argument \"week\" for \"--retention\" flag: duration \"week\" is not of a form like \"15m\", \"1h\", \"1d\" or \"1w\": see `millrace setup --help`"},
		{"up", nil, exitUsage, "millrace: MILLRACE_CLICKHOUSE_URL, MILLRACE_CLICKHOUSE_HTTP_URL, MILLRACE_KAFKA_BROKERS are not set: give the addresses of your own servers; " + config.DevWorld},
		{"up --log-level loud", nil, exitUsage, `millrace: log level "loud" is unknown: use debug, info, warn or error`},
		{"up --config nowhere.yaml", world, exitUsage, "millrace: nowhere.yaml: there is no such file: name one with --config or MILLRACE_CONFIG; examples/millrace.yaml is one to copy"},
		{"ingest --capture-only --loader-only", nil, exitUsage, "millrace: --capture-only and --loader-only leave nothing to run: give one of them, or neither for both"},
		{"ingest --block-rows -5", world, exitUsage, "millrace: --block-rows: -5 must be at least 1"},
		{"ingest --block-bytes 0", world, exitUsage, "millrace: --block-bytes: 0 must be at least 1"},
		{"up --block-age 0s", world, exitUsage, "millrace: --block-age: 0s must be above zero"},
		{"ingest --duplicates 5000000", world, exitUsage, "millrace: --duplicates: 5000000 must be from 1 to 1000000, or -1 for none beyond a block"},
		{"ingest --session-timeout 50ms", world, exitUsage, "millrace: --session-timeout: 50ms must be at least 1s, and what the brokers allow (group.min.session.timeout.ms)"},
		{"worker", map[string]string{config.VarClickHouseURL: "http://hunter2"}, exitUsage, "millrace: MILLRACE_CLICKHOUSE_URL is not a URL of the form clickhouse://user:password@host:port/database"},
		{"worker --build-id 1.1", world, exitUsage, `millrace: --build-id: "1.1" is the version of no deployment: give its name with --deployment, or leave both out`},
		{"worker --deployment mill.race", world, exitUsage, `millrace: --deployment: "mill.race" must not have a dot in it, nor begin with __: Temporal writes a version as name.build-id`},
		{"worker --config " + foreign, world, exitUsage, "millrace: " + foreign + `: connection "lake": unknown field or destination "ftp": the destinations are postgres, s3`},
		{"apply --json -f " + good, nil, exitUsage, "{\"error\":\"--json cannot ask: give --yes to apply, or --dry-run to look only\",\"exit_code\":2}"},
		{"apply --yes --dry-run -f " + good, nil, exitUsage, "millrace: --yes and --dry-run contradict each other: give one of them"},
		{"check", nil, exitUsage, "millrace: name a connection, or an export with --export: see `millrace check --help`"},
		{"check lake --export shop-events", nil, exitUsage, `millrace: connection "lake" and --export shop-events are both given: an export is checked with its own connection`},
		{"check lake --local --config " + good, nil, exitNegative, `millrace: connection "lake" does not work yet`},
		{"check pond --local --json --config " + good, nil, exitNegative, `{"error":"connection \"pond\" does not work yet","exit_code":3}`},
		{"ingest --capture-only --config " + teamless, world, exitUsage, "millrace: capture: the configuration has no teams, so nobody could send events: add one, such as teams: [{id: 1, name: shop, token: mr_shop}]"},
	} {
		t.Run(test.args, func(t *testing.T) {
			clearEnvironment(t)
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			code, _, stderr := call(t, strings.Fields(test.args)...)
			lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
			if last := lines[len(lines)-1]; last != test.want || code != test.code {
				t.Errorf("\ngot  %d: %s\nwant %d: %s", code, last, test.code, test.want)
			}
		})
	}
}

func TestTemporalAway(t *testing.T) {
	clearEnvironment(t)
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listen.Addr().String()
	listen.Close() // nobody answers there now
	t.Setenv("TEMPORAL_ADDRESS", address)
	t.Setenv("TEMPORAL_CONFIG_FILE", os.DevNull)
	code, _, stderr := call(t, "status")
	want := ": Temporal at " + address + " does not answer: is it up, and is TEMPORAL_ADDRESS right? " + config.DevWorld + "\n"
	if code != exitFailed || !strings.HasSuffix(stderr, want) {
		t.Errorf("exit code %d, %swant …%s", code, stderr, want)
	}
}

func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		config.VarClickHouseURL, config.VarClickHouseHTTPURL, config.VarKafkaBrokers, config.VarKafkaTopic, config.VarTemporalUIURL,
		config.VarConfig, config.VarListen, config.VarMetricsListen, config.VarCodecKeys, "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_PROFILE",
	} {
		t.Setenv(name, "")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
