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

// sink puts events into Kafka and knows when they are there. It connects by itself, and goes on trying until it is
// closed, so that capture may be started before Kafka is.
type sink struct {
	config  broker.Config
	logger  *slog.Logger
	metrics *metrics

	live    atomic.Pointer[connection]
	healthy atomic.Bool

	stop       context.CancelFunc
	connecting sync.WaitGroup
	reading    sync.WaitGroup
	closing    sync.RWMutex // writers hold it shared, because a send into a closed producer panics
	isClosed   bool
}

// connection is a producer and what its topic takes.
type connection struct {
	producer sarama.AsyncProducer
	// largest is how many bytes a message may have, with key and sarama's allowance for overhead.
	largest int
}

// batchSlack is more than a batch of one message has beside the message: its header, and what compression adds to text
// that cannot be compressed.
const batchSlack = 4 << 10

// reconnectEvery is the pause between attempts to reach Kafka for the first time.
const reconnectEvery = time.Second

// Errors of write. The events are not known to be in Kafka, and not known to be absent.
var (
	errNotConnected = errors.New("kafka was not reached yet")
	errClosed       = errors.New("capture is stopping")
)

func openSink(config broker.Config, logger *slog.Logger, metrics *metrics) *sink {
	ctx, stop := context.WithCancel(context.Background())
	s := &sink{config: config, logger: logger, metrics: metrics, stop: stop}
	s.connecting.Go(func() { s.connect(ctx) })
	return s
}

// connect tries until it is connected or ctx ends.
func (s *sink) connect(ctx context.Context) {
	said := ""
	for {
		connected, warnings, err := s.dial(ctx)
		if err == nil {
			for _, warning := range warnings {
				s.logger.Warn(warning)
			}
			s.serve(connected)
			s.logger.Info("connected to kafka", "topic", s.config.Topic)
			return
		}
		if ctx.Err() != nil {
			return
		}
		if said != err.Error() { // once for each trouble, not once a second
			said = err.Error()
			s.logger.Error("kafka is not reached, events are answered 503 until it is", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(reconnectEvery):
		}
	}
}

func (s *sink) dial(ctx context.Context) (*connection, []string, error) {
	topic, err := broker.Describe(ctx, s.config)
	if err != nil {
		return nil, nil, err
	}
	config := broker.ProducerConfig(s.config)
	if config.Producer.MaxMessageBytes > topic.Settings.MaxMessageBytes-batchSlack {
		config.Producer.MaxMessageBytes = topic.Settings.MaxMessageBytes - batchSlack
	}
	if config.Producer.MaxMessageBytes <= 0 {
		return nil, nil, fmt.Errorf("topic %s: max.message.bytes %d is too small for any event; set it to %d", topic.Name, topic.Settings.MaxMessageBytes, broker.MaxMessageBytes)
	}
	producer, err := sarama.NewAsyncProducer(append([]string(nil), s.config.Brokers...), config)
	if err != nil {
		return nil, nil, fmt.Errorf("start the kafka producer: %w", err)
	}
	return &connection{producer: producer, largest: config.Producer.MaxMessageBytes}, topic.Warnings(), nil
}

// serve reads what the producer answers, until it is closed, and lets writes in.
func (s *sink) serve(connected *connection) {
	s.reading.Go(func() {
		for message := range connected.producer.Successes() {
			s.settle(message, nil)
		}
	})
	s.reading.Go(func() {
		for failed := range connected.producer.Errors() {
			s.settle(failed.Msg, failed.Err)
		}
	})
	s.healthy.Store(true)
	s.metrics.connected.Set(1)
	s.live.Store(connected)
}

func (s *sink) settle(message *sarama.ProducerMessage, err error) {
	if was := s.healthy.Swap(err == nil); was != (err == nil) {
		if err == nil {
			s.metrics.connected.Set(1)
			s.logger.Info("kafka takes events again")
		} else {
			s.metrics.connected.Set(0)
			s.logger.Error("kafka does not take events, they are answered 503", "class", broker.ClassOf(err).String(), "error", err)
		}
	}
	message.Metadata.(*delivery).settle(err)
}

// delivery waits for the messages of one request.
type delivery struct {
	pending atomic.Int64
	failed  atomic.Pointer[error]
	done    chan struct{}
	release func() // called when the producer holds none of the messages any more
}

func (d *delivery) settle(err error) {
	if err != nil {
		d.failed.CompareAndSwap(nil, &err)
	}
	if d.pending.Add(-1) == 0 {
		d.release()
		close(d.done)
	}
}

// write hands the messages to the producer together and waits until Kafka has acknowledged all of them, or ctx ends.
// With an error some may be in Kafka all the same, also later. release is called once, when their memory is free
// again, which can be long after write has returned.
func (s *sink) write(ctx context.Context, messages []*sarama.ProducerMessage, release func()) error {
	sent, err := s.hand(ctx, messages, release)
	if err != nil {
		return err
	}
	select {
	case <-sent.done:
	case <-ctx.Done():
		return fmt.Errorf("wait for kafka: %w", ctx.Err())
	}
	if failed := sent.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

func (s *sink) hand(ctx context.Context, messages []*sarama.ProducerMessage, release func()) (*delivery, error) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	connected := s.live.Load()
	if s.isClosed || connected == nil {
		release()
		if s.isClosed {
			return nil, errClosed
		}
		return nil, errNotConnected
	}
	sent := &delivery{done: make(chan struct{}), release: release}
	sent.pending.Store(int64(len(messages)))
	for i, message := range messages {
		message.Metadata = sent
		select {
		case connected.producer.Input() <- message:
		case <-ctx.Done():
			for range messages[i:] {
				sent.settle(ctx.Err())
			}
			return nil, fmt.Errorf("hand events to kafka's producer: %w", ctx.Err())
		}
	}
	return sent, nil
}

// largest is how many bytes a message may have, and whether that is known yet.
func (s *sink) largest() (int, bool) {
	if connected := s.live.Load(); connected != nil {
		return connected.largest, true
	}
	return 0, false
}

// close flushes what the producer holds and ends all goroutines. It fails when that is not done before ctx ends; then
// they end by themselves as soon as the producer has given up. Called once.
func (s *sink) close(ctx context.Context) error {
	s.stop()
	s.closing.Lock()
	s.isClosed = true
	s.closing.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.connecting.Wait() // it may just have got its producer
		if connected := s.live.Load(); connected != nil {
			connected.producer.AsyncClose()
		}
		s.reading.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush kafka's producer: %w", ctx.Err())
	}
}
