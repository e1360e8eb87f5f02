//go:build world

package capture_test

import (
	"testing"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/capture"
	"github.com/millrace/millrace/internal/testworld"
)

// anyKafka is for tests that hold on every broker: the one that devstack started, with a topic of the test's own.
func anyKafka(t *testing.T) capture.Config {
	t.Helper()
	config := configFor(broker.ParseBrokers(testworld.Env(t, "MILLRACE_KAFKA_BROKERS")))
	config.Broker.Topic = testworld.Name(t)
	if _, err := broker.EnsureTopic(t.Context(), config.Broker, broker.Settings{Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestClientsEventsArriveCompleteInTheWorld(t *testing.T) {
	config := anyKafka(t)
	url := runCapture(t, config)
	awaitReady(t, url)
	arriveComplete(t, url, config.Broker.Brokers, config.Broker.Topic)
}
