//go:build world

package assumptions

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/testworld"
)

// plainClient leaves the bytes alone.
var plainClient = &http.Client{Transport: &http.Transport{DisableCompression: true}}

// An exception after the first byte of a 200 leaves the answer without its last chunk, in every format and compression,
// so that net/http ends it with io.ErrUnexpectedEOF. Uncompressed, its last words are the exception with its code, between
// marks that carry the random word of the header X-ClickHouse-Exception-Tag.
func TestExceptionInMidStreamBreaksTheAnswer(t *testing.T) {
	d := newDatabase(t)
	for _, test := range []struct{ format, encoding, compression string }{
		{"JSONEachRow", "", ""}, {"JSONEachRow", "gzip", ""}, {"JSONEachRow", "zstd", ""},
		{"Parquet", "", "none"}, {"Parquet", "", "snappy"}, {"Parquet", "", "lz4"}, {"Parquet", "", "zstd"}, {"Parquet", "", "gzip"},
		{"CSVWithNames", "", ""}, {"CSVWithNames", "gzip", ""}, {"CSVWithNames", "zstd", ""},
		{"Arrow", "", "none"}, {"Arrow", "", "lz4_frame"}, {"Arrow", "", "zstd"},
	} {
		t.Run(strings.TrimSpace(test.format+" "+test.encoding+test.compression), func(t *testing.T) {
			settings := map[string]string{"http_write_exception_in_output_format": "0", "enable_http_compression": "0", "output_format_parquet_row_group_size": "100000"}
			if test.encoding != "" {
				settings["enable_http_compression"] = "1"
			}
			if test.compression != "" {
				settings["output_format_"+strings.ToLower(test.format)+"_compression_method"] = test.compression
			}
			response := answerBegun(t, d, test.format, test.encoding, settings)
			defer func() { _ = response.Body.Close() }()
			if got := response.Header.Get("Content-Encoding"); got != test.encoding {
				t.Fatalf("answer with Content-Encoding %q", got)
			}
			tag := response.Header.Get("X-ClickHouse-Exception-Tag")
			if tag == "" {
				t.Fatal("no X-ClickHouse-Exception-Tag")
			}
			body, err := io.ReadAll(response.Body)
			if !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 0 {
				t.Fatalf("%d bytes and then %v, want io.ErrUnexpectedEOF", len(body), err)
			}
			opening := "__exception__\r\n" + tag + "\r\nCode: 395. "
			if found := strings.Contains(string(body), opening); found != (test.encoding == "") {
				t.Errorf("exception in plain sight: %t", found)
			}
			if test.encoding == "" && !strings.HasSuffix(string(body), " "+tag+"\r\n__exception__\r\n") {
				t.Errorf("the answer ends in %q", body[len(body)-80:])
			}
		})
	}
}

// answerBegun asks for rows of which one throws, and returns an answer that began before that. The server sleeps for each
// block of 65,000 rows, so that the first are sent when the exception comes; on a busy machine it has to sleep longer.
func answerBegun(t *testing.T, d clickhouseDatabase, format, encoding string, settings map[string]string) *http.Response {
	t.Helper()
	for _, pause := range []string{"0.1", "0.5", "2"} {
		request := d.request(t, d.name, "SELECT number, generateUUIDv4(), throwIf(number = 590000), sleep("+pause+") FROM numbers(600000) FORMAT "+format, settings)
		request.Header.Set("Accept-Encoding", encoding)
		response, err := plainClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode == http.StatusOK {
			return response
		}
		t.Logf("answer %s: the exception came before the first byte, with %s s a block", response.Status, pause)
		_ = response.Body.Close()
	}
	t.Fatal("no answer began before its exception")
	return nil
}

// An exception before the first byte is an answer that is not 200, with the code in a header.
func TestExceptionBeforeTheFirstByteIsAStatus(t *testing.T) {
	d := newDatabase(t)
	response, err := plainClient.Do(d.request(t, d.name, "SELECT * FROM nowhere", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if code := response.Header.Get("X-ClickHouse-Exception-Code"); response.StatusCode == http.StatusOK || code != "60" {
		t.Errorf("answer %s with code %q, want code 60", response.Status, code)
	}
}

// A readonly query that asks for it is ended by the server itself when its reader hangs up.
func TestServerEndsAQueryWhoseReaderHungUp(t *testing.T) {
	d := newDatabase(t)
	settings := map[string]string{"readonly": "2", "cancel_http_readonly_queries_on_client_close": "1", "query_id": d.name}
	response, err := plainClient.Do(d.request(t, d.name, "SELECT number, generateUUIDv4() FROM numbers(1000000000) FORMAT JSONEachRow", settings))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(response.Body, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	const listed = "SELECT count() FROM system.processes WHERE query_id = currentDatabase()"
	if d.count(t, listed) != 1 {
		t.Fatal("the query does not run, so this test shows nothing")
	}
	_ = response.Body.Close()
	testworld.Eventually(t, 30*time.Second, func() error {
		if d.count(t, listed) != 0 {
			return errors.New("the query still runs")
		}
		return nil
	})
}

// Unasked, Go's client asks for gzip and hides it, and the server then gzips even Parquet: hence DisableCompression.
func TestGoAsksForGzipUnlessToldNotTo(t *testing.T) {
	d := newDatabase(t)
	const query = "SELECT number FROM numbers(100000) FORMAT Parquet"
	for _, test := range []struct {
		client *http.Client
		hidden bool
	}{{&http.Client{Transport: &http.Transport{}}, true}, {plainClient, false}} {
		response, err := test.client.Do(d.request(t, d.name, query, nil))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if err != nil || response.Uncompressed != test.hidden {
			t.Errorf("the client undid a gzip: %t (%v), want %t", response.Uncompressed, err, test.hidden)
		}
	}
}

// The key of the events table is used by comparisons that are written out column by column, and not by one of tuples.
func TestTupleComparisonReadsTheWholeTable(t *testing.T) {
	d := newDatabase(t)
	d.do(t, "CREATE TABLE t (a UInt32, b UInt32) ENGINE = MergeTree ORDER BY (a, b)")
	d.do(t, "INSERT INTO t SELECT intDiv(number, 100000), number % 100000 FROM numbers(400000)")
	d.do(t, "OPTIMIZE TABLE t FINAL")
	read := func(condition string) uint64 {
		t.Helper()
		var marks uint64
		if err := d.QueryRow(t.Context(), "SELECT sum(rows) FROM (EXPLAIN ESTIMATE SELECT * FROM t WHERE "+condition+")").Scan(&marks); err != nil {
			t.Fatalf("%s: %v", condition, err)
		}
		return marks
	}
	const rows, granule = 20_000, 8192
	written := read("(a > 1 OR (a = 1 AND b >= 90000)) AND (a < 2 OR (a = 2 AND b < 10000))")
	if written < rows || written > rows+2*granule {
		t.Errorf("written out: %d rows to read for %d", written, rows)
	}
	if tuple := read("(a, b) >= (1, 90000) AND (a, b) < (2, 10000)"); tuple != 400_000 {
		t.Errorf("by tuples: %d rows to read; if that is few now, the builders of conditions can be simpler", tuple)
	}
}
