package capture

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// answer is what a client is told: JSON, with the same members for every outcome.
type answer struct {
	status     int
	retryAfter int // seconds; 0 when coming again does not help

	// Status is 1 when events were kept, as PostHog answers.
	Status int `json:"status"`
	// Error is a word for programs, out of the constants below; empty when all is well.
	Error string `json:"error,omitempty"`
	// Message is a sentence for people.
	Message string `json:"message,omitempty"`
	// Kept is how many events Kafka has.
	Kept int `json:"kept"`
	// Refused are the events that were not kept, and never will be as they are.
	Refused []refused `json:"refused,omitempty"`
}

// refused is one event that was not kept.
type refused struct {
	// Index counts the events of the request from 0.
	Index int `json:"index"`
	// UUID is the event's own, if it has one.
	UUID    string `json:"uuid,omitempty"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Words for programs.
const (
	errNoBody      = "no_body"
	errBrokenBody  = "broken_body"
	errBrokenGzip  = "broken_gzip"
	errBrokenJSON  = "broken_json"
	errEncoding    = "unsupported_encoding"
	errTooLarge    = "too_large"
	errNoToken     = "no_token"
	errManyTokens  = "many_tokens"
	errUnknown     = "unknown_token"
	errNothingKept = "nothing_kept"
	errKafka       = "kafka_unavailable"
	errBusy        = "busy"
	errMethod      = "method_not_allowed"
	errPath        = "unknown_path"
)

// Seconds after which a client may come again.
const (
	retryAfterKafka = 2
	retryAfterBusy  = 1
)

func problem(status int, word, message string) *answer {
	return &answer{status: status, Error: word, Message: message}
}

func comeAgain(seconds int, word, message string) *answer {
	return &answer{status: http.StatusServiceUnavailable, retryAfter: seconds, Error: word, Message: message}
}

func (a *answer) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	if a.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(a.retryAfter))
	}
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a) // a client that is gone cannot be told
}
