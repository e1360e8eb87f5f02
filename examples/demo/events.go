package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/posthog/posthog-go"
)

// Row is an event as it is compared after it was read back. Everything in it is exact: the time to the microsecond, the
// properties to the byte.
type Row struct {
	UUID       string
	Event      string
	DistinctID string
	Micros     int64 // timestamp, since 1970
	Properties string
}

// Totals are what a reader of the files adds up by itself.
type Totals struct {
	Rows     int64 `json:"rows"`
	Delay    int64 `json:"delay"`
	Distance int64 `json:"distance"`
}

// flightEvent is the name of the events whose delays and distances are added up.
const flightEvent = "flight"

// eventIDs is the namespace of the ids. An event's id follows from its name and number, so that it is known beforehand.
var eventIDs = uuid.MustParse("5f1c7a52-64a7-4c6e-9d1a-6d696c6c7261")

func eventID(name string, number int) string {
	return uuid.NewSHA1(eventIDs, fmt.Appendf(nil, "%s %d", name, number)).String()
}

// flightCapture is the event of a flight, by its row in the file.
func flightCapture(number int, flight Flight) posthog.Capture {
	return posthog.Capture{
		Uuid:       eventID(flightEvent, number),
		Event:      flightEvent,
		DistinctId: flight.Origin,
		Timestamp:  flight.Date,
		Properties: posthog.NewProperties().
			Set("delay", flight.Delay).
			Set("distance", flight.Distance).
			Set("origin", flight.Origin).
			Set("destination", flight.Destination),
	}
}

// captures are all events of the demo in the order in which they are sent: the strange ones among the flights, spread
// evenly.
func captures(flights []Flight, strange []posthog.Capture) []posthog.Capture {
	all := make([]posthog.Capture, 0, len(flights)+len(strange))
	next := 0
	for i, flight := range flights {
		all = append(all, flightCapture(i, flight))
		for next < len(strange) && (i+1)*len(strange) >= (next+1)*len(flights) {
			all = append(all, strange[next])
			next++
		}
	}
	return append(all, strange[next:]...)
}

// wanted are the rows that must come back, and their totals. The properties are encoded by the client library's own
// code, so they are the very bytes that it sends.
func wanted(events []posthog.Capture) ([]Row, Totals, error) {
	rows := make([]Row, len(events))
	var totals Totals
	for i, event := range events {
		message, ok := event.APIfy().(posthog.CaptureInApi)
		if !ok {
			return nil, Totals{}, fmt.Errorf("encode event %s: the client library made a %T of it", event.Uuid, event.APIfy())
		}
		properties, err := json.Marshal(message.Properties)
		if err != nil {
			return nil, Totals{}, fmt.Errorf("encode event %s: %w", event.Uuid, err)
		}
		rows[i] = Row{
			UUID: event.Uuid, Event: event.Event, DistinctID: event.DistinctId,
			Micros: event.Timestamp.UnixMicro(), Properties: string(properties),
		}
		totals.Rows++
		if event.Event == flightEvent {
			totals.Delay += event.Properties["delay"].(int64)
			totals.Distance += event.Properties["distance"].(int64)
		}
	}
	return rows, totals, nil
}

// strangeCaptures are events that careless software damages: text beyond ASCII, deep nesting, numbers that no float
// holds, null, times between seconds and in other zones.
func strangeCaptures() []posthog.Capture {
	number := func(text string) json.Number { return json.Number(text) }
	nested := any("the end")
	for depth := range 60 {
		if depth%2 == 0 {
			nested = []any{depth, nested, nil}
		} else {
			nested = map[string]any{"deeper": nested, "": depth}
		}
	}
	long := make([]byte, 100_000)
	for i := range long {
		long[i] = "abcdefghijklmnopqrstuvwxyz\\\"\t\n"[i%30]
	}
	noon := time.Date(2001, 1, 31, 12, 0, 0, 123456000, time.UTC)
	kathmandu := time.FixedZone("Asia/Kathmandu", 5*3600+45*60)
	strange := []posthog.Capture{
		{Event: "unicode ✈ 航班", DistinctId: "Zürich → 東京 🛫", Timestamp: noon, Properties: posthog.Properties{
			"combining": "e\u0301 is not \u00e9", "right to left": "\u05e9\u05dc\u05d5\u05dd \u202etxt.exe", "beyond the plane": "𝔐𝔦𝔩𝔩 👩‍👩‍👧‍👦",
			"separators": "\u2028\u2029\u00a0\u200b\ufeff", "controls": "\x00\x01\x1f\x7f\u0080", "ключ": "значение", "": "a key without letters",
		}},
		{Event: "markup", DistinctId: "quote \" backslash \\ tab \t line \n", Timestamp: noon.Add(time.Microsecond), Properties: posthog.Properties{
			"html": "<a href=\"?a=1&b=2\">'x'</a>", "sql": "'; DROP TABLE events; --", "tsv": "a\tb\nc\\N", "slashes": "/\\/\\\\",
		}},
		{Event: "numbers", DistinctId: "18446744073709551615", Timestamp: noon.In(kathmandu), Properties: posthog.Properties{
			"beyond 2^53": int64(9007199254740993), "least int64": int64(-9223372036854775808), "greatest uint64": uint64(18446744073709551615),
			"beyond 64 bits": number("123456789012345678901234567890"), "many digits": number("0.1000000000000000055511151231257827"),
			"beyond float": number("1e400"), "tiny": number("5e-324"), "as written": number("1.50E+02"), "minus zero": number("-0.0"), "third": 1.0 / 3.0,
		}},
		{Event: "nothing", DistinctId: "null", Timestamp: noon.Truncate(time.Second), Properties: posthog.Properties{
			"null": nil, "nulls": []any{nil, nil}, "inside": map[string]any{"null": nil}, "empty list": []any{}, "empty object": map[string]any{}, "empty text": "", "false": false, "zero": 0,
		}},
		{Event: "nesting", DistinctId: "matryoshka", Timestamp: noon.Add(-876543 * time.Microsecond), Properties: posthog.Properties{"outer": nested}},
		{Event: "length", DistinctId: "long", Timestamp: noon.AddDate(25, 0, 0), Properties: posthog.Properties{"text": string(long)}},
	}
	for i := range strange {
		strange[i].Uuid = eventID("strange", i)
	}
	return strange
}
