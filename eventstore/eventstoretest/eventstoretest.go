// Package eventstoretest gives tests and benchmarks an event store of their own, and a past to read from.
package eventstoretest

import (
	"context"
	"net/url"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/internal/testworld"
)

// Config is an event store with a database of its own in the test's world, not set up yet. The database, if somebody
// makes it, is dropped when the test ends.
func Config(t testing.TB) eventstore.Config {
	t.Helper()
	address, err := url.Parse(testworld.Env(t, "MILLRACE_CLICKHOUSE_URL"))
	if err != nil {
		t.Fatalf("MILLRACE_CLICKHOUSE_URL: %v", err)
	}
	database := testworld.Name(t)
	address.Path = "/" + database
	t.Cleanup(func() { Exec(t, "DROP DATABASE IF EXISTS `"+database+"` SYNC") })
	return eventstore.Config{URL: address.String(), HTTPURL: testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL")}
}

// New is a Store in a database of its own, set up, that is closed and dropped when the test ends.
func New(t testing.TB) *eventstore.Store {
	t.Helper()
	store, err := eventstore.Open(t.Context(), Config(t))
	if err != nil {
		t.Fatalf("open event store: %v", err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if _, err := store.Setup(t.Context()); err != nil {
		t.Fatalf("set up event store: %v", err)
	}
	return store
}

// Exec runs a statement on a connection of its own, whose database is `system`: name the database of each table.
func Exec(t testing.TB, statement string) {
	t.Helper()
	options, err := clickhouse.ParseDSN(testworld.Env(t, "MILLRACE_CLICKHOUSE_URL"))
	if err != nil {
		t.Fatalf("MILLRACE_CLICKHOUSE_URL is not of the form clickhouse://user:password@host:port/database")
	}
	options.Auth.Database = "system"
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatalf("connect to ClickHouse: %v", err)
	}
	defer func() { _ = conn.Close() }()
	// Also when the test's own context has ended: it cleans up.
	if err := conn.Exec(context.WithoutCancel(t.Context()), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// LoadPast loads blocks whose arrival times the table refuses: it drops the constraint, loads, and adds it again.
//
// For throw-away worlds only. While the constraint is away anything could write into closed intervals, so it must never
// be done to a table that others read or load.
func LoadPast(t testing.TB, store *eventstore.Store, blocks ...eventstore.Block) {
	t.Helper()
	table := "`" + store.Database() + "`.events"
	Exec(t, "ALTER TABLE "+table+" DROP CONSTRAINT arrival")
	defer Exec(t, "ALTER TABLE "+table+" ADD CONSTRAINT arrival CHECK "+eventstore.ArrivalConstraint)
	for _, block := range blocks {
		if err := store.InsertBlock(t.Context(), block); err != nil {
			t.Fatalf("load the past: %v", err)
		}
	}
}
