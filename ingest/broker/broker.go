// Package broker is what ingest says to Kafka besides the messages themselves: how a client is configured, which topic
// carries the events and with which settings, which partition is which, and what an error means.
//
// Capture takes NewProducer and Class from here, the loader takes NewConsumerGroup and Describe, `millrace setup`
// takes EnsureTopic.
package broker

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// DefaultTopic carries the events unless the configuration says otherwise.
const DefaultTopic = "millrace.events"

// ProtocolVersion is the newest protocol that sarama 1.61.1 names. Older brokers are spoken to in older versions of
// each request, as they announce them; brokers before 2.8 have no topic ids and are refused by Describe.
var ProtocolVersion = sarama.V4_3_1_0

// Config says which cluster and which topic. The zero value of each optional field means its default.
type Config struct {
	// Brokers are the addresses to start from, each host:port. At least one; the rest of the cluster is found by it.
	Brokers []string

	// Topic carries the events. Default: DefaultTopic.
	Topic string

	// ClientID is the name under which the brokers log and meter this client. Letters, digits, dot, underscore,
	// hyphen. Default: "millrace".
	ClientID string
}

// ParseBrokers reads a list of addresses separated by commas, as MILLRACE_KAFKA_BROKERS holds it. Blanks around an
// address and empty ones are dropped.
func ParseBrokers(list string) []string {
	var brokers []string
	for address := range strings.SplitSeq(list, ",") {
		if address = strings.TrimSpace(address); address != "" {
			brokers = append(brokers, address)
		}
	}
	return brokers
}

// WithDefaults fills the optional fields that are empty.
func (c Config) WithDefaults() Config {
	if c.Topic == "" {
		c.Topic = DefaultTopic
	}
	if c.ClientID == "" {
		c.ClientID = "millrace"
	}
	return c
}

// Validate says what is wrong with the configuration, naming field, value and remedy.
func (c Config) Validate() error {
	if len(c.Brokers) == 0 {
		return fmt.Errorf("kafka brokers: none given; set MILLRACE_KAFKA_BROKERS to host:port, several separated by commas")
	}
	for _, address := range c.Brokers {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("kafka brokers: %q is not host:port: %w", address, err)
		}
	}
	return nil
}

// addresses is a copy, because sarama shuffles what it is given.
func (c Config) addresses() []string { return slices.Clone(c.Brokers) }

// clientConfig is what every client of ours has in common. A broker that does not answer is given up on after
// seconds, not sarama's 30, because capture has an HTTP client waiting.
func (c Config) clientConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.ClientID = c.ClientID
	config.Version = ProtocolVersion
	config.Net.DialTimeout = 3 * time.Second
	config.Net.ReadTimeout = 10 * time.Second
	config.Net.WriteTimeout = 5 * time.Second
	// A topic made by looking at it would have the broker's settings instead of ours: setup makes it.
	config.Metadata.AllowAutoTopicCreation = false
	config.Metadata.Retry.Max = 3
	config.Metadata.Retry.Backoff = 250 * time.Millisecond
	return config
}

// NewClient connects. It fails when no broker answers within a few seconds. The caller closes it.
func NewClient(config Config) (sarama.Client, error) {
	config = config.WithDefaults()
	if err := config.Validate(); err != nil {
		return nil, err
	}
	client, err := sarama.NewClient(config.addresses(), config.clientConfig())
	if err != nil {
		return nil, fmt.Errorf("connect to kafka at %s: %w", strings.Join(config.Brokers, ","), err)
	}
	return client, nil
}
