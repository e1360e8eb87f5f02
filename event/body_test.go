package event

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestShapesOfABody(t *testing.T) {
	const one = `{"event":"e","distinct_id":"d"}`
	for _, c := range []struct {
		name, body, token string
		sentAt            time.Time
		events            int
		err               error
	}{
		{"batch", `{"api_key":"k","batch":[` + one + `,` + one + `],"sent_at":"2026-11-23T18:00:00Z","historical_migration":true}`, "k", time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC), 2, nil},
		{"batch first, token after", `{"batch":[` + one + `],"token":"k"}`, "k", time.Time{}, 1, nil},
		{"batch whose events name the token", `{"batch":[{"event":"e","distinct_id":"d","token":"k"}]}`, "k", time.Time{}, 1, nil},
		{"the body's token before the events'", `{"api_key":"k","batch":[{"event":"e","distinct_id":"d","token":"x"}]}`, "k", time.Time{}, 1, nil},
		{"array", ` [` + one + ` , {"event":"e","properties":{"token":"k","distinct_id":"d"}} ] `, "k", time.Time{}, 2, nil},
		{"single", `{"event":"e","distinct_id":"d","$token":"k"}`, "k", time.Time{}, 1, nil},
		{"single with byte order mark", "\uFEFF" + `{"event":"e","distinct_id":"d","api_key":"k","sent_at":1795456800000}`, "k", time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC), 1, nil},
		{"no token", one, "", time.Time{}, 1, nil},
		{"two projects", `[{"event":"e","distinct_id":"d","token":"a"},{"event":"e","distinct_id":"d","token":"b"}]`, "a", time.Time{}, 2, ErrManyTokens},
		{"empty batch", `{"api_key":"k","batch":[]}`, "k", time.Time{}, 0, ErrNoEvents},
		{"empty array", `[]`, "", time.Time{}, 0, ErrNoEvents},
		{"as many as may be", "[" + strings.Repeat("1,", MaxEventsInBody-1) + "1]", "", time.Time{}, MaxEventsInBody, nil},
		{"too many", "[" + strings.Repeat("1,", MaxEventsInBody) + "1]", "", time.Time{}, MaxEventsInBody, ErrTooManyEvents},
		{"batch that is no array", `{"api_key":"k","batch":{}}`, "k", time.Time{}, 0, ErrShape},
		{"a text", `"e"`, "", time.Time{}, 0, ErrShape},
	} {
		got, err := ParseBody([]byte(c.body))
		if !errors.Is(err, c.err) || got.Token != c.token || !got.SentAt.Equal(c.sentAt) || len(got.Events) != c.events {
			t.Errorf("%s: token %q, sent at %s, %d events, error %v", c.name, got.Token, got.SentAt, len(got.Events), err)
		}
	}
}

func TestRefusals(t *testing.T) {
	long := func(bytes int) string { return strings.Repeat("x", bytes) }
	event := func(name, id, properties string) string {
		return fmt.Sprintf(`{"event":%s,"distinct_id":%s,"properties":%s,"uuid":"0192F2A0-7C4E-7D2A-9F00-5B1F0C3D4E5F"}`, name, id, properties)
	}
	frame := len(event(`"e"`, `"d"`, `{"a":""}`))
	for _, c := range []struct {
		name, json string
		reason     Reason
		sentence   string
	}{
		{"good", event(`"e"`, `"d"`, `{}`), "", ""},
		{"largest", event(`"e"`, `"d"`, `{"a":"`+long(MaxBytes-frame)+`"}`), "", ""},
		{"longest name and id", event(`"`+long(800)+`"`, `"`+long(800)+`"`, `{}`), "", ""},
		{"no object", `[1]`, ReasonNotObject, "the event is not a JSON object; send an object with event, distinct_id and properties"},
		{"no name", `{"distinct_id":"d"}`, ReasonNoName, "event is missing, empty or not a string; give the event a name"},
		{"name empty", event(`""`, `"d"`, `{}`), ReasonNoName, "event is missing, empty or not a string; give the event a name"},
		{"name a number", event(`1`, `"d"`, `{}`), ReasonNoName, "event is missing, empty or not a string; give the event a name"},
		{"name null", event(`null`, `"d"`, `{}`), ReasonNoName, "event is missing, empty or not a string; give the event a name"},
		{"name too long", event(`"`+long(801)+`"`, `"d"`, `{}`), ReasonNameTooLong, "event is 801 bytes, more than 800; shorten the name and put the rest into properties"},
		{"no distinct id", `{"event":"e"}`, ReasonNoDistinctID, "distinct_id is missing, empty or neither a string nor a number; say whose event it is"},
		{"distinct id a list", event(`"e"`, `["d"]`, `{}`), ReasonNoDistinctID, "distinct_id is missing, empty or neither a string nor a number; say whose event it is"},
		{"distinct id empty", event(`"e"`, `""`, `{}`), ReasonNoDistinctID, "distinct_id is missing, empty or neither a string nor a number; say whose event it is"},
		{"distinct id too long", event(`"e"`, `"`+long(801)+`"`, `{}`), ReasonDistinctIDTooLong, "distinct_id is 801 bytes, more than 800; use a shorter id"},
		{"properties a list", event(`"e"`, `"d"`, `[]`), ReasonBadProperties, "properties is not a JSON object; send an object, or leave it out"},
		{"too large", event(`"e"`, `"d"`, `{"a":"`+long(MaxBytes-frame+1)+`"}`), ReasonTooLarge, "the event is 1048577 bytes, more than 1048576; send less in its properties"},
		{"not UTF-8", event(`"e"`, `"d"`, "{\"a\":\"\xc3\x28\"}"), ReasonNotUTF8, "the event holds bytes that are not UTF-8; encode the request as UTF-8"},
	} {
		body, err := ParseBody([]byte(`[` + c.json + `,{"event":"neighbour","distinct_id":"d"}]`))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if body.Events[1].Refusal != nil {
			t.Errorf("%s: the neighbour is refused: %v", c.name, body.Events[1].Refusal)
		}
		var reason Reason
		var sentence string
		if refusal := body.Events[0].Refusal; refusal != nil {
			reason, sentence = refusal.Reason, refusal.Sentence
		}
		if reason != c.reason || sentence != c.sentence {
			t.Errorf("%s: got %q, %q; want %q, %q", c.name, reason, sentence, c.reason, c.sentence)
		}
		if strings.Contains(c.json, "uuid") && body.Events[0].Event.UUID != someID {
			t.Errorf("%s: its uuid is not told", c.name)
		}
	}
}

func TestUUIDOfTheClient(t *testing.T) {
	for text, want := range map[string]bool{
		`"0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5f"`: true, `"0192F2A07C4E7D2A9F005B1F0C3D4E5F"`: true,
		`""`: false, `null`: false, `7`: false, `"x"`: false, `"{0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5f}"`: false,
		`"0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5g"`: false, `"00000000-0000-0000-0000-000000000000"`: false,
	} {
		parsed, err := Parse([]byte(`{"event":"e","distinct_id":"d","uuid":` + text + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.UUID == someID; got != want {
			t.Errorf("uuid %s: got %s", text, parsed.UUID)
		}
	}
}
