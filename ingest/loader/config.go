package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
)

// The defaults of Config.
const (
	DefaultBlockRows  = 100_000
	DefaultBlockBytes = 4 << 20
	DefaultBlockAge   = 2 * time.Second
	DefaultDuplicates = 1_000_000
)

// DefaultGroup is the consumer group that all loaders of one event store share.
const DefaultGroup = "millrace.loader"

// Config says from where to where, and in which blocks. The zero value of each optional field means its default.
type Config struct {
	// Store is the event store to load into. Needed.
	Store *eventstore.Store

	// Kafka names the brokers and the topic. Its brokers are needed.
	Kafka broker.Config

	// Group is the consumer group. Loaders of one event store share it; two groups on one topic would both load
	// every event. Default: DefaultGroup.
	Group string

	// Timing is how fast the death of a loader is noticed. Default: see broker.GroupTiming.
	Timing broker.GroupTiming

	// BlockRows is after how many messages a block is cut. A block is one part of the table, so larger ones make less
	// work for ClickHouse; it is held in memory for each claimed partition. Default: 100,000.
	BlockRows int

	// BlockBytes is after how many bytes of message values a block is cut; the last message may reach beyond.
	// In memory, with what the insert needs, a block takes about four times as much. Default: 4 MiB.
	BlockBytes int

	// BlockAge is how long after its first message a block is cut, full or not. It is most of the time between
	// acceptance and visibility; shorter makes more parts. Default: 2 s.
	BlockAge time.Duration

	// Duplicates is how many offsets back an event is looked for that is there already: with the same team, uuid, name,
	// distinct id and time as the client wrote it. It takes 18 MB for each claimed partition at a million, and as many messages are read again
	// when a partition is claimed. All loaders of a group need the same number, or they cannot repeat each other's plans
	// and wait them out instead. Negative leaves only copies within one block to be found. Default and most: 1,000,000.
	Duplicates int64

	// Drain bounds how long open blocks may take to be inserted and committed when Run is cancelled or partitions go to
	// another loader; what is not done by then is read again. Keep it below Timing.RebalanceTimeout. Default: 20 s.
	Drain time.Duration

	// Owner names this process beside the watermarks it publishes, for people. Default: host name and process id.
	Owner string

	// Log takes what happens. Default: slog.Default().
	Log *slog.Logger

	// Registerer takes the metrics, until Run returns. Default: a registry of its own, which nobody reads.
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() (Config, error) {
	if c.Store == nil {
		return c, errors.New("loader config: Store is missing; open one with eventstore.Open")
	}
	if err := c.Kafka.Validate(); err != nil {
		return c, err
	}
	c.Kafka = c.Kafka.WithDefaults()
	if c.Group == "" {
		c.Group = DefaultGroup
	}
	c.Timing = c.Timing.WithDefaults()
	for name, value := range map[string]int64{
		"BlockRows": int64(c.BlockRows), "BlockBytes": int64(c.BlockBytes), "BlockAge": int64(c.BlockAge), "Drain": int64(c.Drain),
	} {
		if value < 0 {
			return c, fmt.Errorf("loader config: %s is %d; give a positive value, or 0 for the default", name, value)
		}
	}
	if c.BlockRows == 0 {
		c.BlockRows = DefaultBlockRows
	}
	if c.BlockBytes == 0 {
		c.BlockBytes = DefaultBlockBytes
	}
	if c.BlockAge == 0 {
		c.BlockAge = DefaultBlockAge
	}
	switch {
	case c.Duplicates == 0:
		c.Duplicates = DefaultDuplicates
	case c.Duplicates < 0:
		c.Duplicates = 0
	case c.Duplicates > DefaultDuplicates:
		return c, fmt.Errorf("loader config: Duplicates is %d; give at most 1,000,000, which take 18 MB a partition", c.Duplicates)
	}
	if c.Drain == 0 {
		c.Drain = 20 * time.Second
	}
	if c.Drain >= c.Timing.RebalanceTimeout {
		return c, fmt.Errorf("loader config: Drain is %s and must be below the rebalance timeout of %s, or a draining loader is thrown out of its group", c.Drain, c.Timing.RebalanceTimeout)
	}
	if c.Owner == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown host"
		}
		c.Owner = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	return c, nil
}

// parser names what makes rows of messages.
func (c Config) parser() string { return fmt.Sprintf("%d/%d", parserVersion, c.Duplicates) }
