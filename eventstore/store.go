// Package eventstore is everything that Millrace says to ClickHouse: the schema and its upgrades, blocks of events in,
// the watermark, plans of intervals, chunks as the bytes of a file, and the ledger of runs.
package eventstore

import (
	"context"
	"errors"
	"time"
)

var errNotBuilt = errors.New("eventstore: not built yet")

// Config says where ClickHouse is.
type Config struct {
	// URL is the native protocol's address with the database: clickhouse://user:password@host:9000/database.
	// With ?secure=true it is spoken through TLS.
	URL string
	// HTTPURL is the HTTP address of the same server or cluster: http://host:8123. A user and password that stand in it
	// win over those of URL; the database is always URL's.
	HTTPURL string
}

// Store is a connection to the event store. It is safe for use by many goroutines.
type Store struct{}

// Open makes a Store. It checks the addresses and does not reach out yet: Ping does.
func Open(ctx context.Context, config Config) (*Store, error) { return nil, errNotBuilt }

// Close ends all connections; streams that are still open break off with an error.
func (s *Store) Close() error { return nil }

// Ping asks both ports, native and HTTP, for an answer.
func (s *Store) Ping(ctx context.Context) error { return errNotBuilt }

// Now is ClickHouse's clock, in UTC with microseconds: the only one that decides about arrival times.
func (s *Store) Now(ctx context.Context) (time.Time, error) { return time.Time{}, errNotBuilt }

// CheckServer reads back what Millrace leans on and a server may have set otherwise: the effective settings of an
// insert, the table's window of tokens, and the constraint on arrival times. Its error names all that is wrong.
func (s *Store) CheckServer(ctx context.Context) error { return errNotBuilt }
