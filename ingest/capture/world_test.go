//go:build world

package capture_test

import (
	"testing"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/testworld"
)

func TestClientsEventsArriveCompleteInTheWorld(t *testing.T) {
	addresses := broker.ParseBrokers(testworld.Env(t, "MILLRACE_KAFKA_BROKERS"))
	config := configFor(addresses)
	config.Broker.Topic = testworld.Name(t)
	if _, err := broker.EnsureTopic(t.Context(), config.Broker, broker.Settings{}); err != nil {
		t.Fatal(err)
	}
	url := runCapture(t, config)
	awaitReady(t, url)
	arriveComplete(t, url, addresses, config.Broker.Topic)
}
