package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/ingest/broker"
)

// sink puts events into Kafka and knows when they are there. It connects by itself, and again when a producer has
// given up, until it is closed; so capture may be started before Kafka is, and an outage ends when Kafka is back.
type sink struct {
	config  broker.Config
	logger  *slog.Logger
	metrics *metrics

	live    atomic.Pointer[connection]
	split   *splitter
	healthy atomic.Bool  // what the log has said last
	failed  atomic.Int64 // when a message failed last, in nanoseconds of the Unix time

	stop    context.CancelFunc
	running sync.WaitGroup
}

// reconnectEvery is the pause between attempts to reach Kafka.
const reconnectEvery = 500 * time.Millisecond

// errNotConnected says that Kafka was never reached.
var errNotConnected = errors.New("kafka was not reached yet")

func openSink(config broker.Config, logger *slog.Logger, metrics *metrics) *sink {
	ctx, stop := context.WithCancel(context.Background())
	s := &sink{config: config, logger: logger, metrics: metrics, stop: stop}
	s.split = newSplitter(s)
	s.running.Go(func() { s.keepConnected(ctx) })
	s.running.Go(func() { s.split.run(ctx) })
	return s
}

// keepConnected has a connection that works, whenever there can be one, until ctx ends. Then it closes the last one.
func (s *sink) keepConnected(ctx context.Context) {
	var old *connection
	for {
		fresh := s.connect(ctx, old == nil)
		if fresh != nil {
			fresh.read(s.settle)
			s.live.Store(fresh)
			s.split.look()
			if old != nil {
				s.running.Go(old.close)
			}
			old = fresh
			select {
			case <-ctx.Done():
			case <-fresh.tripped:
			}
		}
		if ctx.Err() != nil {
			if old != nil {
				old.close()
			}
			return
		}
	}
}

// connect tries until it has a connection; nil when ctx ended before.
func (s *sink) connect(ctx context.Context, first bool) *connection {
	said := ""
	for {
		fresh, warnings, err := dial(ctx, s.config, 0)
		if err == nil {
			if first {
				for _, warning := range warnings {
					s.logger.Warn(warning)
				}
				s.report(nil)
			}
			return fresh
		}
		if ctx.Err() != nil {
			return nil
		}
		if first && said != err.Error() { // once for each trouble, not at each attempt
			said = err.Error()
			s.logger.Error("kafka is not reached, events are answered 503 until it is", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reconnectEvery):
		}
	}
}

// settle takes a message back from a producer.
func (s *sink) settle(from *connection, message *sarama.ProducerMessage, err error) {
	if err != nil && s.split.takes(from, message, err) {
		return
	}
	if err == nil || broker.ClassOf(err) != broker.TooLarge { // which says nothing about Kafka's health
		s.report(err)
	}
	message.Metadata.(*parcel).settle(err)
}

// calm is how long no message may have failed before Kafka counts as well again. With one sick partition among many,
// successes and failures come mixed, and each would contradict the one before.
const calm = 3 * time.Second

// report tells log and metrics when Kafka begins or ceases to take events.
func (s *sink) report(err error) {
	now := time.Now()
	if err != nil {
		s.failed.Store(now.UnixNano())
		if s.healthy.Swap(false) {
			s.metrics.connected.Set(0)
			s.logger.Error("kafka does not take events, they are answered 503", "topic", s.config.Topic, "class", broker.ClassOf(err).String(), "error", err)
		}
		return
	}
	if !s.healthy.Load() && now.Sub(time.Unix(0, s.failed.Load())) > calm && !s.healthy.Swap(true) {
		s.metrics.connected.Set(1)
		s.logger.Info("kafka takes events", "topic", s.config.Topic)
	}
}

// write hands the messages to the producer together and waits until Kafka has acknowledged all of them, but for those
// that are too large for it, whose numbers it returns; or until ctx ends. With an error some may be in Kafka all the same,
// also later. release is called once, when their memory is free again, which can be long after write has returned.
func (s *sink) write(ctx context.Context, messages []*sarama.ProducerMessage, release func()) (tooLarge []int, _ error) {
	sent, err := s.hand(ctx, messages, release)
	if err != nil {
		return nil, err
	}
	select {
	case <-sent.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for kafka: %w", ctx.Err())
	}
	if failed := sent.failed.Load(); failed != nil {
		return nil, *failed
	}
	return sent.tooLarge, nil
}

func (s *sink) hand(ctx context.Context, messages []*sarama.ProducerMessage, release func()) (*delivery, error) {
	connected := s.live.Load()
	for connected != nil {
		sent, err := connected.hand(ctx, messages, release)
		if !errors.Is(err, errClosed) {
			return sent, err
		}
		// Replaced by a new one between the two lines above, or closed for good.
		next := s.live.Load()
		if next == connected {
			release()
			return nil, err
		}
		connected = next
	}
	release()
	return nil, errNotConnected
}

// largest is how many bytes a message may have, and whether that is known yet.
func (s *sink) largest() (int, bool) {
	if connected := s.live.Load(); connected != nil {
		return connected.largest, true
	}
	return 0, false
}

// close flushes what the producer holds and ends all goroutines. It fails when that is not done before ctx ends; then
// they end by themselves as soon as the producer has given up.
func (s *sink) close(ctx context.Context) error {
	s.stop()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush kafka's producer: %w", ctx.Err())
	}
}
