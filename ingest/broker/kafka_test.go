//go:build !world

package broker_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/testworld"
)

// anyKafka is for tests that hold on every broker: here one in this process, in the world the one that devstack started.
func anyKafka(t *testing.T) broker.Config {
	t.Helper()
	_, config := startKafka(t, kfake.GroupMinSessionTimeout(time.Second))
	config.Topic = testworld.Name(t)
	return config
}
