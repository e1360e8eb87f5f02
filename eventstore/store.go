// Package eventstore is everything that Millrace says to ClickHouse: the schema and its upgrades, blocks of events in,
// the watermark, plans of intervals, chunks as the bytes of a file, and the ledger of runs.
//
// Two ways lead to the server. Rows and answers of a few lines go over the native protocol, by clickhouse-go. Chunks come
// over HTTP as the server encodes them, by net/http, for only there the end of a stream can be proved; see
// docs/decisions/0002-byte-path.md.
package eventstore

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/millrace/millrace/export"
)

// Config says where ClickHouse is.
type Config struct {
	// URL is the native protocol's address with the database: clickhouse://user:password@host:9000/database.
	// With ?secure=true it is spoken through TLS.
	URL string
	// HTTPURL is the HTTP address of the same server or cluster: http://host:8123. A user and password that stand in it
	// win over those of URL; the database is always URL's.
	HTTPURL string
}

const (
	// dialTimeout is short, for whoever waits for a connection tries again by rules of his own.
	dialTimeout = 5 * time.Second
	// answerTimeout bounds the wait for the answer to an insert, after which its outcome is unknown. A block of a million
	// rows takes some seconds.
	answerTimeout = 2 * time.Minute
	// askTimeout bounds a question of a few rows when the caller sets no deadline.
	askTimeout = 30 * time.Second
	// planTimeout does so for a plan, which counts all rows of an interval.
	planTimeout = 10 * time.Minute
	// maxConnections is enough for 16 partitions' loaders and as many runs; who comes later waits.
	maxConnections = 32
)

// LargeBlocks is how many large blocks of events may well be inserted at once: as many as there are processors to encode
// them, and two at least, so that one is sent while another is waited for. So many connections are kept for them. A
// connection keeps the memory of the largest block that it has sent, encoded and compressed, which is twice the block.
func LargeBlocks() int { return max(2, runtime.GOMAXPROCS(0)) }

// Store is a connection to the event store. It is safe for use by many goroutines.
type Store struct {
	options  clickhouse.Options
	conn     driver.Conn
	blocks   driver.Conn // for blocks of events alone, see LargeBlocks
	http     *http.Client
	endpoint endpoint
	// admitted is set once the server knew our database and user.
	admitted atomic.Bool
}

// endpoint is the HTTP address with what each request to it carries.
type endpoint struct {
	url            url.URL
	user, password string
}

// systemDatabase is on every server, so it can be named when ours is not there yet.
const systemDatabase = "system"

// Open makes a Store. It checks the addresses and does not reach out yet: Ping does.
func Open(_ context.Context, config Config) (*Store, error) {
	options, err := nativeOptions(config.URL)
	if err != nil {
		return nil, err
	}
	endpoint, err := httpEndpoint(config.HTTPURL, options.Auth)
	if err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		return nil, export.Errorf(export.KindConfig, "ClickHouse URL for %s: %w", options.Addr[0], err)
	}
	forBlocks := *options
	forBlocks.MaxIdleConns = min(LargeBlocks(), forBlocks.MaxOpenConns)
	blocks, err := clickhouse.Open(&forBlocks)
	if err != nil {
		return nil, export.Errorf(export.KindConfig, "ClickHouse URL for %s: %w", options.Addr[0], err)
	}
	return &Store{options: *options, conn: conn, blocks: blocks, http: newHTTPClient(options.TLS), endpoint: endpoint}, nil
}

// nativeOptions reads the native address. Its errors do not wrap the parser's, which would show the password.
func nativeOptions(address string) (*clickhouse.Options, error) {
	const form = "give clickhouse://user:password@host:9000/database"
	parsed, err := url.Parse(address)
	switch {
	case address == "":
		return nil, export.Errorf(export.KindConfig, "ClickHouse URL is missing: %s", form)
	case err != nil || parsed.Host == "" || parsed.Scheme != "clickhouse":
		return nil, export.Errorf(export.KindConfig, "ClickHouse URL is not well formed: %s", form)
	case len(parsed.Path) < 2:
		return nil, export.Errorf(export.KindConfig, "ClickHouse URL for %s names no database: %s", parsed.Host, form)
	}
	options, err := clickhouse.ParseDSN(address)
	if err != nil {
		return nil, export.Errorf(export.KindConfig, "ClickHouse URL for %s has a parameter that is unknown or not well formed: %s", parsed.Host, form)
	}
	options.DialTimeout = dialTimeout
	options.ReadTimeout = answerTimeout
	options.MaxOpenConns = maxConnections
	options.MaxIdleConns = maxConnections
	options.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	return options, nil
}

func httpEndpoint(address string, auth clickhouse.Auth) (endpoint, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return endpoint{}, export.Errorf(export.KindConfig, "ClickHouse HTTP URL is missing or not of the form http://host:8123: it is where chunks are read")
	}
	e := endpoint{user: auth.Username, password: auth.Password}
	if parsed.User != nil {
		e.user = parsed.User.Username()
		e.password, _ = parsed.User.Password()
	}
	e.url = url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path}
	if e.url.Path == "" {
		e.url.Path = "/"
	}
	return e, nil
}

// Close ends all connections; streams that are still open break off with an error.
func (s *Store) Close() error {
	s.http.CloseIdleConnections()
	if err := errors.Join(s.blocks.Close(), s.conn.Close()); err != nil {
		return Classify(err)
	}
	return nil
}

// Database is the name of the database that holds the tables.
func (s *Store) Database() string { return s.options.Auth.Database }

// Ping asks both ports, native and HTTP, for an answer, with the database and the credentials of each.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	s.admitted.Store(false)
	conn, err := s.native(ctx)
	if err != nil {
		return err
	}
	return wrap("reach ClickHouse at "+s.options.Addr[0], conn.Ping(ctx))
}

// native is the way to the native port. The first time it asks over HTTP whether the server knows our database and user,
// because a refusal there is harmless: the engine that serves as ClickHouse in devstack dies when it refuses the native
// protocol's handshake, and the whole world with it.
func (s *Store) native(ctx context.Context) (driver.Conn, error) {
	if s.admitted.Load() {
		return s.conn, nil
	}
	if err := s.command(ctx, s.Database(), "SELECT 1 FORMAT Null"); err != nil {
		return nil, wrap("reach ClickHouse at "+s.endpoint.url.Host, err)
	}
	s.admitted.Store(true)
	return s.conn, nil
}

// query asks over the native protocol.
func (s *Store) query(ctx context.Context, query string, args ...any) (driver.Rows, error) {
	conn, err := s.native(ctx)
	if err != nil {
		return nil, err
	}
	return conn.Query(ctx, query, args...)
}

// ask asks for one row over the native protocol.
func (s *Store) ask(ctx context.Context, query string, args []any, answer ...any) error {
	conn, err := s.native(ctx)
	if err != nil {
		return err
	}
	return conn.QueryRow(ctx, query, args...).Scan(answer...)
}

// prepare begins an insert over the native protocol. Once it began the end of ctx is not looked at: the client would turn
// it into a kill, a deadline into max_execution_time, and, when it comes right after the answer, into a closed connection
// for whoever gets it from the pool next. An answer that does not come within answerTimeout is an error.
func (s *Store) prepare(ctx context.Context, query string) (driver.Batch, error) {
	return s.prepareOn(ctx, s.conn, query)
}

func (s *Store) prepareOn(ctx context.Context, conn driver.Conn, query string) (driver.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := s.native(ctx); err != nil {
		return nil, err
	}
	return conn.PrepareBatch(context.WithoutCancel(ctx), query)
}

// Now is ClickHouse's clock, in UTC with microseconds: the only one that decides about arrival times.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	var micros int64
	if err := s.ask(ctx, "SELECT toUnixTimestamp64Micro(now64(6))", nil, &micros); err != nil {
		return time.Time{}, wrap("read ClickHouse's clock", err)
	}
	return time.UnixMicro(micros).UTC(), nil
}

// bounded gives a context an end when it has none.
func bounded(ctx context.Context, most time.Duration) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, most)
}
