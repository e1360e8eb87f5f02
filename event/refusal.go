package event

import "fmt"

// Reason is why an event was refused, out of a closed set: what programs and metrics tell refusals by.
type Reason string

// The reasons. The sentence of a Refusal says more.
const (
	ReasonNotObject         Reason = "not_an_object"        // the event is some other JSON value
	ReasonNotUTF8           Reason = "not_utf8"             // it holds bytes that are not UTF-8
	ReasonNoName            Reason = "name_missing"         // `event` is absent, empty or no string
	ReasonNameTooLong       Reason = "name_too_long"        // above MaxNameBytes
	ReasonNoDistinctID      Reason = "distinct_id_missing"  // `distinct_id` is absent, empty, or neither string nor number
	ReasonDistinctIDTooLong Reason = "distinct_id_too_long" // above MaxDistinctIDBytes
	ReasonBadProperties     Reason = "properties_invalid"   // `properties` is neither an object nor null
	ReasonTooLarge          Reason = "too_large"            // above MaxBytes
)

// Reasons lists the closed set.
func Reasons() []Reason {
	return []Reason{
		ReasonNotObject, ReasonNotUTF8, ReasonNoName, ReasonNameTooLong,
		ReasonNoDistinctID, ReasonDistinctIDTooLong, ReasonBadProperties, ReasonTooLarge,
	}
}

// Refusal is why an event cannot be taken as it is. Sending the same event again is refused again.
type Refusal struct {
	Reason Reason
	// Sentence names field, value and remedy; it holds no value that the client sent.
	Sentence string
}

// Error is the sentence.
func (r *Refusal) Error() string { return r.Sentence }

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Sentence: fmt.Sprintf(format, args...)}
}
