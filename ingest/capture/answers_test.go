package capture_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/ingest/capture"
)

func zip(text string) string {
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	_, _ = writer.Write([]byte(text))
	_ = writer.Close()
	return zipped.String()
}

const (
	oneID  = "0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5f"
	oneBad = `{"uuid":"` + oneID + `","distinct_id":"d"}`
	ok     = `{"event":"e","distinct_id":"d"}`
)

// Every way in that is offered takes an event, and it arrives.
func TestWaysIn(t *testing.T) {
	config := anyKafka(t)
	server := openCapture(t, config)
	single := func(name string) string {
		return `{"event":"` + name + `","distinct_id":"d","api_key":"mr_shop","properties":{"way":"` + name + `"}}`
	}
	batch := func(name string) string {
		return `{"api_key":"mr_shop","historical_migration":false,"batch":[{"event":"` + name + `","distinct_id":"d"}]}`
	}
	form := url.Values{"data": {base64.StdEncoding.EncodeToString([]byte(single("form-base64")))}}.Encode()
	ways := map[string]func() reply{
		"batch":         func() reply { return post(t, server.URL+"/batch/", batch("batch")) },
		"batch-bare":    func() reply { return post(t, server.URL+"/batch", batch("batch-bare")) },
		"batch-slashes": func() reply { return post(t, server.URL+"//batch/", batch("batch-slashes")) },
		"batch-single":  func() reply { return post(t, server.URL+"/batch/", single("batch-single")) },
		"e":             func() reply { return post(t, server.URL+"/e/?ip=1&ver=1.2", single("e")) },
		"e-bare":        func() reply { return post(t, server.URL+"/e", single("e-bare")) },
		"capture":       func() reply { return post(t, server.URL+"/capture/", single("capture")) },
		"capture-bare":  func() reply { return post(t, server.URL+"/capture", batch("capture-bare")) },
		"i":             func() reply { return post(t, server.URL+"/i/v0/e/", single("i")) },
		"i-bare":        func() reply { return post(t, server.URL+"/i/v0/e", single("i-bare")) },
		"array":         func() reply { return post(t, server.URL+"/e/", "["+single("array")+"]") },
		"properties": func() reply {
			return post(t, server.URL+"/e/", `{"event":"properties","properties":{"token":"mr_shop","distinct_id":"d"}}`)
		},
		"gzip-header": func() reply {
			return post(t, server.URL+"/batch/", zip(batch("gzip-header")), "Content-Encoding", "gzip")
		},
		"gzip-query": func() reply { return post(t, server.URL+"/e/?compression=gzip", zip(batch("gzip-query"))) },
		"gzip-js": func() reply {
			return post(t, server.URL+"/e/?compression=gzip-js&_=1795456800000", zip(single("gzip-js")), "Content-Type", "text/plain")
		},
		"gzip-unsaid":   func() reply { return post(t, server.URL+"/e/", zip(single("gzip-unsaid"))) },
		"gzip-unpacked": func() reply { return post(t, server.URL+"/e/?compression=gzip", single("gzip-unpacked")) },
		"form-base64": func() reply {
			return post(t, server.URL+"/e/?compression=base64", form, "Content-Type", "application/x-www-form-urlencoded")
		},
		"form-json": func() reply {
			return post(t, server.URL+"/e/", url.Values{"data": {single("form-json")}}.Encode(), "Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
		},
		"form-type-alone": func() reply {
			return post(t, server.URL+"/e/", single("form-type-alone"), "Content-Type", "application/x-www-form-urlencoded")
		},
		"odd-type": func() reply { return post(t, server.URL+"/e/", single("odd-type"), "Content-Type", "image/png") },
	}
	for name, send := range ways {
		if got := send(); got.code != http.StatusOK || got.text != `{"status":1,"kept":1}` {
			t.Errorf("%s: %d %s", name, got.code, got.text)
		}
	}
	found := map[string]int{}
	for _, record := range readTopic(t, config.Broker.Brokers, config.Broker.Topic) {
		if record.row.TeamID == 1 && record.row.DistinctID == "d" && record.key == "1/d" {
			found[record.row.Event]++
		}
	}
	for name := range ways {
		if found[name] != 1 {
			t.Errorf("%s: %d records in kafka, want 1", name, found[name])
		}
	}
}

// Bad input gets an answer that says what to do, word for word.
func TestAnswers(t *testing.T) {
	config := anyKafka(t)
	config.MaxBodyBytes = 1000
	server := openCapture(t, config)
	in := func(events string) string { return `{"api_key":"mr_shop","batch":[` + events + `]}` }
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		code                     int
		text                     string
	}{
		{"no body", "POST", "/batch/", "", nil, 400,
			`{"status":0,"error":"no_body","message":"the request has no body; send an event, an array of events or a batch as JSON","kept":0}`},
		{"blank body", "POST", "/batch/", " \n", nil, 400,
			`{"status":0,"error":"no_body","message":"the body is empty; send an event, an array of events or a batch as JSON","kept":0}`},
		{"broken JSON", "POST", "/batch/", `{"api_key":"mr_shop","batch":[{"event":}]}`, nil, 400,
			`{"status":0,"error":"broken_json","message":"the body is not JSON: invalid character '}' looking for beginning of value, at byte 40","kept":0}`},
		{"JSON cut short", "POST", "/e/", `{"event":"e`, nil, 400,
			`{"status":0,"error":"broken_json","message":"the body is not JSON: unexpected end of JSON input, at byte 11","kept":0}`},
		{"broken gzip header", "POST", "/e/", "this is not gzip", []string{"Content-Encoding", "gzip"}, 400,
			`{"status":0,"error":"broken_gzip","message":"the body is not gzip to its end: gzip: invalid header","kept":0}`},
		{"gzip cut short", "POST", "/e/?compression=gzip", zip(in(ok))[:40], nil, 400,
			`{"status":0,"error":"broken_gzip","message":"the body is not gzip to its end: unexpected EOF","kept":0}`},
		{"empty gzip", "POST", "/e/", zip(""), nil, 400,
			`{"status":0,"error":"no_body","message":"the body is empty; send an event, an array of events or a batch as JSON","kept":0}`},
		{"another encoding", "POST", "/e/", "x", []string{"Content-Encoding", "br"}, 415,
			`{"status":0,"error":"unsupported_encoding","message":"the content encoding is neither gzip nor none; send JSON plain or gzipped","kept":0}`},
		{"another compression", "POST", "/e/?compression=lz64", "x", nil, 415,
			`{"status":0,"error":"unsupported_encoding","message":"the parameter compression is none of gzip, gzip-js and base64; send JSON plain or gzipped","kept":0}`},
		{"form without data", "POST", "/e/", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 400,
			`{"status":0,"error":"broken_body","message":"the form has no field data; send JSON, or a form whose field data holds it","kept":0}`},
		{"form with other data", "POST", "/e/", "data=%25", nil, 400,
			`{"status":0,"error":"broken_body","message":"the form's field data is neither JSON nor base64 of JSON","kept":0}`},
		{"another shape", "POST", "/e/", `"hello"`, nil, 400,
			`{"status":0,"error":"broken_body","message":"the body is neither an event, nor an array of events, nor {\"api_key\": …, \"batch\": […]}","kept":0}`},
		{"no events", "POST", "/batch/", in(""), nil, 400,
			`{"status":0,"error":"broken_body","message":"the body holds no events","kept":0}`},
		{"missing token", "POST", "/e/", ok, nil, 401,
			`{"status":0,"error":"no_token","message":"the request names no project token; put it into api_key beside batch, or into api_key of the event","kept":0}`},
		{"unknown token", "POST", "/batch/", `{"api_key":"mr_nobody","batch":[` + ok + `]}`, nil, 401,
			`{"status":0,"error":"unknown_token","message":"no team has this project token; compare api_key with the tokens under teams in millrace.yaml","kept":0}`},
		{"two tokens", "POST", "/e/", `[{"event":"e","distinct_id":"d","token":"mr_shop"},{"event":"e","distinct_id":"d","token":"mr_mill"}]`, nil, 400,
			`{"status":0,"error":"many_tokens","message":"the events name more than one project token; send one request for each project","kept":0}`},
		{"body too large", "POST", "/batch/", in(ok) + strings.Repeat(" ", 1000), nil, 413,
			`{"status":0,"error":"too_large","message":"the body is more than 1000 bytes, counted after decompression; send the events in several requests","kept":0}`},
		{"gzip bomb", "POST", "/batch/", zip(in(ok) + strings.Repeat(" ", 100_000)), nil, 413,
			`{"status":0,"error":"too_large","message":"the body is more than 1000 bytes, counted after decompression; send the events in several requests","kept":0}`},
		{"nothing kept", "POST", "/batch/", in(oneBad + `,7`), nil, 400,
			`{"status":0,"error":"nothing_kept","message":"none of the events can be kept (2 refused); see refused for the reasons","kept":0,"refused":[` +
				`{"index":0,"uuid":"0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5f","reason":"name_missing","message":"event is missing, empty or not a string; give the event a name"},` +
				`{"index":1,"reason":"not_an_object","message":"the event is not a JSON object; send an object with event, distinct_id and properties"}]}`},
		{"neighbours kept", "POST", "/batch/", in(ok + `,` + oneBad + `,` + ok + `,{"event":"e"}`), nil, 200,
			`{"status":1,"message":"2 of 4 events were kept; the others are refused and need not be sent again as they are","kept":2,"refused":[` +
				`{"index":1,"uuid":"0192f2a0-7c4e-7d2a-9f00-5b1f0c3d4e5f","reason":"name_missing","message":"event is missing, empty or not a string; give the event a name"},` +
				`{"index":3,"reason":"distinct_id_missing","message":"distinct_id is missing, empty or neither a string nor a number; say whose event it is"}]}`},
		{"method", "GET", "/batch/", "", nil, 405,
			`{"status":0,"error":"method_not_allowed","message":"events go by POST","kept":0}`},
		{"preflight", "OPTIONS", "/e/", "", nil, 405,
			`{"status":0,"error":"method_not_allowed","message":"events go by POST","kept":0}`},
		{"path", "POST", "/decide/", "{}", nil, 404,
			`{"status":0,"error":"unknown_path","message":"there is nothing here; events go by POST to /batch/, /e/, /capture/ or /i/v0/e/","kept":0}`},
		{"live", "GET", "/livez", "", nil, 200, `{"status":1,"kept":0}`},
		{"ready", "GET", "/readyz", "", nil, 200, `{"status":1,"kept":0}`},
		{"live by post", "POST", "/livez", "", nil, 405, `{"status":0,"error":"method_not_allowed","message":"use GET","kept":0}`},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(c.headers); i += 2 {
			request.Header.Set(c.headers[i], c.headers[i+1])
		}
		got := do(t, request)
		if got.code != c.code || got.text != c.text {
			t.Errorf("%s:\n got  %d %s\n want %d %s", c.name, got.code, got.text, c.code, c.text)
		}
	}
	if got := len(readTopic(t, config.Broker.Brokers, config.Broker.Topic)); got != 2 {
		t.Errorf("%d records in kafka, want the 2 that were kept", got)
	}
}

func TestTooManyEvents(t *testing.T) {
	server := openCapture(t, configFor(startKafka(t).ListenAddrs()))
	got := post(t, server.URL+"/e/", "["+strings.Repeat("1,", 10_000)+"1]")
	want := `{"status":0,"error":"too_large","message":"the body holds more than 10000 events; send them in several requests","kept":0}`
	if got.code != http.StatusRequestEntityTooLarge || got.text != want {
		t.Errorf("got %d %s", got.code, got.text)
	}
}

func TestConfigurationErrors(t *testing.T) {
	for want, spoil := range map[string]func(*capture.Config){
		"teams: none given, so no client could send; add a team with id, name and token":                                 func(c *capture.Config) { c.Teams = nil },
		"teams[0].id: 0 must be above zero":                                                                              func(c *capture.Config) { c.Teams[0].ID = 0 },
		"teams[1].token: team 2 has none; give it the token that its clients send as api_key":                            func(c *capture.Config) { c.Teams[1].Token = "" },
		"teams[1].token: teams 1 and 2 have the same; give each its own":                                                 func(c *capture.Config) { c.Teams[1].Token = c.Teams[0].Token },
		"max in-flight bytes: 10 must be at least five times max body bytes, 20971520, so that the largest request fits": func(c *capture.Config) { c.MaxInFlightBytes = 10 },
		"timeouts: ack -1ns and drain 20s must be above zero":                                                            func(c *capture.Config) { c.AckTimeout = -1 },
		"kafka brokers: none given; set MILLRACE_KAFKA_BROKERS to host:port, several separated by commas":                func(c *capture.Config) { c.Broker.Brokers = nil },
	} {
		config := configFor([]string{"127.0.0.1:1"})
		spoil(&config)
		if c, err := capture.Open(config); err == nil || err.Error() != want {
			t.Errorf("got %v, %v; want %s", c, err, want)
		}
	}
}
