package capture

import (
	"context"
	"errors"
	"sync"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/ingest/broker"
)

// splitter parts the messages that Kafka never takes from those beside them. Kafka refuses a batch as a whole, and in it
// are events of many requests: without this one event would have all of them answered 503, and again each time that its
// client comes again.
//
// Capture refuses beforehand what is larger than the topic's max.message.bytes. Kafka refuses more: when that setting was
// lowered since, a single event above it, and also a batch of small ones; and what does not fit into a segment of its log.
// So a refused batch is tried in two ways. First by a new producer, which has read the setting again and makes smaller
// batches. What it brings back goes, each message alone, through a producer for that; only what is refused then is
// refused for good.
//
// A refused batch leaves no gap in what the producer counts: sarama 1.61.1 numbers messages when it sends them, one batch
// of a partition at a time, and begins to count anew after a failure.
//
// Events of one person may change places by that: those of a refused batch come after those that were sent meanwhile.
type splitter struct {
	sink *sink
	wake chan struct{}

	mu      sync.Mutex
	waiting []*sarama.ProducerMessage
	isOver  bool

	alone *connection // of the goroutine of run
}

// The splits of a message: the whole batch, the smaller one, itself.
const splitsForGood = 3

func newSplitter(s *sink) *splitter { return &splitter{sink: s, wake: make(chan struct{}, 1)} }

// takes tells that the message will be tried again in another way, and then comes back once more.
func (s *splitter) takes(from *connection, message *sarama.ProducerMessage, err error) bool {
	var code sarama.KError // or it is sarama's own judgement of this one message, which is final
	if !errors.As(err, &code) || broker.ClassOf(err) != broker.TooLarge {
		return false
	}
	p := message.Metadata.(*parcel)
	if p.splits++; p.splits == splitsForGood {
		return false
	}
	if !from.oversized.Swap(true) {
		s.sink.logger.Warn("kafka refuses a batch of events as too large; they are sent again in smaller ones", "topic", message.Topic, "batch of at most", from.largest, "error", err)
	}
	from.replace()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isOver {
		p.settle(errClosed)
		return true
	}
	p.by = from
	s.waiting = append(s.waiting, message)
	s.look()
	return true
}

// look has run look at what waits.
func (s *splitter) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run sends what waits, until ctx ends. Then it settles what is left as not known to be written.
func (s *splitter) run(ctx context.Context) {
	for {
		select {
		case <-s.wake:
			s.send(ctx)
		case <-ctx.Done():
			s.mu.Lock()
			s.isOver = true
			left := s.waiting
			s.waiting = nil
			s.mu.Unlock()
			for _, message := range left {
				message.Metadata.(*parcel).settle(errClosed)
			}
			if s.alone != nil {
				s.alone.close()
			}
			return
		}
	}
}

func (s *splitter) send(ctx context.Context) {
	s.mu.Lock()
	messages := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	var early []*sarama.ProducerMessage
	for _, message := range messages {
		p := message.Metadata.(*parcel)
		live := s.sink.live.Load()
		switch {
		case p.splits > 1:
			s.settleUnless(message, s.sendAlone(ctx, message))
		case live == p.by:
			early = append(early, message) // until it is replaced
		default:
			err := live.handAgain(ctx, message)
			if errors.Is(err, errClosed) { // there is a newer one already
				early = append(early, message)
				s.look()
				continue
			}
			s.settleUnless(message, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(early, s.waiting...)
}

func (s *splitter) settleUnless(message *sarama.ProducerMessage, err error) {
	if err != nil {
		s.sink.report(err)
		message.Metadata.(*parcel).settle(err)
	}
}

// sendAlone sends a message in a batch of its own.
func (s *splitter) sendAlone(ctx context.Context, message *sarama.ProducerMessage) error {
	if s.alone != nil {
		select {
		case <-s.alone.tripped:
			s.sink.running.Go(s.alone.close)
			s.alone = nil
		default:
		}
	}
	if s.alone == nil {
		fresh, _, err := dial(ctx, s.sink.config, 1)
		if err != nil {
			return err
		}
		fresh.read(s.sink.settle)
		s.alone = fresh
	}
	return s.alone.handAgain(ctx, message)
}
