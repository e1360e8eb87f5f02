package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/config"
)

// Every command that needs a server which nobody runs says which one, by which variable it looked, and how to come by one.
func TestServersAway(t *testing.T) {
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := listen.Addr().String()
	listen.Close() // nobody answers there now
	file := filepath.Join(t.TempDir(), "millrace.yaml")
	write(t, file, `teams: [{id: 1, name: shop, token: mr_shop}]
connections:
  - {name: lake, s3: {bucket: lake, region: us-east-1, endpoint: env:MILLRACE_S3_ENDPOINT, access_key_id: env:TEST_KEY, secret_access_key: env:TEST_KEY}}
exports:
  - {name: shop, team: 1, connection: lake, every: 1h, s3: {prefix: p}}
`)
	const (
		times      = " --start 2026-11-23T10:00:00Z --end 2026-11-23T12:00:00Z"
		clickhouse = "ClickHouse does not answer: is it up, and are MILLRACE_CLICKHOUSE_URL and MILLRACE_CLICKHOUSE_HTTP_URL right? " + config.DevWorld
		kafka      = "Kafka does not answer: is it up, and is MILLRACE_KAFKA_BROKERS right? " + config.DevWorld
		s3         = "the connection was refused: check that the store runs, and endpoint in the connection"
	)
	temporal := "Temporal at " + away + " does not answer: is it up, and is TEMPORAL_ADDRESS right? " + config.DevWorld
	for _, test := range []struct {
		args string
		code int
		want []string
	}{
		{"runs", exitFailed, []string{clickhouse}},
		{"runs shop --failed --json", exitFailed, []string{clickhouse, `"kind":"source_unavailable"`}},
		{"ingest status", exitFailed, []string{kafka}},
		{"ingest repair --partition 0", exitFailed, []string{kafka}},
		{"ingest retire 3vJ8qfQVTvG6Q6GTtqBYoQ", exitFailed, []string{kafka}},
		{"setup", exitFailed, []string{"set up tables: ", clickhouse, "set up topic: ", kafka, "set up search-attributes: ", temporal}},
		{"up --listen 127.0.0.1:0", exitFailed, []string{clickhouse, kafka, temporal}},
		{"worker", exitFailed, []string{"worker: ", temporal}},
		{"status", exitFailed, []string{temporal}},
		{"status shop", exitFailed, []string{temporal}},
		{"apply --yes", exitFailed, []string{temporal}},
		{"apply --dry-run", exitFailed, []string{temporal}},
		{"run shop" + times, exitFailed, []string{temporal}},
		{"run shop --failed", exitFailed, []string{temporal}},
		{"verify shop" + times, exitFailed, []string{temporal}},
		{"reconcile shop" + times, exitFailed, []string{temporal}},
		{"estimate shop" + times, exitFailed, []string{temporal}},
		{"backfill shop" + times, exitFailed, []string{temporal}},
		{"pause shop --note lunch", exitFailed, []string{temporal}},
		{"resume shop", exitFailed, []string{temporal}},
		{"delete shop --yes", exitFailed, []string{temporal}},
		{"check lake", exitFailed, []string{temporal}},
		{"check --export shop", exitFailed, []string{temporal}},
		{"check lake --local", exitNegative, []string{"FAILED  reach the endpoint", s3}},
		{"check --export shop --local", exitNegative, []string{"FAILED  ", "reach ClickHouse at " + away}},
	} {
		t.Run(test.args, func(t *testing.T) {
			clearEnvironment(t)
			for name, value := range map[string]string{
				config.VarClickHouseURL: "clickhouse://u:p@" + away + "/d", config.VarClickHouseHTTPURL: "http://" + away, config.VarKafkaBrokers: away,
				"TEMPORAL_ADDRESS": away, "TEMPORAL_CONFIG_FILE": os.DevNull, config.VarConfig: file, "MILLRACE_S3_ENDPOINT": "http://" + away, "TEST_KEY": "k",
			} {
				t.Setenv(name, value)
			}
			code, out, stderr := call(t, strings.Fields(test.args)...)
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, want := range test.want {
				if !strings.Contains(out+stderr, want) {
					t.Errorf("does not say %s:\n%s%s", want, out, stderr)
				}
			}
		})
	}
}
