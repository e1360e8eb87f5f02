//go:build !world

package capture_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace/millrace/ingest/capture"
	"github.com/millrace/millrace/internal/testworld"
)

// anyKafka is for tests that hold on every broker: here one in this process, in the world the one that devstack started.
// The topic of three partitions is the test's own.
func anyKafka(t *testing.T) capture.Config {
	t.Helper()
	topic := testworld.Name(t)
	config := configFor(startKafka(t, kfake.SeedTopics(3, topic)).ListenAddrs())
	config.Broker.Topic = topic
	return config
}
