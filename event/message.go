package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Message is one event on its way through Kafka: what the client sent, and what capture knows besides. A row is a
// function of the message alone, so that reading it again always gives the same row.
type Message struct {
	// TeamID is the tenant that the client's project token named.
	TeamID int64
	// UUID is the client's, or the one that capture made for an event that had none.
	UUID uuid.UUID
	// ReceivedAt is when capture had read the request, by capture's clock; microseconds are kept.
	ReceivedAt time.Time
	// SentAt is when the client sent the request, by the client's clock; zero when it did not say.
	SentAt time.Time
	// IP is the address that the request came from; empty when unknown.
	IP string
	// Event is the JSON object of the event as the client sent it, byte for byte.
	Event []byte
}

// MaxEnvelopeBytes is more than AppendJSON adds to the event: 176 bytes of names and fixed values, and the address.
const MaxEnvelopeBytes = 512

// MaxMessageBytes is the largest value that AppendJSON makes of an event that keeps the limits.
const MaxMessageBytes = MaxBytes + MaxEnvelopeBytes

// AppendJSON appends the message as the value of a Kafka record:
//
//	{"team_id":1,"uuid":"…","received_at":"…","sent_at":null,"ip":"127.0.0.1","event":{…}}
//
// Times are RFC 3339 in UTC. The event is copied, never encoded again.
func (m Message) AppendJSON(to []byte) []byte {
	to = append(to, `{"team_id":`...)
	to = strconv.AppendInt(to, m.TeamID, 10)
	to = append(to, `,"uuid":"`...)
	to = append(to, m.UUID.String()...)
	to = append(to, `","received_at":"`...)
	to = m.ReceivedAt.UTC().Truncate(time.Microsecond).AppendFormat(to, time.RFC3339Nano)
	to = append(to, `","sent_at":`...)
	if m.SentAt.IsZero() {
		to = append(to, "null"...)
	} else {
		to = append(to, '"')
		to = m.SentAt.UTC().AppendFormat(to, time.RFC3339Nano)
		to = append(to, '"')
	}
	to = append(to, `,"ip":`...)
	ip, _ := json.Marshal(m.IP) // a string always has its JSON
	to = append(to, ip...)
	to = append(to, `,"event":`...)
	to = append(to, m.Event...)
	return append(to, '}')
}

// ParseMessage reads the value of a Kafka record into the row that it becomes. Members that it does not know are
// passed over, so that an older loader can read what a newer capture wrote. The error says which part cannot be read;
// such a record stays unreadable however often it is tried. Safe for concurrent use; the row shares no memory with value.
func ParseMessage(value []byte) (Row, error) {
	row, _, err := ParseOriginal(value)
	return row, err
}

// ParseOriginal is ParseMessage that also tells the event's time as the client wrote it, the JSON text of `timestamp`; nil
// if there is none. A client that sends an event again writes the same, while the row's time, which is corrected by when
// the request was sent and received, differs from try to try. It is a part of value.
func ParseOriginal(value []byte) (row Row, timestamp []byte, err error) {
	message, parsed, err := read(value)
	if err != nil {
		return Row{}, nil, err
	}
	at, _ := parsed.Time(message.ReceivedAt, message.SentAt)
	return Row{
		TeamID:     message.TeamID,
		UUID:       message.UUID,
		Event:      parsed.Name,
		DistinctID: parsed.DistinctID,
		Timestamp:  at,
		Properties: parsed.Properties(),
		ReceivedAt: message.ReceivedAt,
	}, parsed.original(), nil
}

// Identity is what tells an event from others: two messages whose identities are equal carry the same event, sent twice.
type Identity struct {
	TeamID     int64
	UUID       uuid.UUID
	Event      string
	DistinctID string
	// Timestamp is the event's time as the client wrote it, as by ParseOriginal.
	Timestamp []byte
}

// ParseIdentity reads of a message only what tells its event from others, which costs less than ParseOriginal.
// Both agree on which messages can be read, and on what they have in common. The timestamp is a part of value.
func ParseIdentity(value []byte) (Identity, error) {
	message, parsed, err := read(value)
	if err != nil {
		return Identity{}, err
	}
	return Identity{TeamID: message.TeamID, UUID: message.UUID, Event: parsed.Name, DistinctID: parsed.DistinctID, Timestamp: parsed.original()}, nil
}

// read decides whether a message can be read, for all who read it.
func read(value []byte) (Message, Event, error) {
	if message, parsed, ok := readAtOnce(value); ok {
		return message, parsed, nil
	}
	return readStepByStep(value)
}

// readAtOnce goes over the text once, where readStepByStep goes over most of it five times. It reads what capture writes;
// whatever is unusual, and all that cannot be read, is not ok and left to the other. What it reads the other reads too, and
// the same way, but for the event's token and UUID, which a row does not have.
func readAtOnce(value []byte) (message Message, parsed Event, ok bool) {
	var envelope envelope
	var words said
	end := walk(value, space(value, 0), 0, func(key []byte, at int) int {
		if string(key) != "event" {
			end := validValue(value, at, 1)
			if end >= 0 && envelope.take(key, value[at:end]) != nil {
				return -1
			}
			return end
		}
		words = said{} // an event that stood before this one does not count
		end := walk(value, at, 1, func(key []byte, at int) int {
			var end int
			if string(key) == "properties" {
				words.inside = inside{}
				end = walk(value, at, 2, func(key []byte, at int) int {
					end := validValue(value, at, 3)
					if end >= 0 {
						words.inside.take(key, value[at:end])
					}
					return end
				})
			} else {
				end = validValue(value, at, 2)
			}
			if end >= 0 {
				words.take(key, value[at:end])
			}
			return end
		})
		if end >= 0 {
			envelope.message.Event = value[at:end]
		}
		return end
	})
	if end < 0 || space(value, end) != len(value) || !utf8.Valid(value) || envelope.check() != nil {
		return Message{}, Event{}, false
	}
	parsed.size = len(envelope.message.Event)
	return envelope.message, parsed, words.decide(&parsed) == nil
}

func readStepByStep(value []byte) (Message, Event, error) {
	if err := valid(value); err != nil {
		return Message{}, Event{}, fmt.Errorf("read the message: %w", err)
	}
	value = bytes.TrimSpace(value)
	if value[0] != '{' {
		return Message{}, Event{}, fmt.Errorf("read the message: it is not a JSON object")
	}
	if !utf8.Valid(value) {
		return Message{}, Event{}, fmt.Errorf("read the message: it holds bytes that are not UTF-8")
	}
	message, err := readMessage(value)
	if err != nil {
		return Message{}, Event{}, fmt.Errorf("read the message: %w", err)
	}
	parsed, refusal := parse(message.Event)
	if refusal != nil {
		return Message{}, Event{}, fmt.Errorf("read the event of the message: %w", refusal)
	}
	return message, parsed, nil
}

// readMessage reads the envelope of a valid JSON object. What a row cannot do without must be there.
func readMessage(value []byte) (Message, error) {
	var envelope envelope
	for key, text := range members(value) {
		if string(key) == "event" {
			envelope.message.Event = text
		} else if err := envelope.take(key, text); err != nil {
			return envelope.message, fmt.Errorf("%s: %w", key, err)
		}
	}
	return envelope.message, envelope.check()
}

// envelope is what stands around the event.
type envelope struct {
	message Message
	hasTeam bool
}

// take reads a member, all but the event.
func (e *envelope) take(key, text []byte) (err error) {
	switch string(key) {
	case "team_id":
		e.message.TeamID, err = strconv.ParseInt(string(text), 10, 64)
		e.hasTeam = err == nil
	case "uuid":
		e.message.UUID = readUUID(text)
	case "received_at":
		e.message.ReceivedAt, err = readRFC3339(text)
	case "sent_at":
		if !isNull(text) {
			e.message.SentAt, err = readRFC3339(text)
		}
	}
	return err
}

// check says what is missing.
func (e *envelope) check() error {
	switch {
	case !e.hasTeam:
		return fmt.Errorf("team_id is missing")
	case e.message.UUID == uuid.Nil:
		return fmt.Errorf("uuid is missing or no UUID")
	case e.message.ReceivedAt.IsZero():
		return fmt.Errorf("received_at is missing")
	case e.message.Event == nil:
		return fmt.Errorf("event is missing")
	}
	e.message.ReceivedAt = e.message.ReceivedAt.Truncate(time.Microsecond)
	return nil
}

func readRFC3339(value []byte) (time.Time, error) {
	text, ok := unquote(value)
	if !ok {
		return time.Time{}, fmt.Errorf("%.64q is not a time", value)
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%.64q is not a time of RFC 3339", text)
	}
	return at.UTC(), nil
}
