package broker

import (
	"errors"

	"github.com/IBM/sarama"
)

// Class says what a Kafka error asks of its receiver. It is told by codes and types, never by text.
type Class int

// The classes.
const (
	// Retry: the cluster or the way to it has trouble; the same again may succeed. Also every error that is not
	// known, because calling it final would lose an event.
	Retry Class = iota
	// TooLarge: this message is larger than the topic or the producer takes. The same again is refused again.
	TooLarge
	// NoTopic: the topic is not there. `millrace setup` makes it.
	NoTopic
	// Denied: the cluster does not know our credentials, or refuses them this act.
	Denied
	// Refused: the broker calls the request itself wrong, so the same again is refused again.
	Refused
)

// String names the class, for logs and metric labels.
func (c Class) String() string {
	switch c {
	case TooLarge:
		return "too_large"
	case NoTopic:
		return "no_topic"
	case Denied:
		return "denied"
	case Refused:
		return "refused"
	default:
		return "retry"
	}
}

// IsAway tells that no broker answered at the addresses that were given.
func IsAway(err error) bool { return errors.Is(err, sarama.ErrOutOfBrokers) }

// ClassOf finds the class of an error of sarama or of this package, wrapped or not.
func ClassOf(err error) Class {
	// A running producer hands back a ConfigurationError for two reasons only: headers that the protocol has no place
	// for, which we never send, and a message above MaxMessageBytes (sarama 1.61.1; pinned by a test).
	var refused sarama.ConfigurationError
	if errors.As(err, &refused) {
		return TooLarge
	}
	if errors.Is(err, ErrNoTopic) {
		return NoTopic
	}
	var code sarama.KError
	if !errors.As(err, &code) {
		return Retry
	}
	switch code {
	case sarama.ErrMessageSizeTooLarge, sarama.ErrMessageSetSizeTooLarge:
		return TooLarge
	case sarama.ErrUnknownTopicOrPartition:
		return NoTopic
	case sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed,
		sarama.ErrTransactionalIDAuthorizationFailed, sarama.ErrSASLAuthenticationFailed:
		return Denied
	case sarama.ErrInvalidTopic, sarama.ErrInvalidPartitions, sarama.ErrInvalidReplicationFactor, sarama.ErrInvalidConfig,
		sarama.ErrInvalidRequest, sarama.ErrPolicyViolation, sarama.ErrUnsupportedVersion, sarama.ErrUnsupportedForMessageFormat,
		sarama.ErrInvalidRecord, sarama.ErrInvalidTimestamp:
		return Refused
	}
	return Retry
}
