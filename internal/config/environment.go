package config

import (
	"net"
	"net/url"
	"os"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/codec"
)

// The environment variables that Millrace reads, beside those of Temporal's own clients (TEMPORAL_ADDRESS,
// TEMPORAL_NAMESPACE, TEMPORAL_TLS, TEMPORAL_API_KEY and the rest of its environment configuration).
const (
	VarClickHouseURL     = "MILLRACE_CLICKHOUSE_URL"
	VarClickHouseHTTPURL = "MILLRACE_CLICKHOUSE_HTTP_URL"
	VarKafkaBrokers      = "MILLRACE_KAFKA_BROKERS"
	VarKafkaTopic        = "MILLRACE_KAFKA_TOPIC"
	VarTemporalUIURL     = "TEMPORAL_UI_URL"
	VarConfig            = "MILLRACE_CONFIG"
	VarListen            = "MILLRACE_LISTEN"
	VarMetricsListen     = "MILLRACE_METRICS_LISTEN"
	VarCodecKeys         = "MILLRACE_CODEC_KEYS"
)

// DevWorld is what a message adds where an address is missing or nobody answers at it: how to come by servers.
const DevWorld = "`make up` or bin/devstack starts all of them on this machine, and `. .devstack/data/world.env` gives their addresses to a shell"

// Environment is where the outside world is. The zero Environment has no addresses; see ReadEnvironment.
type Environment struct {
	// ClickHouseURL is the native protocol: clickhouse://user:password@host:port/database. No default.
	ClickHouseURL string
	// ClickHouseHTTPURL is the same server by HTTP, over which files are read: http://user:password@host:port/?database=name,
	// or https. No default.
	ClickHouseHTTPURL string
	// KafkaBrokers are host:port of some brokers; the variable separates them by commas. No default.
	KafkaBrokers []string
	// KafkaTopic carries the events; empty, the default, is broker.DefaultTopic. Two Millraces on one cluster need two,
	// and then also have two groups of loaders.
	KafkaTopic string
	// TemporalUIURL is where people look at workflows, without a slash at its end. Only links are made of it; without it
	// none are printed.
	TemporalUIURL string
	// ConfigPath is the file of teams, connections and exports. Default: millrace.yaml in the working folder.
	ConfigPath string
	// Listen is where capture takes events. Default: 127.0.0.1:8000.
	Listen string
	// MetricsListen is where /metrics is served for Prometheus; empty, the default, serves none.
	MetricsListen string
}

// ReadEnvironment reads the process's environment and fills in defaults. It refuses what is malformed, and leaves what
// is missing to Need, for no command needs everything. Errors do not show URLs, which may hold passwords.
func ReadEnvironment() (Environment, error) {
	env := Environment{
		ClickHouseURL:     os.Getenv(VarClickHouseURL),
		ClickHouseHTTPURL: os.Getenv(VarClickHouseHTTPURL),
		KafkaTopic:        os.Getenv(VarKafkaTopic),
		TemporalUIURL:     strings.TrimRight(os.Getenv(VarTemporalUIURL), "/"),
		ConfigPath:        valueOr(VarConfig, "millrace.yaml"),
		Listen:            valueOr(VarListen, "127.0.0.1:8000"),
		MetricsListen:     os.Getenv(VarMetricsListen),
	}
	for _, address := range []struct {
		name, value, form string
		schemes           []string
	}{
		{VarClickHouseURL, env.ClickHouseURL, "clickhouse://user:password@host:port/database", []string{"clickhouse"}},
		{VarClickHouseHTTPURL, env.ClickHouseHTTPURL, "http://user:password@host:port/?database=name", []string{"http", "https"}},
		{VarTemporalUIURL, env.TemporalUIURL, "http://host:port", []string{"http", "https"}},
	} {
		if address.value != "" && !isURL(address.value, address.schemes) {
			return Environment{}, export.Errorf(export.KindConfig, "%s is not a URL of the form %s", address.name, address.form)
		}
	}
	for broker := range strings.SplitSeq(os.Getenv(VarKafkaBrokers), ",") {
		broker = strings.TrimSpace(broker)
		if broker == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(broker); err != nil {
			return Environment{}, export.Errorf(export.KindConfig, "%s: %q must be host:port, several separated by commas", VarKafkaBrokers, broker)
		}
		env.KafkaBrokers = append(env.KafkaBrokers, broker)
	}
	for name, address := range map[string]string{VarListen: env.Listen, VarMetricsListen: env.MetricsListen} {
		if _, _, err := net.SplitHostPort(address); address != "" && err != nil {
			return Environment{}, export.Errorf(export.KindConfig, "%s: %q must be host:port, such as 127.0.0.1:8000", name, address)
		}
	}
	return env, nil
}

// Need says which of the named variables are missing, all at once, or returns nil.
func (e Environment) Need(names ...string) error {
	given := map[string]bool{
		VarClickHouseURL:     e.ClickHouseURL != "",
		VarClickHouseHTTPURL: e.ClickHouseHTTPURL != "",
		VarKafkaBrokers:      len(e.KafkaBrokers) > 0,
		VarTemporalUIURL:     e.TemporalUIURL != "",
	}
	var missing []string
	for _, name := range names {
		if !given[name] {
			missing = append(missing, name)
		}
	}
	switch len(missing) {
	case 0:
		return nil
	case 1:
		return export.Errorf(export.KindConfig, "%s is not set: give the address of your own server; %s", missing[0], DevWorld)
	}
	return export.Errorf(export.KindConfig, "%s are not set: give the addresses of your own servers; %s", strings.Join(missing, ", "), DevWorld)
}

// TemporalOptions is how to reach Temporal: the TEMPORAL_* variables and the file that Temporal's own command line
// uses, by default 127.0.0.1:7233 and the namespace "default". With keys in MILLRACE_CODEC_KEYS its converters encrypt; see
// Codec. Nothing is dialled.
func TemporalOptions() (client.Options, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return client.Options{}, export.Errorf(export.KindConfig, "read how to reach Temporal: %w", err)
	}
	if options.HostPort == "" {
		options.HostPort = client.DefaultHostPort
	}
	if options.Namespace == "" {
		options.Namespace = client.DefaultNamespace
	}
	sealed, err := Codec()
	if err != nil {
		return client.Options{}, err
	}
	options.DataConverter, options.FailureConverter = codec.DataConverter(sealed), codec.FailureConverter(sealed)
	return options, nil
}

// Codec encrypts what goes to Temporal, by the keys in MILLRACE_CODEC_KEYS: id=reference, separated by commas, where a
// reference is env:NAME or file:PATH and refers to 32 bytes as base64. The first key encrypts, all of them decrypt. Without
// the variable nothing is encrypted, and what others have encrypted is an error that says so.
func Codec() (*codec.Codec, error) {
	keys, err := codec.ParseKeys(os.Getenv(VarCodecKeys), Resolve)
	if err != nil {
		return nil, export.Errorf(export.KindConfig, "%s: %w", VarCodecKeys, err)
	}
	return codec.New(keys...), nil
}

func valueOr(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func isURL(text string, schemes []string) bool {
	address, err := url.Parse(text)
	if err != nil || address.Host == "" {
		return false
	}
	for _, scheme := range schemes {
		if address.Scheme == scheme {
			return true
		}
	}
	return false
}
