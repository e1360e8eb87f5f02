package event

import (
	"strings"
	"testing"
)

func BenchmarkParseMessage(b *testing.B) {
	message := Message{TeamID: 7, UUID: someID, ReceivedAt: received, IP: "192.0.2.1", Event: []byte(
		`{"type":"capture","uuid":"0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5f","library":"posthog-go","library_version":"1.5.2","timestamp":"2001-01-01T00:01:00Z","distinct_id":"SFO","event":"flight","properties":{"$lib":"posthog-go","$lib_version":"1.5.2","delay":-3,"destination":"LAX","distance":337},"send_feature_flags":false}`)}
	value := message.AppendJSON(nil)
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseMessage(value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseBody(b *testing.B) {
	body := []byte(`{"api_key":"k","batch":[` + strings.Repeat(`{"event":"flight","distinct_id":"SFO","timestamp":"2001-01-01T00:01:00Z","properties":{"$lib":"posthog-go","delay":-3,"destination":"LAX","distance":337}},`, 249) + `{}]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseBody(body); err != nil {
			b.Fatal(err)
		}
	}
}
