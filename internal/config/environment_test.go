package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/config"
)

func TestEnvironment(t *testing.T) {
	clearEnvironment(t)
	env, err := config.ReadEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Environment{ConfigPath: "millrace.yaml", Listen: "127.0.0.1:8000"}, env); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}

	t.Setenv(config.VarClickHouseURL, "clickhouse://u:p@127.0.0.1:9000/m")
	t.Setenv(config.VarClickHouseHTTPURL, "http://u:p@127.0.0.1:8123/?database=m")
	t.Setenv(config.VarKafkaBrokers, "127.0.0.1:9092, 127.0.0.1:9093")
	t.Setenv(config.VarKafkaTopic, "events")
	t.Setenv(config.VarTemporalUIURL, "http://127.0.0.1:8233/")
	t.Setenv(config.VarConfig, "other.yaml")
	t.Setenv(config.VarListen, ":80")
	t.Setenv(config.VarMetricsListen, "127.0.0.1:9100")
	env, err = config.ReadEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	want := config.Environment{
		ClickHouseURL: "clickhouse://u:p@127.0.0.1:9000/m", ClickHouseHTTPURL: "http://u:p@127.0.0.1:8123/?database=m",
		KafkaBrokers: []string{"127.0.0.1:9092", "127.0.0.1:9093"}, KafkaTopic: "events", TemporalUIURL: "http://127.0.0.1:8233",
		ConfigPath: "other.yaml", Listen: ":80", MetricsListen: "127.0.0.1:9100",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("given (-want +got):\n%s", diff)
	}
	if err := env.Need(config.VarClickHouseURL, config.VarClickHouseHTTPURL, config.VarKafkaBrokers, config.VarTemporalUIURL); err != nil {
		t.Errorf("nothing is missing: %v", err)
	}
}

func TestEnvironmentMessages(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{config.VarClickHouseURL, "http://u:hunter2@h:1/d", "MILLRACE_CLICKHOUSE_URL is not a URL of the form clickhouse://user:password@host:port/database"},
		{config.VarClickHouseURL, "clickhouse://u:hun ter2@h:x/d", "MILLRACE_CLICKHOUSE_URL is not a URL of the form clickhouse://user:password@host:port/database"},
		{config.VarClickHouseHTTPURL, "127.0.0.1:8123", "MILLRACE_CLICKHOUSE_HTTP_URL is not a URL of the form http://user:password@host:port/?database=name"},
		{config.VarKafkaBrokers, "localhost", `MILLRACE_KAFKA_BROKERS: "localhost" must be host:port, several separated by commas`},
		{config.VarListen, "8000", `MILLRACE_LISTEN: "8000" must be host:port, such as 127.0.0.1:8000`},
	} {
		clearEnvironment(t)
		t.Setenv(test.name, test.value)
		if _, err := config.ReadEnvironment(); err == nil || err.Error() != test.want {
			t.Errorf("%s=%s\ngot  %v\nwant %s", test.name, test.value, err, test.want)
		}
	}
	for _, test := range []struct {
		names []string
		want  string
	}{
		{[]string{config.VarKafkaBrokers}, "MILLRACE_KAFKA_BROKERS is not set: give the address of your own server; " + config.DevWorld},
		{[]string{config.VarKafkaBrokers, config.VarClickHouseURL}, "MILLRACE_KAFKA_BROKERS, MILLRACE_CLICKHOUSE_URL are not set: give the addresses of your own servers; " + config.DevWorld},
	} {
		if err := (config.Environment{}).Need(test.names...); err == nil || err.Error() != test.want {
			t.Errorf("\ngot  %v\nwant %s", err, test.want)
		}
	}
}

func TestTemporalOptions(t *testing.T) {
	clearEnvironment(t)
	t.Setenv("TEMPORAL_CONFIG_FILE", "/dev/null") // not the developer's own
	options, err := config.TemporalOptions()
	if err != nil {
		t.Fatal(err)
	}
	if options.HostPort != "localhost:7233" || options.Namespace != "default" {
		t.Errorf("defaults are %s, %s", options.HostPort, options.Namespace)
	}
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:17233")
	t.Setenv("TEMPORAL_NAMESPACE", "mine")
	if options, err = config.TemporalOptions(); err != nil {
		t.Fatal(err)
	}
	if options.HostPort != "127.0.0.1:17233" || options.Namespace != "mine" {
		t.Errorf("given are %s, %s", options.HostPort, options.Namespace)
	}
	t.Setenv("TEMPORAL_CONFIG_FILE", "/nowhere/temporal.toml")
	t.Setenv("TEMPORAL_PROFILE", "none")
	if _, err = config.TemporalOptions(); err == nil || !strings.HasPrefix(err.Error(), "read how to reach Temporal: ") {
		t.Errorf("a profile that is not there: %v", err)
	}
}

func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		config.VarClickHouseURL, config.VarClickHouseHTTPURL, config.VarKafkaBrokers, config.VarKafkaTopic, config.VarTemporalUIURL, config.VarConfig,
		config.VarListen, config.VarMetricsListen, config.VarCodecKeys, "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_PROFILE",
	} {
		t.Setenv(name, "")
	}
}

func TestKeysOfTheCodecAreReferences(t *testing.T) {
	clearEnvironment(t)
	if sealed, err := config.Codec(); err != nil || sealed.Encrypts() {
		t.Errorf("without keys: %v, %v", sealed, err)
	}
	encrypts := func() bool {
		options, err := config.TemporalOptions()
		if err != nil {
			t.Fatal(err)
		}
		payload, err := options.DataConverter.ToPayload("bucket")
		failure := options.FailureConverter.ErrorToFailure(errors.New("bucket"))
		if err != nil || strings.Contains(payload.String(), "bucket") != strings.Contains(failure.String(), "bucket") {
			t.Fatalf("one is encrypted and one is not: %s, %s, %v", payload, failure, err)
		}
		return !strings.Contains(payload.String(), "bucket")
	}
	if encrypts() {
		t.Error("without keys it is encrypted")
	}
	t.Setenv("TEST_KEY", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=")
	t.Setenv(config.VarCodecKeys, "k1=env:TEST_KEY")
	if !encrypts() {
		t.Error("with a key it is not encrypted")
	}
	for list, want := range map[string]string{
		"k1=hunter2":        `MILLRACE_CODEC_KEYS: key "k1": is a secret written out, or nothing: put it into an environment variable or a file, and write env:NAME or file:PATH here`,
		"k1=env:TEST_UNSET": `MILLRACE_CODEC_KEYS: key "k1": the environment variable TEST_UNSET is not set in this process: set it and start the process again`,
		"k1=file:/nowhere":  `MILLRACE_CODEC_KEYS: key "k1": read the secret: open /nowhere: no such file or directory: put the file there, readable for this process`,
	} {
		t.Setenv(config.VarCodecKeys, list)
		if _, err := config.TemporalOptions(); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
