//go:build world

package assumptions

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/millrace/millrace/internal/testworld"
)

// clickhouseDatabase is a database of its own for one test, by both ports.
type clickhouseDatabase struct {
	driver.Conn
	name string
	http *url.URL
}

func newDatabase(t *testing.T) clickhouseDatabase {
	t.Helper()
	options, err := clickhouse.ParseDSN(testworld.Env(t, "MILLRACE_CLICKHOUSE_URL"))
	if err != nil {
		t.Fatalf("MILLRACE_CLICKHOUSE_URL is not well formed")
	}
	address, err := url.Parse(testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL"))
	if err != nil {
		t.Fatalf("MILLRACE_CLICKHOUSE_HTTP_URL is not well formed")
	}
	d := clickhouseDatabase{name: testworld.Name(t), http: address}
	d.post(t, "", "CREATE DATABASE "+d.name, nil)
	options.Auth.Database = d.name
	if d.Conn, err = clickhouse.Open(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.Close()
		d.post(t, "", "DROP DATABASE "+d.name+" SYNC", nil)
	})
	return d
}

// do runs a statement over the native protocol.
func (d clickhouseDatabase) do(t *testing.T, statement string) {
	t.Helper()
	if err := d.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// count asks for one number.
func (d clickhouseDatabase) count(t *testing.T, query string) uint64 {
	t.Helper()
	var n uint64
	if err := d.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// request forms a query over HTTP.
func (d clickhouseDatabase) request(t *testing.T, database, query string, settings map[string]string) *http.Request {
	t.Helper()
	parameters := url.Values{}
	if database != "" {
		parameters.Set("database", database)
	}
	for name, value := range settings {
		parameters.Set(name, value)
	}
	address := *d.http
	address.Path, address.RawQuery = "/", parameters.Encode()
	// Also in a clean-up, when the test's context has ended.
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, address.String(), strings.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// post runs a query over HTTP to its end.
func (d clickhouseDatabase) post(t *testing.T, database, query string, settings map[string]string) {
	t.Helper()
	response, err := http.DefaultClient.Do(d.request(t, database, query, settings))
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s (%v)", query, response.Status, text, err)
	}
}

// exceptionCode is the code of ClickHouse's exception, or 0.
func exceptionCode(err error) int32 {
	var exception *clickhouse.Exception
	if errors.As(err, &exception) {
		return exception.Code
	}
	return 0
}

// insertColumn sends one native block of one column.
func (d clickhouseDatabase) insertColumn(ctx context.Context, table string, column any) error {
	batch, err := d.PrepareBatch(ctx, "INSERT INTO "+table)
	if err != nil {
		return err
	}
	if err := batch.Column(0).Append(column); err != nil {
		return err
	}
	return batch.Send()
}

// with makes an insert synchronous and gives it settings.
func with(t *testing.T, settings clickhouse.Settings) context.Context {
	all := clickhouse.Settings{"async_insert": 0}
	for name, value := range settings {
		all[name] = value
	}
	return clickhouse.Context(t.Context(), clickhouse.WithSettings(all))
}
