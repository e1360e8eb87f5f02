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

// pageView is a message of a kilobyte, as a browser's library sends it.
var pageView = Message{TeamID: 7, UUID: someID, ReceivedAt: received, SentAt: received, IP: "192.0.2.1", Event: []byte(`{"uuid":"0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5f","event":"$pageview","distinct_id":"user-0123456","timestamp":"2026-11-23T17:59:59.250Z","properties":{"$current_url":"https://shop.example/products/17?ref=12&utm_source=newsletter","$host":"shop.example","$pathname":"/products/17","$browser":"Firefox","$browser_version":140,"$os":"Linux","$device_type":"Desktop","$raw_user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0","$screen_height":1080,"$screen_width":1920,"$viewport_height":900,"$viewport_width":1700,"$referrer":"https://search.example/?q=something","$referring_domain":"search.example","$lib":"web","$lib_version":"1.2.3","$insert_id":"5f1d7a84e3bc0192","$session_id":"0192f2a07c4e7d2a-9f005b1f0c3d4e5f","$window_id":"0192f2a07c4e7d2a-9f005b1f0c3d4e60","$time":1795456799.25,"price":12.50,"quantity":3,"plan":"team","token":"mr_shop_0123456789"}}`)}.AppendJSON(nil)

func BenchmarkParsePageView(b *testing.B) {
	b.SetBytes(int64(len(pageView)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseMessage(pageView); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseIdentity(b *testing.B) {
	b.SetBytes(int64(len(pageView)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseIdentity(pageView); err != nil {
			b.Fatal(err)
		}
	}
}
