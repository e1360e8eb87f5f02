package export

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const shopEvents = `{"name":"shop-events","team":1,"model":"events","connection":"lake","every":"1h","s3":{"prefix":"events"}}`

func TestABadDefinitionIsToldByFieldValueAndRemedy(t *testing.T) {
	for _, c := range []struct{ name, input, want string }{
		{"unknown field", strings.Replace(shopEvents, `"every"`, `"evry":"1h","every"`, 1),
			`export "shop-events": unknown field "evry": the fields are name, title, team, model, columns, filters, connection, every, offset, time_zone, earlier, chunk_rows, chunk_bytes, give_up_after, pause_after, proof, order, start, end and redo_before in a run's input, and one block named after the destination, such as "s3"`},
		{"no destination", strings.Replace(shopEvents, `,"s3":{"prefix":"events"}`, ``, 1),
			`export "shop-events": the destination's block is missing: add one, for example "s3": {"prefix": "events"}`},
		{"two destinations", strings.Replace(shopEvents, `"s3"`, `"gcs":{},"s3"`, 1),
			`export "shop-events": has the blocks gcs, s3, but an export has one destination`},
		{"a name with a capital", strings.Replace(shopEvents, `shop-events`, `Shop`, 1),
			`name: "Shop" must be 1 to 63 lower-case letters, digits and single dashes, beginning and ending with a letter or digit`},
		{"no team", strings.Replace(shopEvents, `"team":1,`, ``, 1),
			`export "shop-events": team is missing: give a team's number, or "all" for every team`},
		{"team zero", strings.Replace(shopEvents, `"team":1`, `"team":0`, 1),
			`export "shop-events": team: 0 must be a team's number, or "all" for every team`},
		{"unknown model", strings.Replace(shopEvents, `"model":"events"`, `"model":"persons"`, 1),
			`export "shop-events": model: "persons" is a name alone, and the only model of that kind is "events": in millrace.yaml add it under models:; in a workflow's input give the model whole, with its query`},
		{"no connection", strings.Replace(shopEvents, `"connection":"lake",`, ``, 1),
			`export "shop-events": connection is missing: name one of the connections in the worker's configuration`},
		{"no length", strings.Replace(shopEvents, `"every":"1h",`, ``, 1),
			`export "shop-events": every is missing: give the length of an interval, such as "1h"`},
		{"a length that does not divide a day", strings.Replace(shopEvents, `"1h"`, `"7h"`, 1),
			`export "shop-events": every: "7h" must divide a day evenly, or be "1d" or "1w"; try "5m", "15m", "1h" or "1d"`},
		{"a length without unit", strings.Replace(shopEvents, `"1h"`, `3600`, 1),
			`export "shop-events": duration 3600 must be a string like "15m"`},
		{"an offset beyond the length", strings.Replace(shopEvents, `"every"`, `"offset":"2h","every"`, 1),
			`export "shop-events": offset: "2h" must be whole seconds, from "0s" to below every ("1h")`},
		{"a zone for hours", strings.Replace(shopEvents, `"every"`, `"time_zone":"Europe/Berlin","every"`, 1),
			`export "shop-events": time_zone: "Europe/Berlin" has no meaning for every "1h": only "1d" and "1w" follow a zone; leave it out, or use offset`},
		{"an unknown proof", strings.Replace(shopEvents, `"every"`, `"proof":"none","every"`, 1),
			`export "shop-events": proof: "none" is unknown: use "readback", or "stream" to leave out reading back`},
		{"a pause after no time", strings.Replace(shopEvents, `"every"`, `"pause_after":"30s","every"`, 1),
			`export "shop-events": pause_after: "30s" must be at least "1m", or "never"`},
		{"a pause after no duration", strings.Replace(shopEvents, `"every"`, `"pause_after":"off","every"`, 1),
			`export "shop-events": pause_after: "off" must be a time such as "24h", or "never"`},
		{"an unknown order", strings.Replace(shopEvents, `"every"`, `"order":"loose","every"`, 1),
			`export "shop-events": order: "loose" is unknown: use "strict", or leave it out where nobody takes files as they appear`},
		{"an unknown zone", strings.Replace(strings.Replace(shopEvents, `"every"`, `"time_zone":"Mars/Base","every"`, 1), "1h", "1d", 1),
			`export "shop-events": time_zone: "Mars/Base" is not a name of the IANA time zone database, such as "Europe/Berlin"`},
		{"start without end", strings.Replace(shopEvents, `"every"`, `"start":"2026-11-23T10:00:00Z","every"`, 1),
			`start is given without end: give both, or neither for the schedule's interval`},
		{"start after end", strings.Replace(shopEvents, `"every"`, `"start":"2026-11-23T11:00:00Z","end":"2026-11-23T10:00:00Z","every"`, 1),
			`start 2026-11-23T11:00:00Z is not before end 2026-11-23T10:00:00Z: an interval is [start, end), give a later end`},
		{"off the grid", strings.Replace(shopEvents, `"every"`, `"start":"2026-11-23T10:15:00Z","end":"2026-11-23T11:00:00Z","every"`, 1),
			`start 2026-11-23T10:15:00Z is not a boundary of the export's grid (every 1h): the nearest are 2026-11-23T10:00:00Z and 2026-11-23T11:00:00Z`},
		{"a redo without an interval", strings.Replace(shopEvents, `"every"`, `"redo_before":"2026-11-23T11:00:00Z","every"`, 1),
			`redo_before is given without start and end: say which interval is to be exported again, as RFC 3339 times`},
		{"a reason without a redo", strings.Replace(shopEvents, `"every"`, `"redo_reason":"why not","every"`, 1),
			`redo_reason is given without redo_before: give the instant, as an RFC 3339 time; what was published before it is exported again`},
		{"neither interval nor schedule", shopEvents,
			`start and end are missing: a run that no schedule starts must say its interval, as RFC 3339 times`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := readAndResolve(c.input)
			if err == nil || err.Error() != c.want {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if KindOf(err) != KindConfig && !strings.Contains(c.want, "duration") {
				t.Errorf("its kind is %s", KindOf(err))
			}
		})
	}
}

// readAndResolve does what a run does with its input before anything else.
func readAndResolve(text string) error {
	var input Input
	if err := json.Unmarshal([]byte(text), &input); err != nil {
		return err
	}
	definition := input.Definition.WithDefaults()
	if err := definition.Validate(); err != nil {
		return err
	}
	grid, err := definition.Grid()
	if err != nil {
		return err
	}
	asked, err := input.Interval()
	if err != nil {
		return err
	}
	_, err = grid.Resolve(asked, time.Time{})
	return err
}

func TestAnInputComesBackFromJSONAsItWas(t *testing.T) {
	for _, text := range []string{
		shopEvents,
		`{"name":"x","team":"all","connection":"lake","every":"1d","offset":"1h30m","time_zone":"Europe/Berlin","s3":{}}`,
		`{"name":"x","team":7,"connection":"lake","every":"15m","start":"2026-11-23T10:00:00Z","end":"2026-11-23T10:15:00Z","s3":{"prefix":"a/b","n":1}}`,
	} {
		var input Input
		if err := json.Unmarshal([]byte(text), &input); err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(input)
		if err != nil {
			t.Fatal(err)
		}
		if !sameJSON(t, encoded, []byte(text)) {
			t.Errorf("got  %s\nwant %s", encoded, text)
		}
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var left, right map[string]any
	if err := json.Unmarshal(a, &left); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &right); err != nil {
		t.Fatal(err)
	}
	leftText, _ := json.Marshal(left)
	rightText, _ := json.Marshal(right)
	return string(leftText) == string(rightText)
}

func TestTheDefinitionHashCoversWhatChangesRowsOrBytesAndNothingElse(t *testing.T) {
	hash := func(change func(*Definition)) string {
		var definition Definition
		if err := json.Unmarshal([]byte(shopEvents), &definition); err != nil {
			t.Fatal(err)
		}
		change(&definition)
		return definition.WithDefaults().Hash()
	}
	same := hash(func(*Definition) {})
	for name, change := range map[string]func(*Definition){
		"title": func(d *Definition) { d.Title = "Shop" }, "connection": func(d *Definition) { d.Connection = "other" },
		"every": func(d *Definition) { d.Every = Duration(day) }, "give_up_after": func(d *Definition) { d.GiveUpAfter = Duration(time.Hour) },
		"white space": func(d *Definition) { d.Settings = json.RawMessage(`{ "prefix" : "events" }`) },
	} {
		if hash(change) != same {
			t.Errorf("%s changes no row and no byte, but it changes the hash", name)
		}
	}
	for name, change := range map[string]func(*Definition){
		"team": func(d *Definition) { d.Team = Team{ID: 2} }, "all teams": func(d *Definition) { d.Team = Team{All: true} },
		"settings": func(d *Definition) { d.Settings = json.RawMessage(`{"prefix":"x"}`) },
		"model":    func(d *Definition) { d.Model.Name = "persons" }, "destination": func(d *Definition) { d.Destination = "gcs" },
	} {
		if hash(change) == same {
			t.Errorf("%s changes rows or bytes, but not the hash", name)
		}
	}
}

func TestDurationsAreWrittenAsTheyAreRead(t *testing.T) {
	for text, want := range map[string]string{
		"15m": "15m", "60m": "1h", "1h": "1h", "24h": "1d", "1d": "1d", "7d": "1w", "1w": "1w", "90m": "1h30m", "1h0m5s": "1h0m5s", "0s": "0s", "36h": "36h",
	} {
		got, err := ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != want {
			t.Errorf("%s is written %s, wanted %s", text, got, want)
		}
	}
	for _, text := range []string{"", "1", "1y", "d", "99999999d", "-"} {
		if _, err := ParseDuration(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestAReceiptStaysBelow300Bytes(t *testing.T) {
	receipt := Receipt{
		Chunk: 999, Location: "r0001-00999.jsonl.zst", ETag: `"d41d8cd98f00b204e9800998ecf8427e-10000"`,
		Rows: 18446744073709551615, Bytes: 18446744073709551615, Checksum: "crc64nvme:AAAAAAAAAAA=", Attempt: 2147483647,
	}
	encoded, err := json.Marshal(receipt)
	if err != nil {
		t.Fatal(err)
	}
	if len(encoded) >= 300 {
		t.Errorf("%d bytes: %s", len(encoded), encoded)
	}
}
