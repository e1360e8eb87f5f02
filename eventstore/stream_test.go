package eventstore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/export"
)

var (
	parquet = export.Encoding{Format: export.FormatParquet, Compression: export.CompressionZstd}
	lines   = export.Encoding{Format: export.FormatJSONEachRow, Compression: export.CompressionNone}
	csv     = export.Encoding{Format: export.FormatCSV, Compression: export.CompressionNone}
	arrow   = export.Encoding{Format: export.FormatArrow, Compression: export.CompressionZstd}
	gzipped = export.Encoding{Format: export.FormatJSONEachRow, Compression: export.CompressionGzip}
)

// storeAt is a Store whose HTTP address is a test's own server.
func storeAt(t *testing.T, address string) *Store {
	t.Helper()
	store, err := Open(t.Context(), Config{URL: "clickhouse://u:p@127.0.0.1:1/db", HTTPURL: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// readAll opens a stream and reads it to its end.
func readAll(t *testing.T, store *Store, encoding export.Encoding) (string, error) {
	t.Helper()
	stream, err := store.openStream(t.Context(), "SELECT", ChunkQuery{Encoding: encoding})
	if err != nil {
		return "", err
	}
	defer func() { _ = stream.Close() }()
	content, err := io.ReadAll(stream)
	return string(content), err
}

const exceptionTag = "abcdefghijklmnop"

func withException(data string) string {
	text := "Code: 241. DB::Exception: memory is full. (MEMORY_LIMIT_EXCEEDED)"
	return data + "\r\n__exception__\r\n" + exceptionTag + "\r\n" + text + "\n" + fmt.Sprint(len(text)) + " " + exceptionTag + "\r\n__exception__\r\n"
}

// What HTTP calls complete is looked at all the same: a proxy may have mended a broken end.
func TestCompleteAnswerThatIsNoWholeFileIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		encoding   export.Encoding
		body, want string
		code       int32
	}{
		"exception behind lines":        {lines, withException("{}\n"), "memory is full", 241},
		"exception behind Parquet":      {parquet, withException("PAR1...PAR1"), "memory is full", 241},
		"long data before":              {lines, withException(strings.Repeat("{}\n", endingSize)), "memory is full", 241},
		"Parquet without its end":       {parquet, "PAR1 and then nothing", "do not end as parquet does", 0},
		"empty Parquet":                 {parquet, "", "do not end as parquet does", 0},
		"a line without its end":        {lines, "{}\n{", "do not end as jsoneachrow does", 0},
		"exception behind Arrow":        {arrow, withException("ARROW1...ARROW1"), "memory is full", 241},
		"Arrow without its end":         {arrow, "ARROW1 and then nothing", "do not end as arrow does", 0},
		"CSV without a header":          {csv, "", "do not end as csv does", 0},
		"a record without its end":      {csv, "\"a\"\n1", "do not end as csv does", 0},
		"nothing where gzip has a head": {gzipped, "", "do not end as jsoneachrow does", 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(headerExceptionTag, exceptionTag)
				if encoding := contentEncoding(test.encoding); encoding != "" {
					w.Header().Set("Content-Encoding", encoding)
				}
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			_, err := readAll(t, storeAt(t, server.URL), test.encoding)
			if err == nil || !strings.Contains(err.Error(), test.want) || export.KindOf(err) != export.KindSourceUnavailable {
				t.Fatalf("read = %v (%s), want an error of the source with %q", err, export.KindOf(err), test.want)
			}
			if exceptionCode(err) != test.code {
				t.Errorf("code is %d, want %d", exceptionCode(err), test.code)
			}
		})
	}
}

func TestDataThatLooksLikeAnExceptionIsData(t *testing.T) {
	body := strings.ReplaceAll(withException("{}\n"), exceptionTag, "qqqqqqqqqqqqqqqq") + "\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(headerExceptionTag, exceptionTag)
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	content, err := readAll(t, storeAt(t, server.URL), lines)
	if err != nil || content != body {
		t.Errorf("read %d of %d bytes: %v", len(content), len(body), err)
	}
}

func TestAnswersThatProveNothingAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ answer, want string }{
		"end by closing":       {"HTTP/1.0 200 OK\r\n\r\n{}\n", "the answer has neither length nor chunks"},
		"not asked for gzip":   {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n{}\n", `answers with Content-Encoding "gzip" where "" was asked for`},
		"not ClickHouse":       {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404 Not Found without an exception code"},
		"shorter than it says": {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n{}\n", "the stream ended early"},
		"no last chunk":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\n{}\n\r\n", "the stream ended early"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readAll(t, storeAt(t, answerWith(t, test.answer)), lines)
			if err == nil || !strings.Contains(err.Error(), test.want) || export.KindOf(err) != export.KindSourceUnavailable {
				t.Errorf("read = %v (%s), want an error of the source with %q", err, export.KindOf(err), test.want)
			}
		})
	}
}

func TestRefusalHasTheCodeOfTheHeader(t *testing.T) {
	const text = "Code: 62. DB::Exception: Syntax error: failed at end.\n"
	address := answerWith(t, fmt.Sprintf("HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Exception-Code: 62\r\nContent-Length: %d\r\n\r\n%s", len(text), text))
	_, err := readAll(t, storeAt(t, address), lines)
	var exception *Exception
	if !errors.As(err, &exception) || exception.Code != 62 || exception.Message != "Syntax error: failed at end." || export.KindOf(err) != export.KindInternal {
		t.Errorf("read = %#v (%s)", err, export.KindOf(err))
	}
}

// answerWith serves the same raw answer to every request, and then closes.
func answerWith(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if request, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.Copy(io.Discard, request.Body)
				_, _ = io.WriteString(conn, answer)
			}
			_ = conn.Close()
		}
	}()
	return "http://" + listener.Addr().String()
}

func TestEndingKeepsTheLastBytesHoweverTheyCome(t *testing.T) {
	text := withException(strings.Repeat("x", 3*endingSize))
	for _, size := range []int{1, 7, 4096, endingSize - 1, endingSize, endingSize + 1, len(text)} {
		e := ending{tag: exceptionTag}
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			e.add(rest[:n])
			rest = rest[n:]
		}
		if e.total != uint64(len(text)) || exceptionCode(e.exception()) != 241 {
			t.Errorf("in pieces of %d: %d of %d bytes, exception %v", size, e.total, len(text), e.exception())
		}
	}
}
