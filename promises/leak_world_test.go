//go:build world

package promises

import (
	"context"
	"testing"

	"go.temporal.io/sdk/client"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/testworld/testtemporal"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/worker"
)

// It runs before the tests that run side by side, so what is left over is the worker's.
func TestAWorkerThatHasStoppedLeavesNothingRunning(tt *testing.T) {
	t := newThread(tt)
	t.load(1, 1)
	began := goleak.IgnoreCurrent()

	// A client of its own, so that its connections end with it.
	connected, err := client.Dial(client.Options{HostPort: t.Address, Namespace: t.Namespace.Name, Logger: testtemporal.Quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	ran := make(chan struct{})
	ended := make(chan error, 1)
	config := t.worker(func() { close(ran) })
	config.Temporal = connected
	go func() { ended <- worker.Run(ctx, config) }()
	<-ran
	hands := &starter.Starter{Temporal: connected}
	started, err := hands.Start(ctx, hourly("shop-events", 1), hour(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hands.Follow(ctx, started, nil); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	connected.Close()
	goleak.VerifyNone(tt, began,
		// Idle connections to ClickHouse and to the store are kept for the next run, by their pools.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}
