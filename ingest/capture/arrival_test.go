package capture_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/posthog/posthog-go"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/ingest/broker"
)

// arriveComplete sends events of every awkward kind through posthog-go, whose only change is its endpoint, and holds
// the rows that come out of Kafka against what was given to the client.
func arriveComplete(t *testing.T, url string, addresses []string, topic string) {
	t.Helper()
	outcome := make(chan error, 10)
	client, err := posthog.NewWithConfig("mr_shop", posthog.Config{Endpoint: url, Callback: callback(outcome), Logger: quiet{}, BatchSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 9, 8, 7, 123456789, time.FixedZone("", 2*3600))
	sent := map[uuid.UUID]posthog.Capture{}
	// What the library would say of its own version depends on how the test was built.
	for i, properties := range []posthog.Properties{
		{},
		{"unicode": "日本語 🛫 é \u2028 <script>&", "clé": "ключ"},
		{"nested": map[string]any{"a": []any{1, "b", map[string]any{"c": []any{}}}}, "empty": map[string]any{}, "null": nil, "yes": true},
		{"big": json.Number("123456789012345678901234567890"), "exact": json.Number("0.1000000000000000055511151231257827"), "exp": json.Number("1E400"), "int": int64(1<<63 - 1)},
		{"nul": "a\x00b", "quote": `"\`, "long": strings.Repeat("x", 400_000)},
	} {
		properties["$lib_version"] = "under test"
		capture := posthog.Capture{Uuid: uuid.NewString(), DistinctId: fmt.Sprintf("личность-%d/\"x\"", i), Event: "взлёт 🛫", Timestamp: at.Add(time.Duration(i) * time.Hour), Properties: properties}
		sent[uuid.MustParse(capture.Uuid)] = capture
		if err := client.Enqueue(capture); err != nil {
			t.Fatal(err)
		}
	}
	identify := posthog.Identify{DistinctId: "p", Properties: posthog.Properties{"name": "Zoë", "age": json.Number("1e2")}}
	if err := client.Enqueue(identify); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	for range len(sent) + 1 {
		if err := <-outcome; err != nil {
			t.Errorf("the client says: %v", err)
		}
	}

	rows := readTopic(t, addresses, topic)
	if len(rows) != len(sent)+1 {
		t.Errorf("%d rows, want %d", len(rows), len(sent)+1)
	}
	for _, record := range rows {
		row := record.row
		if row.Event == "$identify" {
			if !strings.Contains(row.Properties, `"$set":{"age":1e2,"name":"Zoë"}`) || row.UUID == uuid.Nil {
				t.Errorf("identify: %+v", row)
			}
			continue
		}
		want, ok := sent[row.UUID]
		if !ok {
			t.Errorf("nobody sent %+v", row)
			continue
		}
		delete(sent, row.UUID)
		properties := posthog.Properties{"$lib": "posthog-go"}
		for name, value := range want.Properties {
			properties[name] = value
		}
		// The library's own encoding of the same properties, which has its members in one order.
		text, err := json.Marshal(properties)
		if err != nil {
			t.Fatal(err)
		}
		row.ReceivedAt = time.Time{}
		wantRow := event.Row{TeamID: 1, UUID: row.UUID, Event: want.Event, DistinctID: want.DistinctId,
			Timestamp: want.Timestamp.UTC().Truncate(time.Microsecond), Properties: string(text)}
		if diff := cmp.Diff(wantRow, row); diff != "" {
			t.Errorf("row (-sent +arrived):\n%s", diff)
		}
		if record.key != "1/"+want.DistinctId {
			t.Errorf("key %q", record.key)
		}
	}
}

func TestClientsEventsArriveComplete(t *testing.T) {
	kafka := startKafka(t)
	server := openCapture(t, configFor(kafka.ListenAddrs()))
	arriveComplete(t, server.URL, kafka.ListenAddrs(), broker.DefaultTopic)
}
