package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/failpoint"
)

// Handler serves the endpoints for events, and two for those who watch the process: /livez is 200 while it runs,
// /readyz is 200 once Kafka was reached and until capture stops. A Kafka that goes away later does not make it unready,
// because then no instance would be left to tell clients when to come again.
func (c *Capture) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path.Clean("/" + r.URL.Path) { // a client whose host ends in a slash sends //batch/
		case "/batch", "/e", "/capture", "/i/v0/e":
			outcome := c.take(w, r)
			word := outcome.Error
			if word == "" {
				word = "none"
			}
			c.metrics.requests.WithLabelValues(strconv.Itoa(outcome.status), word).Inc()
			outcome.write(w)
		case "/livez":
			healthy(r, true).write(w)
		case "/readyz":
			_, reached := c.sink.largest()
			healthy(r, reached && !c.draining.Load()).write(w)
		default:
			problem(http.StatusNotFound, errPath, "there is nothing here; events go by POST to /batch/, /e/, /capture/ or /i/v0/e/").write(w)
		}
	})
}

func healthy(r *http.Request, yes bool) *answer {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return problem(http.StatusMethodNotAllowed, errMethod, "use GET")
	case !yes:
		return comeAgain(retryAfterKafka, errKafka, "kafka was not reached yet, or capture is stopping")
	}
	return &answer{status: http.StatusOK, Status: 1}
}

// take does one request, from its bytes to Kafka's answer.
func (c *Capture) take(w http.ResponseWriter, r *http.Request) *answer {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return problem(http.StatusMethodNotAllowed, errMethod, "events go by POST")
	}
	held := &share{budget: c.budget}
	defer held.release()
	if !held.hold(firstBytes) {
		return busy()
	}
	text, failed := c.readText(w, r, held)
	if failed != nil {
		return failed
	}
	c.metrics.bytes.Observe(float64(len(text)))
	body, err := event.ParseBody(text)
	if err != nil {
		return bodyProblem(err)
	}
	if body.Token == "" {
		return problem(http.StatusUnauthorized, errNoToken, "the request names no project token; put it into api_key beside batch, or into api_key of the event")
	}
	team, known := c.teams[body.Token]
	if !known {
		return problem(http.StatusUnauthorized, errUnknown, "no team has this project token; compare api_key with the tokens under teams in millrace.yaml")
	}
	return c.keep(r, team, text, body)
}

func bodyProblem(err error) *answer {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return problem(http.StatusBadRequest, errBrokenJSON, fmt.Sprintf("the body is not JSON: %v, at byte %d", syntax, syntax.Offset))
	}
	switch {
	case errors.Is(err, event.ErrTooManyEvents):
		return problem(http.StatusRequestEntityTooLarge, errTooLarge, err.Error())
	case errors.Is(err, event.ErrManyTokens):
		return problem(http.StatusBadRequest, errManyTokens, err.Error())
	}
	return problem(http.StatusBadRequest, errBrokenBody, err.Error())
}

// keep puts the events that can be taken into Kafka.
func (c *Capture) keep(r *http.Request, team Team, text []byte, body event.Body) *answer {
	largest, reached := c.sink.largest()
	if !reached {
		return kafkaAway()
	}
	waiting := &share{budget: c.budget} // what the messages hold, until Kafka's producer has let go of them
	made := c.messages(r, team, text, body, largest, waiting)
	if made == nil {
		waiting.release()
		return busy()
	}
	for _, refusal := range made.refused {
		c.metrics.refused.WithLabelValues(refusal.Reason).Inc()
	}
	if len(made.messages) == 0 {
		waiting.release()
		return made.nothingKept()
	}

	ctx, cancel := context.WithTimeout(r.Context(), c.config.AckTimeout)
	defer cancel()
	if err := failpoint.Hit(ctx, "capture.produce"); err != nil {
		waiting.release()
		return kafkaAway()
	}
	begun := time.Now()
	tooLarge, err := c.sink.write(ctx, made.messages, waiting.release)
	if err == nil {
		err = failpoint.Hit(ctx, "capture.produced")
	}
	c.metrics.ack.Observe(time.Since(begun).Seconds())
	if err != nil {
		return kafkaAway()
	}
	c.splitOff(made, tooLarge, body)
	if len(made.messages) == 0 {
		return made.nothingKept()
	}
	c.metrics.accepted.WithLabelValues(strconv.FormatInt(team.ID, 10)).Add(float64(len(made.messages)))
	for _, origin := range made.origins {
		if origin.withoutUUID {
			c.metrics.withoutUUID.Inc()
		}
		if origin.replaced {
			c.metrics.replaced.Inc()
		}
	}
	kept := &answer{status: http.StatusOK, Status: 1, Kept: len(made.messages), Refused: made.refused}
	if len(made.refused) > 0 {
		kept.Message = fmt.Sprintf("%d of %d events were kept; the others are refused and need not be sent again as they are", kept.Kept, len(body.Events))
	}
	return kept
}

// splitOff moves the messages that Kafka refused for good to the refused events.
func (c *Capture) splitOff(made *batch, tooLarge []int, body event.Body) {
	if len(tooLarge) == 0 {
		return
	}
	var messages []*sarama.ProducerMessage
	var origins []origin
	for number, from := range made.origins {
		if !slices.Contains(tooLarge, number) {
			messages, origins = append(messages, made.messages[number]), append(origins, from)
			continue
		}
		made.refuse(from.index, body.Events[from.index], &event.Refusal{
			Reason:   event.ReasonTooLarge,
			Sentence: fmt.Sprintf("the event is %d bytes on its way, more than kafka takes; send less in its properties", made.messages[number].ByteSize(2)),
		})
		c.metrics.refused.WithLabelValues(string(event.ReasonTooLarge)).Inc()
	}
	made.messages, made.origins = messages, origins
	slices.SortFunc(made.refused, func(a, b refused) int { return a.Index - b.Index })
}

func kafkaAway() *answer {
	return comeAgain(retryAfterKafka, errKafka, "kafka has not acknowledged the events; send this request again, the same events with the same uuids are kept once")
}

// batch is a request's events on their way to the producer.
type batch struct {
	messages []*sarama.ProducerMessage
	origins  []origin // of the messages, one each
	refused  []refused
}

// origin is what a message was made of.
type origin struct {
	index       int  // of the event in its request
	withoutUUID bool // its client sent none
	replaced    bool // its client's time could not be used
}

// nothingKept is the answer when all events are refused: 413 when all are too large, so that it is told from a request
// that has to be mended.
func (b *batch) nothingKept() *answer {
	status, word := http.StatusBadRequest, errNothingKept
	if !slices.ContainsFunc(b.refused, func(r refused) bool { return r.Reason != string(event.ReasonTooLarge) }) {
		status, word = http.StatusRequestEntityTooLarge, errTooLarge
	}
	return &answer{
		status: status, Error: word, Refused: b.refused,
		Message: fmt.Sprintf("none of the events can be kept (%d refused); see refused for the reasons", len(b.refused)),
	}
}

// messages makes the Kafka messages of a request; nil when the budget has no room for them.
func (c *Capture) messages(r *http.Request, team Team, text []byte, body event.Body, largest int, waiting *share) *batch {
	receivedAt := time.Now()
	sentAt := body.SentAt
	// PostHog's browser library says it here, in milliseconds; others put any number there to pass caches.
	if said, ok := event.ParseTime(r.URL.Query().Get("_")); ok && sentAt.IsZero() && said.Year() > 2020 {
		sentAt = said
	}
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	ids := identities{team: team.ID, body: text}
	made := &batch{}
	for index, sent := range body.Events {
		if sent.Refusal != nil {
			made.refuse(index, sent, sent.Refusal)
			continue
		}
		id, isMade := ids.of(index, sent.Event)
		message := event.Message{TeamID: team.ID, UUID: id, ReceivedAt: receivedAt, SentAt: sentAt, IP: ip, Event: sent.JSON}
		size := int64(len(sent.JSON)) + event.MaxEnvelopeBytes
		if !waiting.hold(waiting.held + size) {
			return nil
		}
		record := &sarama.ProducerMessage{
			Topic: c.config.Broker.Topic,
			Key:   broker.Key(team.ID, sent.Event.DistinctID),
			Value: sarama.ByteEncoder(message.AppendJSON(make([]byte, 0, size))),
		}
		if bytes := record.ByteSize(2); bytes > largest {
			made.refuse(index, sent, &event.Refusal{
				Reason:   event.ReasonTooLarge,
				Sentence: fmt.Sprintf("the event is %d bytes on its way, more than the %d that kafka's topic takes; send less in its properties", bytes, largest),
			})
			continue
		}
		_, used := sent.Event.Time(receivedAt, sentAt)
		made.messages = append(made.messages, record)
		made.origins = append(made.origins, origin{index: index, withoutUUID: isMade, replaced: !used})
	}
	return made
}

func (b *batch) refuse(index int, sent event.Sent, refusal *event.Refusal) {
	told := refused{Index: index, Reason: string(refusal.Reason), Message: refusal.Sentence}
	if id := sent.Event.UUID; id != [16]byte{} {
		told.UUID = id.String()
	}
	b.refused = append(b.refused, told)
}
