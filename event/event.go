package event

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Limits of a single event. An event above one is refused, never cut: an id that was cut could become another's id.
// They are checked when an event comes in (Event.Check), not when its message is read, so that a limit that is lowered
// later does not make what was accepted unreadable.
const (
	// MaxBytes is the size of the event's JSON as the client sent it: one mebibyte, as PostHog's.
	MaxBytes = 1 << 20
	// MaxNameBytes is the length of the name in UTF-8. PostHog cuts at 200 characters, which are at most 800 bytes.
	MaxNameBytes = 800
	// MaxDistinctIDBytes is the length of the distinct id in UTF-8. PostHog cuts at 200 characters.
	MaxDistinctIDBytes = 800
)

// Event is one event as the client's JSON tells it. It shares that text's memory.
type Event struct {
	// Name is `event`. U+0000, which many destinations refuse in text, has become U+FFFD.
	Name string
	// DistinctID is `distinct_id`, or else `$distinct_id`, or else `properties.distinct_id`; the text of a number is
	// kept digit for digit. U+0000 has become U+FFFD.
	DistinctID string
	// UUID is `uuid`, with or without hyphens; zero when there is none, when it is no UUID, or is the nil UUID.
	UUID uuid.UUID
	// Token is the project token that the event itself names: `api_key`, `token`, `$token`, or properties.token.
	Token string

	time       timeSource
	size       int
	properties []byte
	person     []member
}

// member is a member of a JSON object, its value as text.
type member struct {
	name  string
	value []byte
}

// Parse reads the JSON of one event. The error is a *Refusal, or a syntax error of encoding/json.
func Parse(text []byte) (Event, error) {
	if err := valid(text); err != nil {
		return Event{}, err
	}
	parsed, refusal := parse(bytes.TrimSpace(text))
	if refusal != nil {
		return parsed, refusal
	}
	return parsed, nil
}

// parse reads text that is valid JSON without white space around it. What could be read before a refusal, the UUID
// above all, is in the event, so that the client can be told which event was refused.
func parse(text []byte) (Event, *Refusal) {
	if text[0] != '{' {
		return Event{}, refuse(ReasonNotObject, "the event is not a JSON object; send an object with event, distinct_id and properties")
	}
	var said said
	parsed := Event{size: len(text)}
	for key, value := range members(text) {
		switch string(key) {
		case "uuid":
			parsed.UUID = readUUID(value)
		case "api_key", "token", "$token":
			if token, ok := unquote(value); ok && token != "" {
				parsed.Token = token
			}
		default:
			said.take(key, value)
		}
	}
	if !utf8.Valid(text) {
		return parsed, refuse(ReasonNotUTF8, "the event holds bytes that are not UTF-8; encode the request as UTF-8")
	}
	if !isNull(said.properties) && said.properties[0] == '{' {
		for key, value := range members(said.properties) {
			if said.inside.take(key, value); parsed.Token == "" && string(key) == "token" {
				parsed.Token, _ = unquote(value)
			}
		}
	}
	return parsed, said.decide(&parsed)
}

// said is what the members of an event say about its row, as text. The last of a name counts.
type said struct {
	name, distinctID, altDistinctID, properties, set, setOnce []byte

	time   timeSource
	inside inside
}

// inside is what the properties say about the event itself.
type inside struct {
	distinctID                 []byte
	set, setOnce, ignoreSentAt bool
}

func (s *said) take(key, value []byte) {
	switch string(key) {
	case "event":
		s.name = value
	case "distinct_id":
		s.distinctID = value
	case "$distinct_id":
		s.altDistinctID = value
	case "properties":
		s.properties = value
	case "$set":
		s.set = value
	case "$set_once":
		s.setOnce = value
	case "timestamp":
		s.time.timestamp = value
	case "offset":
		s.time.offset = value
	}
}

func (i *inside) take(key, value []byte) {
	switch string(key) {
	case "distinct_id":
		i.distinctID = value
	case "$set":
		i.set = true
	case "$set_once":
		i.setOnce = true
	case "$ignore_sent_at":
		i.ignoreSentAt = value[0] == 't'
	}
}

// decide makes an event of it, or says why it is none.
func (s *said) decide(parsed *Event) *Refusal {
	properties := s.properties
	if isNull(properties) {
		properties = []byte("{}")
	}
	parsed.time = s.time
	if properties[0] != '{' {
		return refuse(ReasonBadProperties, "properties is not a JSON object; send an object, or leave it out")
	}
	parsed.time.ignoreSentAt = s.inside.ignoreSentAt
	parsed.properties = properties
	if !s.inside.set && !isNull(s.set) {
		parsed.person = append(parsed.person, member{"$set", s.set})
	}
	if !s.inside.setOnce && !isNull(s.setOnce) {
		parsed.person = append(parsed.person, member{"$set_once", s.setOnce})
	}
	var ok bool
	if parsed.Name, ok = nonEmpty(s.name); !ok {
		return refuse(ReasonNoName, "event is missing, empty or not a string; give the event a name")
	}
	for _, candidate := range [][]byte{s.distinctID, s.altDistinctID, s.inside.distinctID} {
		if parsed.DistinctID, ok = textOrNumber(candidate); ok {
			return nil
		}
	}
	return refuse(ReasonNoDistinctID, "distinct_id is missing, empty or neither a string nor a number; say whose event it is")
}

// Check holds the event against the limits of a single event; nil when it keeps them.
func (e Event) Check() *Refusal {
	switch {
	case e.size > MaxBytes:
		return refuse(ReasonTooLarge, "the event is %d bytes, more than %d; send less in its properties", e.size, MaxBytes)
	case len(e.Name) > MaxNameBytes:
		return refuse(ReasonNameTooLong, "event is %d bytes, more than %d; shorten the name and put the rest into properties", len(e.Name), MaxNameBytes)
	case len(e.DistinctID) > MaxDistinctIDBytes:
		return refuse(ReasonDistinctIDTooLong, "distinct_id is %d bytes, more than %d; use a shorter id", len(e.DistinctID), MaxDistinctIDBytes)
	}
	return nil
}

// Properties is the JSON object of `properties`, byte for byte; `{}` when absent or null. Where the event has `$set` or
// `$set_once` beside the properties, as identify calls of PostHog libraries do, and the properties have not, it is put
// in as last member, where PostHog's readers look for it.
func (e Event) Properties() string {
	if len(e.person) == 0 {
		return string(e.properties)
	}
	text := bytes.Clone(e.properties[:len(e.properties)-1])
	empty := e.properties[space(e.properties, 1)] == '}'
	for _, add := range e.person {
		if !empty {
			text = append(text, ',')
		}
		empty = false
		text = append(append(append(append(text, '"'), add.name...), '"', ':'), add.value...)
	}
	return string(append(text, '}'))
}

// original is the JSON text of `timestamp`, nil if there is none.
func (e Event) original() []byte {
	if isNull(e.time.timestamp) {
		return nil
	}
	return e.time.timestamp
}

// readUUID takes the two usual forms. Others, also the nil UUID that some clients send for "none", count as none.
func readUUID(value []byte) uuid.UUID {
	text, ok := unquote(value)
	if !ok || len(text) != 36 && len(text) != 32 {
		return uuid.Nil
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil
	}
	return id
}

// nonEmpty is a string that is not empty, without U+0000.
func nonEmpty(value []byte) (string, bool) {
	if isNull(value) {
		return "", false
	}
	text, ok := unquote(value)
	return strings.ReplaceAll(text, "\x00", "\uFFFD"), ok && text != ""
}

func textOrNumber(value []byte) (string, bool) {
	if !isNull(value) && isNumber(value) {
		return string(value), true
	}
	return nonEmpty(value)
}
