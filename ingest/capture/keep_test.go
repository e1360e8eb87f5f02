package capture_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/millrace/millrace/ingest/broker"
)

// The rule of identity: the client's uuid; else, for a precise timestamp, one that the same request has again; else a
// new one each time.
func TestIdentities(t *testing.T) {
	config := anyKafka(t)
	server := openCapture(t, config)
	send := func(name, fields string) {
		one := fmt.Sprintf(`{"event":%q,"distinct_id":"d"%s}`, name, fields)
		body := `{"api_key":"mr_shop","batch":[` + one + `,` + one + `]}`
		for _, text := range []string{body, zip(body)} { // the second as a client that repeats it
			if got := post(t, server.URL+"/batch/", text); got.code != http.StatusOK || got.Kept != 2 {
				t.Fatalf("%s: %d %s", name, got.code, got.text)
			}
		}
	}
	send("own", `,"uuid":"`+oneID+`"`)
	send("precise", `,"uuid":"","timestamp":"2026-11-23T10:00:00.123456Z"`)
	send("coarse", `,"timestamp":"2026-11-23T10:00:00.123Z"`)
	send("none", `,"uuid":"none"`)
	ids := map[string]map[uuid.UUID]int{}
	for _, record := range readTopic(t, config.Broker.Brokers, config.Broker.Topic) {
		if ids[record.row.Event] == nil {
			ids[record.row.Event] = map[uuid.UUID]int{}
		}
		ids[record.row.Event][record.row.UUID]++
	}
	for name, want := range map[string]int{"own": 1, "precise": 2, "coarse": 4, "none": 4} {
		if len(ids[name]) != want {
			t.Errorf("%s: %d identities of 4 events, want %d: %v", name, len(ids[name]), want, ids[name])
		}
	}
}

// A topic that takes less than an event may have refuses that event alone, before it is sent.
func TestEventAboveTheTopicsLimit(t *testing.T) {
	config := anyKafka(t)
	config.Broker.Topic += "small"
	if _, err := broker.EnsureTopic(t.Context(), config.Broker, broker.Settings{MaxMessageBytes: 10_000}); err != nil {
		t.Fatal(err)
	}
	server := openCapture(t, config)
	large := `{"event":"e","distinct_id":"d","uuid":"` + oneID + `","properties":{"a":"` + strings.Repeat("x", 10_000) + `"}}`
	got := post(t, server.URL+"/batch/", `{"api_key":"mr_shop","batch":[`+large+`,`+ok+`]}`)
	if got.code != http.StatusOK || got.Kept != 1 || len(got.Refused) != 1 {
		t.Fatalf("got %d %s", got.code, got.text)
	}
	refused := got.Refused[0]
	if refused.Index != 0 || refused.UUID != oneID || refused.Reason != "too_large" ||
		!strings.HasPrefix(refused.Message, "the event is 10") || !strings.HasSuffix(refused.Message, "bytes on its way, more than the 5904 that kafka's topic takes; send less in its properties") {
		t.Errorf("refused %+v", refused)
	}
	if got := len(readTopic(t, config.Broker.Brokers, config.Broker.Topic)); got != 1 {
		t.Errorf("%d records, want the neighbour", got)
	}
}

// The largest event of the rules goes through a topic as setup makes it, many at once, also when it cannot be compressed.
func TestLargestEvents(t *testing.T) {
	config := anyKafka(t)
	config.Broker.Topic += "large"
	config.AckTimeout = time.Minute // it is about size, and the machine may be busy
	if _, err := broker.EnsureTopic(t.Context(), config.Broker, broker.Settings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	server := openCapture(t, config)
	frame := len(`{"event":"e","distinct_id":"d","properties":{"a":""}}`)
	var events []string
	for range 10 {
		var noise bytes.Buffer
		for noise.Len() < 1<<20 {
			noise.WriteString(uuid.NewString())
		}
		events = append(events, `{"event":"e","distinct_id":"d","properties":{"a":"`+noise.String()[:1<<20-frame]+`"}}`)
	}
	got := post(t, server.URL+"/batch/", `{"api_key":"mr_shop","batch":[`+strings.Join(events, ",")+`]}`)
	if got.code != http.StatusOK || got.Kept != 10 {
		t.Errorf("got %d %s", got.code, got.text)
	}
	if got := len(readTopic(t, config.Broker.Brokers, config.Broker.Topic)); got != 10 {
		t.Errorf("%d records, want 10", got)
	}
}

// A few kilobytes that unpack to a quarter of a gigabyte cost a bounded amount of memory.
func TestGzipBombIsBounded(t *testing.T) {
	server := openCapture(t, configFor(startKafka(t).ListenAddrs()))
	var bomb bytes.Buffer
	writer, _ := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	if _, err := io.CopyN(writer, blanks{}, 1<<28); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := post(t, server.URL+"/batch/", bomb.String())
	runtime.ReadMemStats(&after)
	if got.code != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d %s", got.code, got.text)
	}
	if spent := (after.TotalAlloc - before.TotalAlloc) >> 20; spent > 100 {
		t.Errorf("it allocated %d MiB", spent)
	}
}

// A client that is refused while it still sends reads the answer all the same.
func TestRefusedWhileSending(t *testing.T) {
	server := openCapture(t, configFor(startKafka(t).ListenAddrs()))
	for _, announced := range []bool{true, false} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/batch/", io.LimitReader(blanks{}, 40<<20))
		if err != nil {
			t.Fatal(err)
		}
		if announced {
			request.ContentLength = 40 << 20
		}
		if got := do(t, request); got.code != http.StatusRequestEntityTooLarge || got.Error != "too_large" {
			t.Errorf("announced %t: %d %s", announced, got.code, got.text)
		}
	}
}

type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	config := configFor(startKafka(t).ListenAddrs())
	config.Registerer = registry
	server := openCapture(t, config)
	post(t, server.URL+"/batch/", `{"api_key":"mr_mill","batch":[`+ok+`,`+oneBad+`,{"event":"e","distinct_id":"d","timestamp":"soon","uuid":"`+oneID+`"}]}`)
	post(t, server.URL+"/batch/", `{`)
	for metric, want := range map[string]string{
		"millrace_capture_events_accepted_total":     `millrace_capture_events_accepted_total{team="2"} 2`,
		"millrace_capture_events_without_uuid_total": `millrace_capture_events_without_uuid_total 1`,
		"millrace_capture_timestamps_replaced_total": `millrace_capture_timestamps_replaced_total 1`,
		"millrace_capture_kafka_connected":           `millrace_capture_kafka_connected 1`,
		"millrace_capture_requests_total":            "millrace_capture_requests_total{code=\"200\",error=\"none\"} 1\nmillrace_capture_requests_total{code=\"400\",error=\"broken_json\"} 1",
		"millrace_capture_acknowledge_seconds":       `millrace_capture_acknowledge_seconds 1`,
		"millrace_capture_request_bytes":             `millrace_capture_request_bytes 2`,
		"millrace_capture_in_flight_bytes":           `millrace_capture_in_flight_bytes 0`,
	} {
		text, err := gathered(registry, metric)
		if err != nil || text != want {
			t.Errorf("%s: got %s, %v; want %s", metric, text, err, want)
		}
	}
	if text, err := gathered(registry, "millrace_capture_events_refused_total"); err != nil || !strings.Contains(text, `{reason="name_missing"} 1`) || !strings.Contains(text, `{reason="too_large"} 0`) {
		t.Errorf("refused: %s, %v", text, err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// gathered is a counter's or gauge's samples in a line each.
func gathered(registry *prometheus.Registry, name string) (string, error) {
	families, err := registry.Gather()
	if err != nil {
		return "", err
	}
	var lines []string
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", label.GetName(), label.GetValue()))
			}
			shown := ""
			if len(labels) > 0 {
				shown = "{" + strings.Join(labels, ",") + "}"
			}
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			lines = append(lines, fmt.Sprintf("%s%s %g", name, shown, value))
		}
	}
	if len(lines) == 0 {
		return "", fmt.Errorf("no metric %s", name)
	}
	return strings.Join(lines, "\n"), nil
}
