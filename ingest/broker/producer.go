package broker

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// MaxMessageBytes is the largest message that capture may send and the topic takes: key, value and overhead, before
// compression. An event may have a mebibyte; its envelope and the escapes around it fit in the second one.
const MaxMessageBytes = 2 << 20

// ProducerConfig is sarama's configuration of capture's producer: idempotent, acknowledged by all in-sync replicas,
// one request in flight for each broker, so that a repeated request neither doubles nor reorders.
//
// A message comes back on Successes or on Errors, once; both must be read. An error says that the message is not known
// to be written: it may still be in the log. A broker that refuses connections is reported within about 5 s, one that
// takes them and never answers within about 15 s; who cannot wait that long gives up by a clock of his own and tells
// his client to come again.
func ProducerConfig(config Config) *sarama.Config {
	config = config.WithDefaults()
	producer := config.clientConfig()
	producer.Net.MaxOpenRequests = 1
	producer.Net.ReadTimeout = 6 * time.Second // above Producer.Timeout, so that the broker's own answer comes first
	producer.Metadata.Retry.Max = 1
	producer.Metadata.Timeout = 4 * time.Second
	producer.Producer.Idempotent = true
	producer.Producer.RequiredAcks = sarama.WaitForAll
	producer.Producer.Timeout = 5 * time.Second
	producer.Producer.Retry.Max = 5
	producer.Producer.Retry.BackoffFunc = producerBackoff
	producer.Producer.Return.Successes = true
	producer.Producer.Return.Errors = true
	producer.Producer.Partitioner = sarama.NewHashPartitioner
	producer.Producer.Compression = sarama.CompressionZSTD
	producer.Producer.MaxMessageBytes = MaxMessageBytes
	return producer
}

// producerBackoff waits 50, 100, 200, 400, 500 ms: long enough for a new leader, short enough for a waiting client.
func producerBackoff(retries, _ int) time.Duration {
	return min(50*time.Millisecond<<max(retries-1, 0), 500*time.Millisecond)
}

// NewProducer connects a producer by ProducerConfig. It fails when no broker answers within a few seconds; once it
// runs, brokers may come and go. AsyncClose or Close ends it and flushes what it was given.
func NewProducer(config Config) (sarama.AsyncProducer, error) {
	config = config.WithDefaults()
	if err := config.Validate(); err != nil {
		return nil, err
	}
	producer, err := sarama.NewAsyncProducer(config.addresses(), ProducerConfig(config))
	if err != nil {
		return nil, fmt.Errorf("connect to kafka at %s: %w", strings.Join(config.Brokers, ","), err)
	}
	return producer, nil
}

// Key is the key of an event's message. Events of one person of one team share a partition, so they stay in order and
// their duplicates meet.
func Key(teamID int64, distinctID string) sarama.Encoder {
	return sarama.StringEncoder(strconv.FormatInt(teamID, 10) + "/" + distinctID)
}
