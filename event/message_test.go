package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

var (
	received = time.Date(2026, 11, 23, 18, 0, 0, 123456000, time.UTC)
	someID   = uuid.MustParse("0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5f")
)

// row is the row of one event's JSON, received at the time above and with no word about when it was sent.
func row(t *testing.T, eventJSON string) Row {
	t.Helper()
	message := Message{TeamID: 7, UUID: someID, ReceivedAt: received, IP: "192.0.2.1", Event: []byte(eventJSON)}
	got, err := ParseMessage(message.AppendJSON(nil))
	if err != nil {
		t.Fatalf("ParseMessage of %s: %v", eventJSON, err)
	}
	return got
}

func TestMessageBecomesRow(t *testing.T) {
	got := row(t, `{"event":"flight","distinct_id":"SFO","timestamp":"2026-11-23T10:00:00.000001999Z","properties":{"delay":-3}}`)
	want := Row{
		TeamID: 7, UUID: someID, Event: "flight", DistinctID: "SFO",
		Timestamp:  time.Date(2026, 11, 23, 10, 0, 0, 1000, time.UTC), // cut to microseconds, not rounded
		Properties: `{"delay":-3}`, ReceivedAt: received,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

func TestEncodedMessage(t *testing.T) {
	message := Message{TeamID: 7, UUID: someID, ReceivedAt: received, SentAt: received.Add(time.Second), IP: "2001:db8::1", Event: []byte("{ \"a\" : 1.0 }")}
	want := `{"team_id":7,"uuid":"0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5f","received_at":"2026-11-23T18:00:00.123456Z","sent_at":"2026-11-23T18:00:01.123456Z","ip":"2001:db8::1","event":{ "a" : 1.0 }}`
	if got := string(message.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What a client put into properties reaches the row as it was written, digit for digit.
func TestPropertiesKeepEveryByte(t *testing.T) {
	for _, properties := range []string{
		`{}`,
		`{ "spaced" : [ 1 , 2 ] }`,
		`{"big":123456789012345678901234567890,"exact":0.1000000000000000055511151231257827,"exp":1E400,"zero":-0.0}`,
		`{"null":null,"true":true,"nested":{"a":[{"b":{"c":[]}}]}}`,
		`{"unicode":"日本語 🛫 \u00e9\ud83d\ude00","html":"<script>&</script>"}`,
		`{"twice":1,"twice":2}`,
		`{"lone":"\ud800","nul":"a\u0000b"}`,
		`{"brace":"}]\"\\","\"{":"["}`,
		"{\"line\":1,\n\t\"sep\":\"\u2028\"}",
	} {
		if got := row(t, `{"event":"e","properties":`+properties+`,"distinct_id":"d"}`).Properties; got != properties {
			t.Errorf("got  %s\nwant %s", got, properties)
		}
	}
}

func TestFieldsOfAnEvent(t *testing.T) {
	for _, c := range []struct{ name, json, event, distinctID, properties string }{
		{"number as distinct id", `{"event":"e","distinct_id":12345678901234567890}`, "e", "12345678901234567890", `{}`},
		{"fraction as distinct id", `{"event":"e","distinct_id":1.50}`, "e", "1.50", `{}`},
		{"distinct id among the properties", `{"event":"e","properties":{"distinct_id":"p"}}`, "e", "p", `{"distinct_id":"p"}`},
		{"the event's own distinct id first", `{"properties":{"distinct_id":"p"},"distinct_id":"d","event":"e"}`, "e", "d", `{"distinct_id":"p"}`},
		{"distinct id null falls through", `{"event":"e","distinct_id":null,"$distinct_id":"x"}`, "e", "x", `{}`},
		{"last of a repeated member", `{"event":"a","event":"b","distinct_id":"d"}`, "b", "d", `{}`},
		{"member names differ by case", `{"EVENT":"a","event":"b","distinct_id":"d"}`, "b", "d", `{}`},
		{"escaped member name", `{"\u0065vent":"e","distinct_id":"d"}`, "e", "d", `{}`},
		{"nul and lone surrogate in name and id", `{"event":"a\u0000b","distinct_id":"x\ud800y"}`, "a\uFFFDb", "x\uFFFDy", `{}`},
		{"properties null", `{"event":"e","distinct_id":"d","properties":null}`, "e", "d", `{}`},
		{"person properties beside none", `{"event":"$identify","distinct_id":"d","$set":{"n":1e2}}`, "$identify", "d", `{"$set":{"n":1e2}}`},
		{"person properties beside some", `{"event":"$identify","distinct_id":"d","$set":{"n":1},"properties":{"a":1 },"$set_once":{"m":2}}`, "$identify", "d", `{"a":1 ,"$set":{"n":1},"$set_once":{"m":2}}`},
		{"person properties in properties win", `{"event":"e","distinct_id":"d","$set":{"n":1},"properties":{"$set":{"n":2}}}`, "e", "d", `{"$set":{"n":2}}`},
		{"person properties beside blank ones", `{"event":"e","distinct_id":"d","$set":{"n":1},"properties":{ }}`, "e", "d", `{ "$set":{"n":1}}`},
	} {
		got := row(t, c.json)
		want := Row{TeamID: 7, UUID: someID, Event: c.event, DistinctID: c.distinctID, Properties: c.properties, Timestamp: received, ReceivedAt: received}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestUnreadableMessages(t *testing.T) {
	envelope := func(team, id, at, event string) string {
		return fmt.Sprintf(`{"team_id":%s,"uuid":%s,"received_at":%s,"event":%s}`, team, id, at, event)
	}
	const id, at, event = `"0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5f"`, `"2026-11-23T18:00:00Z"`, `{"event":"e","distinct_id":"d"}`
	if _, err := ParseMessage([]byte(envelope("1", id, at, event))); err != nil {
		t.Fatalf("the good message: %v", err)
	}
	for value, want := range map[string]string{
		``:                               "read the message: unexpected end of JSON input",
		`{`:                              "read the message: unexpected end of JSON input",
		`[]`:                             "read the message: it is not a JSON object",
		"{\"event\":\"\xff\"}":           "read the message: it holds bytes that are not UTF-8",
		`{"uuid":` + id + `}`:            "read the message: team_id is missing",
		envelope(`"1"`, id, at, event):   `read the message: team_id: strconv.ParseInt: parsing "\"1\"": invalid syntax`,
		envelope(`1`, `"x"`, at, event):  "read the message: uuid is missing or no UUID",
		envelope(`1`, id, `null`, event): `read the message: received_at: "null" is not a time`,
		envelope(`1`, id, `"noon"`, `1`): `read the message: received_at: "noon" is not a time of RFC 3339`,
		envelope(`1`, id, at, `7`):       "read the event of the message: the event is not a JSON object; send an object with event, distinct_id and properties",
		envelope(`1`, id, at, `{}`):      "read the event of the message: event is missing, empty or not a string; give the event a name",
	} {
		if _, err := ParseMessage([]byte(value)); err == nil || err.Error() != want {
			t.Errorf("%s\n got  %v\n want %s", value, err, want)
		}
	}
}

// jsonValue draws any JSON text, also such as no encoder would write.
func jsonValue(depth int) *rapid.Generator[string] {
	leaves := []*rapid.Generator[string]{
		rapid.SampledFrom([]string{"null", "true", "false", "0", "-0", "1e999", "0.30000000000000004", `"\ud83d"`, `"\u0000"`, `""`, "{}", "[ ]"}),
		rapid.StringMatching(`-?[1-9][0-9]{0,40}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,4})?`),
		rapid.Map(rapid.String(), func(text string) string { quoted, _ := json.Marshal(text); return string(quoted) }),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	inner := rapid.Deferred(func() *rapid.Generator[string] { return jsonValue(depth - 1) })
	space := rapid.SampledFrom([]string{"", "", " ", "\n\t"})
	list := rapid.Custom(func(t *rapid.T) string {
		return "[" + space.Draw(t, "space") + strings.Join(rapid.SliceOfN(inner, 0, 4).Draw(t, "elements"), space.Draw(t, "space")+",") + "]"
	})
	return rapid.OneOf(append(leaves, list, jsonObject(depth-1))...)
}

func jsonObject(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var parts []string
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			name, _ := json.Marshal(rapid.StringMatching(`[a-z"\\é]{0,6}`).Draw(t, "name"))
			parts = append(parts, string(name)+rapid.SampledFrom([]string{":", " : "}).Draw(t, "colon")+jsonValue(depth).Draw(t, "value"))
		}
		return "{" + strings.Join(parts, rapid.SampledFrom([]string{",", " ,\n"}).Draw(t, "comma")) + "}"
	})
}

// Whatever properties a client sends, wherever they stand in the event, the row holds the same bytes.
func TestPropertiesKeepEveryByteWhateverTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		properties := jsonObject(3).Draw(t, "properties")
		name, _ := json.Marshal("n" + rapid.String().Draw(t, "name"))
		parts := rapid.Permutation([]string{
			`"event":` + string(name), `"distinct_id":"d"`, `"properties":` + properties,
			`"other":` + jsonValue(2).Draw(t, "other"),
		}).Draw(t, "order")
		text := []byte("{" + strings.Join(parts, ",") + "}")
		message := Message{TeamID: rapid.Int64().Draw(t, "team"), UUID: someID, ReceivedAt: received, IP: rapid.String().Draw(t, "ip"), Event: text}
		value := message.AppendJSON(nil)
		if !bytes.Contains(value, text) {
			t.Fatalf("the message does not hold the event as sent: %s", value)
		}
		got, err := ParseMessage(value)
		if err != nil {
			t.Fatalf("ParseMessage of %s: %v", value, err)
		}
		if got.Properties != properties || got.TeamID != message.TeamID {
			t.Fatalf("got %s of team %d, want %s of team %d", got.Properties, got.TeamID, properties, message.TeamID)
		}
	})
}

// agree holds the ways to read a message against each other.
func agree(t interface{ Fatalf(string, ...any) }, value []byte) {
	if message, parsed, ok := readAtOnce(value); ok {
		wantMessage, want, err := readStepByStep(value)
		want.Token, want.UUID = "", uuid.Nil
		if err != nil || !reflect.DeepEqual(message, wantMessage) || !reflect.DeepEqual(parsed, want) {
			t.Fatalf("%q: at once %+v with %+v; step by step %+v with %+v, %v", value, message, parsed, wantMessage, want, err)
		}
	}
	row, timestamp, err := ParseOriginal(value)
	identity, identityErr := ParseIdentity(value)
	if fmt.Sprint(err) != fmt.Sprint(identityErr) {
		t.Fatalf("%q: as a row %v, as an identity %v", value, err, identityErr)
	}
	want := Identity{TeamID: row.TeamID, UUID: row.UUID, Event: row.Event, DistinctID: row.DistinctID, Timestamp: timestamp}
	if diff := cmp.Diff(want, identity); diff != "" {
		t.Fatalf("%q (-row +identity):\n%s", value, diff)
	}
}

// Who rebuilds a window of duplicates must find the same events in the same messages as who loaded them.
func TestTheIdentityIsThatOfTheRow(t *testing.T) {
	if _, _, ok := readAtOnce(pageView); !ok {
		t.Error("what capture writes is not read at once")
	}
	members := []string{
		`"team_id":7`, `"team_id":"7"`, `"uuid":"0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5f"`, `"uuid":1`, `"received_at":"2026-11-23T18:00:00Z"`, `"received_at":null`,
		`"sent_at":null`, `"sent_at":"noon"`, `"event":{"event":"e","distinct_id":"d","timestamp":"2026-11-23"}`, `"event":{"event":"\u0000","$distinct_id":12,"timestamp":null}`,
		`"event":{"event":"e","properties":{"distinct_id":"p","$ignore_sent_at":true,"$set":1},"timestamp" : 1.7e9 }`, `"event":{"event":"e","properties":{"distinct_id":"p"},"properties":null,"$set":{}}`,
		`"event":{"event":"e","properties":{"distinct_id":"p","token":"t"},"properties":{ },"distinct_id":1,"$set_once":{},"token":"k","uuid":"x"}`, `"\u0065vent":{"\u0065vent":"e","distinct_id":"d","propertie\u0073":{"\u0024set":1},"$set":2}`, `"other":{"a":[1]}`, `"event":{"event":"e","distinct_id":"d","properties":[]}`, `"event":{}`, `"event":null`, `"event":[]`, `"event":{"event":"` + "\xff" + `"}`,
	}
	rapid.Check(t, func(t *rapid.T) {
		chosen := append(rapid.SliceOfN(rapid.SampledFrom(members), 0, 4).Draw(t, "some"), members[0], members[2], members[4])
		chosen = append(chosen, rapid.SampledFrom(members).Draw(t, "last"))
		value := []byte("{" + strings.Join(rapid.Permutation(chosen).Draw(t, "order"), ",") + "}")
		if rapid.IntRange(0, 9).Draw(t, "break") == 0 {
			value = value[:rapid.IntRange(0, len(value)).Draw(t, "length")]
		}
		agree(t, value)
	})
}

func FuzzParseIdentity(f *testing.F) {
	f.Add(pageView)
	f.Add([]byte(`{"team_id":1,"uuid":"0192f2a07c4e7d2a9f005b1f0c3d4e5f","received_at":"2026-11-23T18:00:00Z","event":{"event":"e","distinct_id":1,"timestamp":2}}`))
	f.Add([]byte(`{"team_id":1}`))
	f.Fuzz(func(t *testing.T, value []byte) { agree(t, value) })
}

// FuzzParseBody holds bodies of any bytes against what must be true of every event that is kept: its message is valid,
// is read back into a row, carries the event's bytes, and is not larger than was promised.
func FuzzParseBody(f *testing.F) {
	for _, seed := range []string{
		`{"api_key":"k","batch":[{"event":"e","distinct_id":1,"properties":{"a":[1,{"b":null}]}},7],"sent_at":"2026-11-23T18:00:00Z"}`,
		`[{"event":"a","properties":{"token":"k","distinct_id":"d"}}]`, `{"event":"e","distinct_id":"d","timestamp":1.7e9}`,
		"\uFEFF {\"event\":\"\\ud800\",\"$distinct_id\":\"\\u0000\"}", `{"batch":{}}`, `[`, ``, "\"\xff\"", `{"event":"e","distinct_id":"d","offset":"-12.5"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		body, err := ParseBody(text)
		if err != nil {
			return
		}
		for _, sent := range body.Events {
			if sent.Refusal != nil {
				continue
			}
			message := Message{TeamID: 1, UUID: someID, ReceivedAt: received, SentAt: body.SentAt, Event: sent.JSON}
			value := message.AppendJSON(nil)
			got, err := ParseMessage(value)
			if err != nil {
				t.Fatalf("a kept event cannot be read back: %v\n%q", err, value)
			}
			if !bytes.Contains(text, sent.JSON) || !json.Valid([]byte(got.Properties)) || got.Event != sent.Event.Name || got.DistinctID != sent.Event.DistinctID || got.Event == "" || got.DistinctID == "" {
				t.Fatalf("row %+v of %q", got, sent.JSON)
			}
			if len(value) > MaxMessageBytes || got.Timestamp.Before(earliest) || got.Timestamp.After(received.Add(maxAhead)) {
				t.Fatalf("%d bytes, timestamp %s", len(value), got.Timestamp)
			}
		}
	})
}
