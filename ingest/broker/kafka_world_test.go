//go:build world

package broker_test

import (
	"testing"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/testworld"
)

// anyKafka is for tests that hold on every broker: the one that devstack started, with a topic of the test's own.
func anyKafka(t *testing.T) broker.Config {
	t.Helper()
	return broker.Config{Brokers: broker.ParseBrokers(testworld.Env(t, "MILLRACE_KAFKA_BROKERS")), Topic: testworld.Name(t)}
}
