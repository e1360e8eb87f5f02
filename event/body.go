package event

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// MaxEventsInBody bounds the memory that one body of tiny events can ask for. Client libraries send some hundreds.
const MaxEventsInBody = 10_000

// Body is what one request of a client carries.
type Body struct {
	// Token is the project token: the body's own `api_key` or `token`, or else the one that its events name.
	Token string
	// SentAt is `sent_at` of the body, by the client's clock; zero when absent or unreadable.
	SentAt time.Time
	// Events are the events in the order of the body.
	Events []Sent
}

// Sent is one event of a body.
type Sent struct {
	// JSON is the event's text within the body; it shares the body's memory.
	JSON []byte
	// Event is what could be read of it.
	Event Event
	// Refusal is why the event cannot be taken, or nil.
	Refusal *Refusal
}

// Errors of ParseBody, for errors.Is.
var (
	// ErrManyTokens says that the events of one body name different projects.
	ErrManyTokens = errors.New("the events name more than one project token; send one request for each project")
	// ErrShape says that the body is JSON of a shape that no client library sends.
	ErrShape = errors.New(`the body is neither an event, nor an array of events, nor {"api_key": …, "batch": […]}`)
	// ErrTooManyEvents says that the body holds more than MaxEventsInBody.
	ErrTooManyEvents = fmt.Errorf("the body holds more than %d events; send them in several requests", MaxEventsInBody)
	// ErrNoEvents says that the body holds no event at all.
	ErrNoEvents = errors.New("the body holds no events")
)

// ParseBody reads a request's JSON in the three shapes that client libraries send: one event, an array of events, and
// an object with `batch`. An event that cannot be taken keeps its neighbours: it is there with its Refusal. An error
// means that the body as a whole cannot be read: one of the errors above, or a syntax error of encoding/json.
func ParseBody(text []byte) (Body, error) {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	if err := valid(text); err != nil {
		return Body{}, fmt.Errorf("read JSON: %w", err)
	}
	text = bytes.TrimSpace(text)
	var body Body
	var list []byte
	switch text[0] {
	case '[':
		list = text
	case '{':
		for key, value := range members(text) {
			switch string(key) {
			case "api_key", "token":
				if token, ok := unquote(value); ok && token != "" {
					body.Token = token
				}
			case "sent_at":
				body.SentAt, _ = readTime(value)
			case "batch":
				list = value
			}
		}
		if list == nil {
			body.add(text)
		} else if list[0] != '[' {
			return body, ErrShape
		}
	default:
		return Body{}, ErrShape
	}
	if list != nil {
		for element := range elements(list) {
			if len(body.Events) == MaxEventsInBody {
				return body, ErrTooManyEvents
			}
			body.add(element)
		}
	}
	if len(body.Events) == 0 {
		return body, ErrNoEvents
	}
	return body, body.findToken()
}

func (b *Body) add(text []byte) {
	parsed, refusal := parse(text)
	if refusal == nil {
		refusal = parsed.Check()
	}
	b.Events = append(b.Events, Sent{JSON: text, Event: parsed, Refusal: refusal})
}

// findToken takes the events' token where the body names none.
func (b *Body) findToken() error {
	if b.Token != "" {
		return nil
	}
	for _, sent := range b.Events {
		switch {
		case sent.Event.Token == "" || sent.Event.Token == b.Token:
		case b.Token == "":
			b.Token = sent.Event.Token
		default:
			return ErrManyTokens
		}
	}
	return nil
}
