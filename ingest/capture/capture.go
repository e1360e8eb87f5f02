// Package capture takes events over HTTP, as PostHog's client libraries send them, and puts them into Kafka.
//
// It answers 2xx only after Kafka has every kept event of the request on all in-sync replicas. When Kafka cannot, the
// whole request is answered 503 with Retry-After, and the client sends it again; events keep their UUIDs, by which the
// loader drops the copies. See identities for events that have none.
//
// What clients may send: POST to /batch/, /e/, /capture/ and /i/v0/e/, with and without the last slash; one event, an
// array of events, or {"api_key": …, "batch": […]}, as JSON, gzipped or not, or in the field data of a form. Not
// supported: events in the query of a GET, the compressions lz64 and zstd, recordings, feature flags (/decide, /flags),
// and CORS, so a browser has to reach capture through a proxy of its own site.
package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Capture is the service without its listener: a handler, and the way into Kafka behind it.
type Capture struct {
	config   Config
	teams    map[string]Team // by token
	metrics  *metrics
	budget   *budget
	sink     *sink
	draining atomic.Bool
}

// Open checks the configuration and begins to connect to Kafka in the background; until that is done, and whenever
// Kafka is away later, events are answered 503. The caller closes it. Errors are those of the configuration, or of
// metrics that are registered already.
func Open(config Config) (*Capture, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	metrics, err := newMetrics(config.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register capture's metrics: %w", err)
	}
	c := &Capture{
		config:  config,
		teams:   make(map[string]Team, len(config.Teams)),
		metrics: metrics,
		budget:  &budget{limit: config.MaxInFlightBytes, gauge: metrics.inFlight},
		sink:    openSink(config.Broker, config.Logger, metrics),
	}
	for _, team := range config.Teams {
		c.teams[team.Token] = team
	}
	return c, nil
}

// Close flushes what Kafka's producer holds. Requests that come later are answered 503. It fails when the flush is not
// done before ctx ends; what was answered 2xx is in Kafka in any case. Called once.
func (c *Capture) Close(ctx context.Context) error {
	c.draining.Store(true)
	return c.sink.close(ctx)
}

// Time limits of the server. A whole request may take as long as a slow phone needs for the largest body; what it
// holds meanwhile is bounded by MaxInFlightBytes.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// Run serves until ctx ends. Then it takes no more requests, finishes those in flight, flushes, and returns nil; all
// that within DrainTimeout, after which connections are cut, whose clients have no answer and send again. An error
// means that it could not listen, or that the flush was not done in time.
func Run(ctx context.Context, config Config) error {
	c, err := Open(config)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.config.Listen)
	if err != nil {
		drained, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.DrainTimeout)
		defer cancel()
		return errors.Join(fmt.Errorf("listen for events: %w", err), c.Close(drained))
	}
	if c.config.OnListen != nil {
		c.config.OnListen(listener.Addr())
	}
	c.config.Logger.Info("capture takes events", "address", listener.Addr().String(), "teams", len(c.teams), "topic", c.config.Broker.Topic)
	return c.serve(ctx, listener)
}

func (c *Capture) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           c.Handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      readTimeout + c.config.AckTimeout + 10*time.Second, // it counts from the request's first byte
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	var broken error
	select {
	case <-ctx.Done():
	case err := <-failed:
		broken = fmt.Errorf("serve events: %w", err)
	}
	c.draining.Store(true)
	c.config.Logger.Info("capture stops: no new requests, those in flight are finished", "at most", c.config.DrainTimeout)
	drained, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.DrainTimeout)
	defer cancel()
	// A quarter of the time is the producer's, also when a client drags its request out.
	answered, cancelAnswered := context.WithTimeout(drained, c.config.DrainTimeout*3/4)
	defer cancelAnswered()
	if err := server.Shutdown(answered); err != nil {
		c.config.Logger.Warn("requests were cut off; they were not answered, so their clients send them again", "error", err)
		_ = server.Close()
	}
	if broken == nil {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			broken = fmt.Errorf("serve events: %w", err)
		}
	}
	if err := c.sink.close(drained); err != nil {
		return errors.Join(broken, err)
	}
	if broken == nil {
		c.config.Logger.Info("capture has stopped; what it accepted is in kafka")
	}
	return broken
}
