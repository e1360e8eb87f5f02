package eventstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/millrace/millrace/export"
)

// newHTTPClient makes a client that leaves the bytes alone: with Go's own Accept-Encoding the server would gzip every
// Parquet file, at two to three times the cost.
func newHTTPClient(config *tls.Config) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	transport.TLSClientConfig = config
	transport.MaxIdleConnsPerHost = maxConnections
	return &http.Client{Transport: transport}
}

// request makes the request that runs a query. Settings travel in the address, credentials in headers only.
func (e endpoint) request(ctx context.Context, query string, settings map[string]string) (*http.Request, error) {
	return e.send(ctx, settings, strings.NewReader(query))
}

// send makes the request that sends a body along with settings, of which "query" is the query.
func (e endpoint) send(ctx context.Context, settings map[string]string, body io.Reader) (*http.Request, error) {
	parameters := url.Values{}
	for name, value := range settings {
		parameters.Set(name, value)
	}
	address := e.url
	address.RawQuery = parameters.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), body)
	if err != nil {
		return nil, fmt.Errorf("form a request to ClickHouse: %w", err)
	}
	request.Header.Set("X-ClickHouse-User", e.user)
	request.Header.Set("X-ClickHouse-Key", e.password)
	return request, nil
}

// command runs a query over HTTP, in a database, whose answer, if any, is not looked at.
func (s *Store) command(ctx context.Context, database, query string) error {
	request, err := s.endpoint.request(ctx, query, map[string]string{"database": database, "wait_end_of_query": "1"})
	if err != nil {
		return err
	}
	response, err := s.http.Do(request)
	if err != nil {
		return connectionError(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return refusal(response)
	}
	if _, err = io.Copy(io.Discard, response.Body); err != nil {
		return connectionError(err)
	}
	return nil
}

// connectionError gives an error of net/http its kind, and takes the address off, which holds the whole query string.
// Some of these errors have no type, so whatever is not a cancel is taken for a broken connection.
func connectionError(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	if errors.Is(err, context.Canceled) {
		return export.Errorf(export.KindCancelled, "%w", err)
	}
	return export.Errorf(export.KindSourceUnavailable, "%w", err)
}

const (
	headerExceptionCode = "X-ClickHouse-Exception-Code"
	headerExceptionTag  = "X-ClickHouse-Exception-Tag"
	// maxExceptionText is enough for a sentence; stack traces are cut.
	maxExceptionText = 4096
)

// refusal is the error of an answer that is not 200, by the code that the server puts into the header.
func refusal(response *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxExceptionText))
	if err != nil && len(text) == 0 {
		return export.Errorf(export.KindSourceUnavailable, "read ClickHouse's refusal (HTTP %d): %w", response.StatusCode, err)
	}
	code, err := strconv.ParseInt(response.Header.Get(headerExceptionCode), 10, 32)
	if err != nil {
		// Not ClickHouse: a proxy on the way, or another server.
		return export.Errorf(export.KindSourceUnavailable, "ClickHouse's HTTP address answers %s without an exception code: is %s ClickHouse's HTTP port?",
			response.Status, response.Request.URL.Host)
	}
	return newException(int32(code), string(text))
}

// newException makes an exception as the native protocol would have brought it: without the code in front of the text.
func newException(code int32, text string) *Exception {
	prefix := fmt.Sprintf("Code: %d. ", code)
	message := strings.TrimSpace(strings.TrimPrefix(text, prefix))
	return &Exception{Code: code, Name: "DB::Exception", Message: strings.TrimPrefix(message, "DB::Exception: ")}
}

// errTruncated is the end of a stream without proof of its end.
var errTruncated = errors.New("the stream ended early")
