package capture

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/ingest/broker"
)

// Config says what capture listens to, for whom, and where events go. The zero value of each optional field means its
// default.
type Config struct {
	// Listen is the TCP address of Run, host:port; port 0 takes a free one, which OnListen tells. Open ignores it.
	Listen string

	// OnListen is told the bound address once, before the first request is taken. Optional.
	OnListen func(net.Addr)

	// Teams are the tenants that may send, at least one. Tokens are distinct.
	Teams []Team

	// Broker names the Kafka cluster and the topic. The topic must be there; while it is not, requests are answered 503.
	Broker broker.Config

	// MaxBodyBytes bounds one request, both as sent and as decompressed. Default: 20 MiB, as PostHog's.
	MaxBodyBytes int64

	// MaxInFlightBytes bounds the memory of all requests together, from the first byte read until Kafka has answered
	// for the last event. Above it requests are answered 503 at once. Default: 256 MiB; at least five times
	// MaxBodyBytes, so that the largest request fits.
	MaxInFlightBytes int64

	// AckTimeout is how long a request waits for Kafka before it is answered 503. Default: 5 s.
	AckTimeout time.Duration

	// DrainTimeout is how long Run waits, once it is told to stop, for requests in flight. Default: 20 s.
	DrainTimeout time.Duration

	// Registerer takes the metrics. Default: a registry of its own, which nobody reads.
	Registerer prometheus.Registerer

	// Logger takes the log. Default: slog.Default().
	Logger *slog.Logger
}

// Team is a tenant and the token by which its clients name it.
type Team struct {
	// ID is what rows carry; above zero.
	ID int64
	// Name is for people.
	Name string
	// Token is the project token that clients send as api_key.
	Token string
}

func (c Config) withDefaults() Config {
	if c.MaxBodyBytes == 0 {
		c.MaxBodyBytes = 20 << 20
	}
	if c.MaxInFlightBytes == 0 {
		c.MaxInFlightBytes = max(256<<20, 5*c.MaxBodyBytes)
	}
	if c.AckTimeout == 0 {
		c.AckTimeout = 5 * time.Second
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 20 * time.Second
	}
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Broker = c.Broker.WithDefaults()
	return c
}

// validate says what is wrong, naming field, value and remedy; never a token.
func (c Config) validate() error {
	if len(c.Teams) == 0 {
		return fmt.Errorf("teams: none given, so no client could send; add a team with id, name and token")
	}
	byToken := make(map[string]Team, len(c.Teams))
	for i, team := range c.Teams {
		if team.ID <= 0 {
			return fmt.Errorf("teams[%d].id: %d must be above zero", i, team.ID)
		}
		if team.Token == "" {
			return fmt.Errorf("teams[%d].token: team %d has none; give it the token that its clients send as api_key", i, team.ID)
		}
		if other, taken := byToken[team.Token]; taken {
			return fmt.Errorf("teams[%d].token: teams %d and %d have the same; give each its own", i, other.ID, team.ID)
		}
		byToken[team.Token] = team
	}
	if c.MaxBodyBytes < 0 {
		return fmt.Errorf("max body bytes: %d must be above zero", c.MaxBodyBytes)
	}
	if c.MaxInFlightBytes < 5*c.MaxBodyBytes {
		return fmt.Errorf("max in-flight bytes: %d must be at least five times max body bytes, %d, so that the largest request fits", c.MaxInFlightBytes, c.MaxBodyBytes)
	}
	if c.AckTimeout < 0 || c.DrainTimeout < 0 {
		return fmt.Errorf("timeouts: ack %s and drain %s must be above zero", c.AckTimeout, c.DrainTimeout)
	}
	return c.Broker.Validate()
}
