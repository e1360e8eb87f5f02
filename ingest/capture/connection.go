package capture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/IBM/sarama"
	"github.com/eapache/go-resiliency/breaker"

	"github.com/millrace/millrace/ingest/broker"
)

// connection is a producer and what its topic takes.
type connection struct {
	producer sarama.AsyncProducer
	// largest is how many bytes a message may have, with key and sarama's allowance for overhead.
	largest int

	// tripped is closed when the producer is to be replaced. It has stopped trying: three failures within ten seconds make
	// it refuse a partition for ten more, also when Kafka is back before, and a new one begins without that memory. Or it
	// makes larger batches than Kafka takes by now.
	tripped chan struct{}
	trip    sync.Once
	// oversized tells that Kafka has refused a batch of it as too large.
	oversized atomic.Bool

	closing  sync.RWMutex // writers hold it shared, because a send into a closed producer panics
	isClosed bool
	reading  sync.WaitGroup
}

// batchSlack is more than a batch of one message has beside the message: its header, and what compression adds to text
// that cannot be compressed.
const batchSlack = 4 << 10

// dial connects to the topic, for batches of at most so many messages, 0 for any number. The warnings are sentences for
// people about the topic's settings.
func dial(ctx context.Context, config broker.Config, batch int) (_ *connection, warnings []string, _ error) {
	topic, err := broker.Describe(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	settings := broker.ProducerConfig(config)
	settings.Producer.Flush.MaxMessages = batch
	if most := topic.Settings.MaxMessageBytes - batchSlack; settings.Producer.MaxMessageBytes > most {
		settings.Producer.MaxMessageBytes = most
	}
	if settings.Producer.MaxMessageBytes <= 0 {
		return nil, nil, fmt.Errorf("topic %s: max.message.bytes %d is too small for any event; set it to %d", topic.Name, topic.Settings.MaxMessageBytes, broker.MaxMessageBytes)
	}
	producer, err := sarama.NewAsyncProducer(slices.Clone(config.Brokers), settings)
	if err != nil {
		return nil, nil, fmt.Errorf("start the kafka producer: %w", err)
	}
	return &connection{producer: producer, largest: settings.Producer.MaxMessageBytes, tripped: make(chan struct{})}, topic.Warnings(), nil
}

// read passes what the producer answers to settled, until the producer is closed.
func (c *connection) read(settled func(*connection, *sarama.ProducerMessage, error)) {
	c.reading.Go(func() {
		for message := range c.producer.Successes() {
			settled(c, message, nil)
		}
	})
	c.reading.Go(func() {
		for failed := range c.producer.Errors() {
			if errors.Is(failed.Err, breaker.ErrBreakerOpen) {
				c.replace()
			}
			settled(c, failed.Msg, failed.Err)
		}
	})
}

func (c *connection) replace() { c.trip.Do(func() { close(c.tripped) }) }

// delivery waits for the messages of one request.
type delivery struct {
	pending atomic.Int64
	failed  atomic.Pointer[error]
	done    chan struct{}
	release func() // called when the producer holds none of the messages any more

	mu       sync.Mutex
	tooLarge []int // the numbers of the messages that Kafka will never take
}

// parcel is one message of a delivery on its way.
type parcel struct {
	delivery *delivery
	number   int // in its request
	// splits counts the batches with this message that Kafka has refused as too large, and by is whose the last one was.
	splits int
	by     *connection
}

// settle notes what became of the message, once and for all.
func (p *parcel) settle(err error) {
	d := p.delivery
	switch {
	case err != nil && broker.ClassOf(err) == broker.TooLarge:
		d.mu.Lock()
		d.tooLarge = append(d.tooLarge, p.number)
		d.mu.Unlock()
	case err != nil:
		d.failed.CompareAndSwap(nil, &err)
	}
	if d.pending.Add(-1) == 0 {
		d.release()
		close(d.done)
	}
}

// errClosed says that a connection takes nothing more. Nothing was handed over.
var errClosed = errors.New("capture is stopping")

// hand gives the messages to the producer together. Unless the error is errClosed, release will be called.
func (c *connection) hand(ctx context.Context, messages []*sarama.ProducerMessage, release func()) (*delivery, error) {
	c.closing.RLock()
	defer c.closing.RUnlock()
	if c.isClosed {
		return nil, errClosed
	}
	sent := &delivery{done: make(chan struct{}), release: release}
	sent.pending.Store(int64(len(messages)))
	for i, message := range messages {
		message.Metadata = &parcel{delivery: sent, number: i}
		select {
		case c.producer.Input() <- message:
		case <-ctx.Done():
			for range messages[i:] {
				(&parcel{delivery: sent}).settle(ctx.Err())
			}
			return nil, fmt.Errorf("hand events to kafka's producer: %w", ctx.Err())
		}
	}
	return sent, nil
}

// handAgain gives a message to the producer that another has failed at. Unless it returns an error, the message comes back.
func (c *connection) handAgain(ctx context.Context, message *sarama.ProducerMessage) error {
	c.closing.RLock()
	defer c.closing.RUnlock()
	if c.isClosed {
		return errClosed
	}
	select {
	case c.producer.Input() <- &sarama.ProducerMessage{Topic: message.Topic, Key: message.Key, Value: message.Value, Metadata: message.Metadata}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("hand an event to kafka's producer again: %w", ctx.Err())
	}
}

// close flushes what the producer holds, and returns when it has answered for every message.
func (c *connection) close() {
	c.closing.Lock()
	c.isClosed = true
	c.closing.Unlock()
	c.producer.AsyncClose()
	c.reading.Wait()
}
