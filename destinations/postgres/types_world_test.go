//go:build world

package postgres

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/canonical"
	"github.com/millrace/millrace/internal/testworld"
)

// clickhouse answers a query, in COPY's text format when it asks for TabSeparated.
func clickhouse(t testing.TB, query string) io.ReadCloser {
	t.Helper()
	address := testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL") + "/?" + url.Values{
		"database": {"millrace"}, "date_time_output_format": {"iso"}, "enable_http_compression": {"0"}, "allow_suspicious_low_cardinality_types": {"1"},
	}.Encode()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		t.Fatalf("%s: %s", query, text)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer.Body
}

// extremes are values of each type, as ClickHouse's SQL has them: the ends, and what is easily lost.
var extremes = []struct {
	kind   string
	json   bool
	values string
}{
	{"Int8", false, "-128, 0, 127"},
	{"Int16", false, "-32768, 0, 32767"},
	{"Int32", false, "-2147483648, 0, 2147483647"},
	{"Int64", false, "-9223372036854775808, 0, 9223372036854775807"},
	{"Int128", false, "toInt128('-170141183460469231731687303715884105728'), toInt128(0), toInt128('170141183460469231731687303715884105727')"},
	{"Int256", false, "toInt256('-57896044618658097711785492504343953926634992332820282019728792003956564819968'), toInt256(7)"},
	{"UInt8", false, "0, 255"},
	{"UInt16", false, "0, 65535"},
	{"UInt32", false, "0, 4294967295"},
	{"UInt64", false, "0, 18446744073709551615"},
	{"UInt128", false, "toUInt128('340282366920938463463374607431768211455')"},
	{"UInt256", false, "toUInt256('115792089237316195423570985008687907853269984665640564039457584007913129639935')"},
	{"Float32", false, "toFloat32(0.1), toFloat32(-0.0), toFloat32(nan), toFloat32(inf), toFloat32(-inf), toFloat32(1e-45), toFloat32(3.4028235e38), toFloat32(1/3), reinterpretAsFloat32(toUInt32(0xffc00001)), reinterpretAsFloat32(toUInt32(0x00800000))"},
	{"Float64", false, "0.1, -0.0, nan, inf, -inf, 5e-324, 1.7976931348623157e308, 1/3, reinterpretAsFloat64(toUInt64(0xfff8000000000001)), 2.2250738585072014e-308, 123456789012345680000, 9007199254740993."},
	{"Bool", false, "true, false"},
	{"Decimal(9, 2)", false, "toDecimal32('-9999999.99', 2), toDecimal32('0', 2), toDecimal32('100', 2), toDecimal32('0.10', 2)"},
	{"Decimal(38, 20)", false, "toDecimal128('-999999999999999999.99999999999999999999', 20), toDecimal128('0.00000000000000000001', 20)"},
	{"Decimal(76, 0)", false, "toDecimal256('9999999999999999999999999999999999999999999999999999999999999999999999999999', 0)"},
	{"Date", false, "toDate('1970-01-01'), toDate('2149-06-06')"},
	{"Date32", false, "toDate32('1900-01-01'), toDate32('1969-12-31'), toDate32('2299-12-31')"},
	{"DateTime", false, "toDateTime(0), toDateTime(4294967295)"},
	{"DateTime('Asia/Kathmandu')", false, "toDateTime('2026-03-29 02:30:00', 'Asia/Kathmandu')"},
	{"DateTime64(0)", false, "toDateTime64('2026-11-23 10:00:00', 0)"},
	{"DateTime64(3, 'America/New_York')", false, "toDateTime64('2026-11-01 01:30:00.123', 3, 'America/New_York'), toDateTime64('1900-01-01 00:00:00.001', 3, 'America/New_York')"},
	{"DateTime64(6, 'UTC')", false, "toDateTime64('1900-01-01 00:00:00.000001', 6, 'UTC'), toDateTime64('1969-12-31 23:59:59.999999', 6, 'UTC'), toDateTime64('2299-12-31 23:59:59.999999', 6, 'UTC')"},
	{"UUID", false, "toUUID('00000000-0000-0000-0000-000000000000'), toUUID('FFFFFFFF-ffff-FFFF-ffff-fffffffffffe')"},
	{"String", false, `'', '\\N', '\\.', 'a\tb\nc\rd\\e\b\f\v', '🐢 żółw 日本語', ' ', '-', '3:abc', 'it''s "so"', repeat('x', 1000000)`},
	{"String", true, `'{}', '{"a":"\\u0000 \\ud800 \\n","b":1e999}', ' [1, 2] ', '{"🐢": "\\\\"}', concat('{"huge":"', repeat('y', 1000000), '"}')`},
	{"FixedString(3)", false, "'abc', '\tż'"},
	{"LowCardinality(String)", false, "'x', ''"},
	{"LowCardinality(Nullable(String))", false, "'x', NULL, ''"},
	{"LowCardinality(UInt8)", false, "1, 255"},
	{`Enum8('plain' = -128, 'it\'s, (so)\t' = 1)`, false, `'plain', 'it\'s, (so)\t'`},
	{"Enum16('🐢' = 1000)", false, "'🐢'"},
	{"IPv4", false, "toIPv4('0.0.0.0'), toIPv4('255.255.255.255')"},
	{"IPv6", false, "toIPv6('::'), toIPv6('::ffff:1.2.3.4'), toIPv6('2001:db8::1:0:0:1'), toIPv6('2001:db8:0:1:1:1:1:1'), toIPv6('fe80::'), toIPv6('::1.2.3.4'), toIPv6('1:0:0:2::'), toIPv6('64:ff9b::102:304')"},
}

// The content that ClickHouse computes of the source is the one that Postgres computes of what COPY has stored: for each
// type, its ends, and each type of Postgres that takes it, alone and as Nullable with a NULL beside it.
func TestBothSidesComputeTheSameContentOfEveryType(t *testing.T) {
	s := newSchema(t)
	d := s.open(t, nil)
	for n, test := range extremes {
		kinds := []string{test.kind}
		if !strings.HasPrefix(test.kind, "LowCardinality") {
			kinds = append(kinds, "Nullable("+test.kind+")")
		}
		for m, kind := range kinds {
			values := test.values
			if m == 1 {
				values += ", NULL"
			}
			source := fmt.Sprintf("made_%s_%d_%d", s.name, n, m)
			clickhouse(t, "CREATE TABLE "+source+" (n UInt8, v "+kind+") ENGINE = Memory").Close()
			defer func() { clickhouse(t, "DROP TABLE "+source).Close() }()
			var rows []string
			for i, value := range testworld.SplitAtCommas(values) {
				rows = append(rows, fmt.Sprintf("SELECT %d, CAST(%s AS %s)", i, value, kind))
			}
			clickhouse(t, "INSERT INTO "+source+" "+strings.Join(rows, " UNION ALL ")).Close()
			columns := []export.Column{{Name: "n", Type: "UInt8"}, {Name: "v", Type: kind, JSON: test.json}}
			d.columns = columns
			made := madeOf(t, source, columns)
			for _, takes := range fitsOf(columns[1]) {
				if takes.text == notHashed {
					continue
				}
				for _, into := range precise(takes) {
					s.sameContent(t, d, made, columns, into)
				}
			}
		}
	}
}

// precise is a type as it is, and with just the precision that a column needs.
func precise(f fit) []string {
	switch whole, part := f.precision[0], f.precision[1]; {
	case f.postgres == "numeric":
		return []string{f.postgres, fmt.Sprintf("numeric(%d,%d)", whole+part, part), fmt.Sprintf("numeric(%d,%d)", whole+part+3, part+2)}
	case strings.HasPrefix(f.postgres, "timestamp"):
		return []string{f.postgres, strings.Replace(f.postgres, "timestamp", fmt.Sprintf("timestamp(%d)", part), 1)}
	}
	return []string{f.postgres}
}

// made is a table of ClickHouse: its content, and its rows as COPY reads them.
type made struct {
	content export.Content
	rows    []byte
}

func madeOf(t *testing.T, source string, columns []export.Column) (m made) {
	t.Helper()
	hash, err := canonical.Hash(columns)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscan(clickhouse(t, "SELECT count(), sum("+hash+") FROM "+source), &m.content.Rows, &m.content.Hash); err != nil {
		t.Fatal(err)
	}
	if m.rows, err = io.ReadAll(clickhouse(t, "SELECT n, v FROM "+source+" FORMAT TabSeparated")); err != nil {
		t.Fatal(err)
	}
	return m
}

func (s schema) sameContent(t *testing.T, d *Destination, source made, columns []export.Column, kind string) {
	t.Helper()
	what := columns[1].Type + " in " + kind
	if f, takes := fitOf(columns[1], kind); !takes || f.text == notHashed {
		t.Errorf("%s does not fit", what)
		return
	}
	err := d.within(t.Context(), anybody, func(tx pgx.Tx) error {
		name := newStaging()
		stored := []column{{columns[0], "smallint"}, {columns[1], kind}}
		if err := d.createStaging(context.Background(), tx, name, stored); err != nil {
			return err
		}
		_, err := tx.Conn().PgConn().CopyFrom(t.Context(), bytes.NewReader(source.rows), "COPY "+d.settings.in(name)+" FROM STDIN (FORMAT text, ENCODING 'UTF8', FREEZE)")
		if err != nil {
			return err
		}
		got, _, err := contentOf(t.Context(), tx, d.settings.in(name), stored, "0", "")
		if err == nil && got != source.content {
			t.Errorf("%s: Postgres has %s, ClickHouse %s", what, got, source.content)
		}
		if err != nil {
			return err
		}
		return errRollBack
	})
	if err != errRollBack { //nolint:errorlint // it is handed through as it is
		t.Errorf("%s: %v", what, err)
	}
}

// What Postgres does not keep as it is is refused before the first byte, with what to do.
func TestTypesThatPostgresDoesNotKeepAreRefused(t *testing.T) {
	for kind, words := range map[string]string{
		"Array(String)":        "select toJSONString(v) AS v",
		"Map(String, Int64)":   "select toJSONString(v) AS v",
		"Tuple(a Int8)":        "select toJSONString(v) AS v",
		"JSON":                 "select toJSONString(v) AS v",
		"DateTime64(9, 'UTC')": "select toDateTime64(v, 6, 'UTC') AS v",
	} {
		for _, create := range []bool{true, false} {
			s := newSchema(t)
			d := s.open(t, map[string]any{"create": create})
			d.columns = []export.Column{{Name: "v", Type: kind}}
			_, err := d.Prepare(t.Context(), s.planOf(t, 0, 1, nil))
			wantError(t, err, export.KindSchema, `column "v" is ClickHouse's `+kind, words)
			if !create {
				s.do(t, "CREATE TABLE SCHEMA.events (v text)")
				_, err = d.Prepare(t.Context(), s.planOf(t, 0, 1, nil))
				wantError(t, err, export.KindSchema, `column "v" is ClickHouse's `+kind, words)
			}
		}
	}
	for column, kind := range map[export.Column]string{
		{Name: "v", Type: "UInt64"}:              "bigint",
		{Name: "v", Type: "UInt8"}:               "numeric(2,0)",
		{Name: "v", Type: "Float32"}:             "double precision",
		{Name: "v", Type: "Float64"}:             "real",
		{Name: "v", Type: "Decimal(9, 2)"}:       "numeric(9,3)",
		{Name: "v", Type: "DateTime64(6)"}:       "timestamp(3) with time zone",
		{Name: "v", Type: "String"}:              "character varying(10)",
		{Name: "v", Type: "Date"}:                "timestamp with time zone",
		{Name: "v", Type: "FixedString(3)"}:      "character(3)",
		{Name: "v", Type: "Int64"}:               "numeric(19)",
		{Name: "v", Type: "Nullable(DateTime)"}:  "time without time zone",
		{Name: "v", Type: "String", JSON: false}: "json",
	} {
		if f, takes := fitOf(column, kind); takes {
			t.Errorf("%s takes %s: %+v", kind, column.Type, f)
		}
	}
}
