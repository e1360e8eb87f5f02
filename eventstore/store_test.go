package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/export"
)

func TestOpenRefusesBadAddressesAndKeepsThePassword(t *testing.T) {
	const httpURL = "http://127.0.0.1:8123"
	for _, test := range []struct{ url, httpURL, want string }{
		{"", httpURL, "ClickHouse URL is missing: give clickhouse://user:password@host:9000/database"},
		{"127.0.0.1:9000", httpURL, "ClickHouse URL is not well formed: give clickhouse://user:password@host:9000/database"},
		{"http://u:s3cret@h:9000/db", httpURL, "ClickHouse URL is not well formed: give clickhouse://user:password@host:9000/database"},
		{"clickhouse://u:s3cret@h:9000", httpURL, "ClickHouse URL for h:9000 names no database: give clickhouse://user:password@host:9000/database"},
		{"clickhouse://u:s3cret@h:9000/db?dial_timeout=soon", httpURL, "ClickHouse URL for h:9000 has a parameter that is unknown or not well formed: give clickhouse://user:password@host:9000/database"},
		{"clickhouse://u:s3cret@h:port/db", httpURL, "ClickHouse URL is not well formed: give clickhouse://user:password@host:9000/database"},
		{"clickhouse://u:s3cret@h:9000/db", "", "ClickHouse HTTP URL is missing or not of the form http://host:8123: it is where chunks are read"},
		{"clickhouse://u:s3cret@h:9000/db", "clickhouse://u:s3cret@h:8123", "ClickHouse HTTP URL is missing or not of the form http://host:8123: it is where chunks are read"},
	} {
		_, err := Open(t.Context(), Config{URL: test.url, HTTPURL: test.httpURL})
		if err == nil || err.Error() != test.want {
			t.Errorf("Open(%q, %q) = %v, want %q", test.url, test.httpURL, err, test.want)
			continue
		}
		if export.KindOf(err) != export.KindConfig || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Open(%q) = %v (%s)", test.url, err, export.KindOf(err))
		}
	}
}

func TestServerThatIsAwayIsNamedWithoutItsPassword(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	store, err := Open(t.Context(), Config{URL: "clickhouse://u:s3cret@" + address + "/db", HTTPURL: "http://u:s3cret@" + address})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	_, now := store.Now(t.Context())
	_, open := store.OpenChunk(t.Context(), ChunkQuery{Interval: export.Interval{Start: eleven, End: eleven.Add(time.Hour)}, Team: all,
		Encoding: export.Encoding{Format: export.FormatParquet, Compression: export.CompressionZstd}})
	for name, err := range map[string]error{"Ping": store.Ping(t.Context()), "Now": now, "CheckSchema": store.CheckSchema(t.Context()), "OpenChunk": open} {
		if export.KindOf(err) != export.KindSourceUnavailable || !strings.Contains(err.Error(), address) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s = %v (%s)", name, err, export.KindOf(err))
		}
	}
}

func TestClassify(t *testing.T) {
	for _, test := range []struct {
		err  error
		want export.Kind
	}{
		{&Exception{Code: 241}, export.KindSourceUnavailable},                    // memory
		{&Exception{Code: 394}, export.KindSourceUnavailable},                    // killed by somebody else
		{&Exception{Code: 516}, export.KindSourceUnavailable},                    // our password: the operator's to mend
		{fmt.Errorf("plan: %w", &Exception{Code: 62}), export.KindInternal},      // our SQL
		{io.ErrUnexpectedEOF, export.KindSourceUnavailable},                      //
		{&net.OpError{Op: "dial", Err: io.EOF}, export.KindSourceUnavailable},    //
		{fmt.Errorf("x: %w", context.Canceled), export.KindCancelled},            //
		{context.DeadlineExceeded, export.KindSourceUnavailable},                 //
		{export.Errorf(export.KindData, "x: %w", io.EOF), export.KindData},       // it has one
		{errors.New("of nobody"), export.KindInternal},                           //
		{wrap("x", export.Errorf(export.KindQuota, "full")), export.KindQuota},   //
		{wrap("x", &Exception{Code: 60}), export.KindSourceUnavailable},          //
		{connectionError(errors.New("malformed")), export.KindSourceUnavailable}, //
	} {
		if got := export.KindOf(Classify(test.err)); got != test.want {
			t.Errorf("Classify(%v) is %s, want %s", test.err, got, test.want)
		}
	}
	if err := Classify(nil); err != nil {
		t.Errorf("Classify(nil) = %v", err)
	}
	if err := wrap("read", &Exception{Code: 60, Message: "no table"}); err.Error() != "read: code: 60, message: no table; run `millrace setup`" {
		t.Errorf("wrap = %v", err)
	}
	if !IsArrivalRefused(wrap("insert", &Exception{Code: 469})) || IsArrivalRefused(io.EOF) || IsArrivalRefused(nil) || !IsStillRunning(&Exception{Code: 216}) {
		t.Error("a predicate does not go by the code")
	}
}
