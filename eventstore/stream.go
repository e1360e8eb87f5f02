package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/export"
)

// ChunkQuery asks for the rows of a chunk as the bytes of a file.
type ChunkQuery struct {
	Interval export.Interval
	Team     export.Team
	// Model is `events` when zero. Another must have its Columns.
	Model export.Model
	// Columns are those that are exported; of `events` the usual ones when nil.
	Columns  []export.Column
	Filters  []export.Filter
	Chunk    export.Chunk
	Encoding export.Encoding
	// QueryID names the query at the server; it must differ from every query that runs. Random when empty.
	QueryID string
	// LogComment stands in the server's query log; by custom it names run and chunk.
	LogComment string
	// Settings are ClickHouse's for this query, such as priority or max_threads, beyond those that the reading itself needs.
	Settings map[string]string
}

const (
	// stallTimeout ends a stream on which nothing comes, by analogy with ClickHouse's own 300 s for a silent peer.
	stallTimeout = 5 * time.Minute
	// sendTimeout is how long the server waits for a reader whose destination is slow. Its default is 30 s.
	sendTimeout = 10 * time.Minute
	// killTimeout bounds the wait for a query to be gone.
	killTimeout = 10 * time.Second
)

// OpenChunk begins to read a chunk. The bytes are a whole file in the given encoding, encoded by ClickHouse; nothing
// here touches a row. The rows come in sort order.
//
// The reader returns io.EOF only when the stream is proved to be whole; every other end, also an exception that
// ClickHouse met after the first byte, is an error with a kind. Close may be called from another goroutine and at any
// time; it ends the query at the server when that was not read to its end. The end of ctx breaks the stream off.
func (s *Store) OpenChunk(ctx context.Context, query ChunkQuery) (io.ReadCloser, error) {
	rows, err := query.relation()
	if err := errors.Join(query.Encoding.Validate(), err); err != nil {
		return nil, err
	}
	return s.openStream(ctx, rows.chunkSQL(query.Chunk, query.Encoding), query)
}

// relation is where the chunk's rows are.
func (q ChunkQuery) relation() (relation, error) {
	return newRelation(q.Interval, q.Team, q.Model, q.Columns, q.Filters)
}

func (r relation) chunkSQL(chunk export.Chunk, encoding export.Encoding) string {
	return "SELECT " + r.selected() + " FROM " + r.from() + " WHERE " + r.whereChunk(chunk) +
		" ORDER BY " + r.order() + " FORMAT " + formatNames[encoding.Format]
}

// openStream runs a query and hands out its answer. Of query only Encoding, QueryID, LogComment and Settings are looked at.
func (s *Store) openStream(ctx context.Context, sql string, query ChunkQuery) (*stream, error) {
	id := query.QueryID
	if id == "" {
		id = uuid.NewString()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	opened := &stream{store: s, id: id, cancel: cancel, format: query.Encoding, stall: time.AfterFunc(stallTimeout, func() { cancel(errStalled) })}
	opened.cause = func() error { return context.Cause(ctx) }
	if err := opened.begin(ctx, sql, s.streamSettings(query, id), contentEncoding(query.Encoding)); err != nil {
		return nil, errors.Join(wrap("read from ClickHouse", err), opened.Close())
	}
	opened.stall.Stop() // it runs while somebody waits for bytes
	return opened, nil
}

func (s *Store) streamSettings(query ChunkQuery, id string) map[string]string {
	settings := map[string]string{
		"database": s.Database(),
		"query_id": id,
		// An exception inside a valid document would look like data.
		"http_write_exception_in_output_format": "0",
		"wait_end_of_query":                     "0",
		"max_execution_time":                    "0",
		"http_send_timeout":                     strconv.Itoa(int(sendTimeout / time.Second)),
		// The server looks after its queries itself when the kill cannot reach it; it does so for readonly ones only.
		"readonly": "2",
		"cancel_http_readonly_queries_on_client_close": "1",
		"enable_http_compression":                      "0",
	}
	maps.Copy(settings, EncodingSettings(query.Encoding))
	relation{interval: query.Interval, model: query.Model, filters: query.Filters}.bindTo(settings)
	if contentEncoding(query.Encoding) != "" {
		settings["enable_http_compression"] = "1"
	}
	if query.LogComment != "" {
		settings["log_comment"] = query.LogComment
	}
	for name, value := range query.Settings {
		if _, needed := settings[name]; !needed {
			settings[name] = value
		}
	}
	return settings
}

var errStalled = export.Errorf(export.KindSourceUnavailable, "ClickHouse sent nothing for %s", stallTimeout)

// stream is the answer to one query.
type stream struct {
	store  *Store
	id     string
	format export.Encoding
	body   io.ReadCloser
	cancel context.CancelCauseFunc
	cause  func() error
	stall  *time.Timer

	tail ending
	err  error // sticks, once there is one

	whole  atomic.Bool // the server has said that it sent everything
	closed sync.Once
	onKill error
}

func (s *stream) begin(ctx context.Context, sql string, settings map[string]string, encoding string) error {
	request, err := s.store.endpoint.request(ctx, sql, settings)
	if err != nil {
		return err
	}
	if encoding != "" {
		request.Header.Set("Accept-Encoding", encoding)
	}
	response, err := s.store.http.Do(request) //nolint:bodyclose // Close of the stream closes it
	if err != nil {
		return s.broken(err)
	}
	s.body = response.Body
	if response.StatusCode != http.StatusOK {
		s.whole.Store(true) // it has ended: nothing to kill
		return refusal(response)
	}
	s.tail.tag = response.Header.Get(headerExceptionTag)
	if got := response.Header.Get("Content-Encoding"); got != encoding {
		return export.Errorf(export.KindSourceUnavailable, "ClickHouse answers with Content-Encoding %q where %q was asked for: a proxy on the way must leave it alone", got, encoding)
	}
	if !endIsMarked(response) {
		return export.Errorf(export.KindSourceUnavailable, "the answer has neither length nor chunks, so its end proves nothing: speak HTTP/1.1 or later with ClickHouse, also through proxies")
	}
	return nil
}

// endIsMarked tells whether a stream that breaks off differs from one that ends: by its length, by the last chunk of
// HTTP/1.1, or by the frames of HTTP/2.
func endIsMarked(response *http.Response) bool {
	return response.ContentLength >= 0 || len(response.TransferEncoding) > 0 && response.TransferEncoding[0] == "chunked" || response.ProtoMajor >= 2
}

// Read implements io.Reader; see OpenChunk.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.stall.Reset(stallTimeout)
	n, err := s.body.Read(p)
	s.stall.Stop() // a slow destination is not a stalled source
	s.tail.add(p[:n])
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		if s.err = s.prove(); s.err == nil {
			s.whole.Store(true)
			s.err = io.EOF
		}
	default:
		s.err = wrap("read from ClickHouse", s.broken(err))
	}
	return n, s.err
}

// prove looks at a stream that HTTP calls complete. An exception in it can only have come through a proxy that mended the
// broken end; a file that lacks its own end was never finished.
func (s *stream) prove() error {
	if exception := s.tail.exception(); exception != nil {
		return wrap("read from ClickHouse", exception)
	}
	if !s.tail.ends(s.format) {
		return export.Errorf(export.KindSourceUnavailable, "read from ClickHouse: %w: %d bytes that do not end as %s does", errTruncated, s.tail.total, s.format.Format)
	}
	return nil
}

// broken is why a stream broke off: the exception that ClickHouse sent as its last words, or who stopped reading, or what
// the connection says.
func (s *stream) broken(err error) error {
	if exception := s.tail.exception(); exception != nil {
		return exception
	}
	if cause := s.cause(); cause != nil {
		return fmt.Errorf("after %d bytes: %w", s.tail.total, cause)
	}
	return fmt.Errorf("%w, after %d bytes: %w", errTruncated, s.tail.total, connectionError(err))
}

// Close implements io.Closer. Its error says that the query may still run, which ends by itself once the server notices.
func (s *stream) Close() error {
	s.closed.Do(func() {
		s.stall.Stop()
		s.cancel(context.Canceled)
		if s.body != nil {
			_ = s.body.Close()
		}
		if !s.whole.Load() {
			s.onKill = s.store.kill(s.id)
		}
	})
	return s.onKill
}

// kill ends a query and waits until it is gone. It goes over HTTP, as the query did, and asks nobody's context: the end
// of that is mostly why it is called.
func (s *Store) kill(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	return wrap("kill query "+id, s.command(ctx, systemDatabase, "KILL QUERY WHERE query_id = "+quoteText(id)+" SYNC FORMAT Null"))
}
