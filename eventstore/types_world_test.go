//go:build world

package eventstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// kinds are types of columns that models have, each with values that are easily lost, in SQL.
var kinds = []struct{ kind, values string }{
	{"Int8", "-128, 127"}, {"Int16", "-32768"}, {"Int32", "-2147483648"}, {"Int64", "-9223372036854775808, 9223372036854775807"},
	{"Int128", "toInt128('-170141183460469231731687303715884105728')"}, {"Int256", "toInt256('-57896044618658097711785492504343953926634992332820282019728792003956564819968')"},
	{"UInt8", "255"}, {"UInt16", "65535"}, {"UInt32", "4294967295"}, {"UInt64", "18446744073709551615"},
	{"UInt128", "toUInt128('340282366920938463463374607431768211455')"}, {"UInt256", "toUInt256('115792089237316195423570985008687907853269984665640564039457584007913129639935')"},
	{"Float32", "toFloat32(0.1), toFloat32(-0.0), nan, inf, -inf, toFloat32(1e-45), toFloat32(3.4028235e38)"},
	{"Float64", "0.1, -0.0, nan, inf, -inf, 5e-324, 1.7976931348623157e308, 9007199254740993."},
	{"BFloat16", "1.5, -0.0"},
	{"Bool", "true, false"},
	{"Decimal(9, 2)", "toDecimal32('-9999999.99', 2), toDecimal32('0.10', 2), toDecimal32('100', 2)"},
	{"Decimal(18, 0)", "toDecimal64('-999999999999999999', 0)"},
	{"Decimal(38, 20)", "toDecimal128('-999999999999999999.99999999999999999999', 20), toDecimal128('0.00000000000000000001', 20)"},
	{"Decimal(76, 38)", "toDecimal256('-99999999999999999999999999999999999999.99999999999999999999999999999999999999', 38)"},
	{"Date", "toDate('1970-01-01'), toDate('2149-06-06')"}, {"Date32", "toDate32('1900-01-01'), toDate32('1969-12-31'), toDate32('2299-12-31')"},
	{"DateTime", "toDateTime(0), toDateTime(4294967295)"}, {"DateTime('Asia/Kathmandu')", "toDateTime('2026-03-29 02:30:00', 'Asia/Kathmandu')"},
	{"DateTime64(0)", "toDateTime64('2026-11-23 10:00:00', 0)"},
	{"DateTime64(3, 'America/New_York')", "toDateTime64('2026-11-01 05:30:00.123', 3, 'UTC'), toDateTime64('2026-11-01 06:30:00.123', 3, 'UTC'), toDateTime64('1900-01-01 12:00:00.001', 3, 'UTC')"},
	{"DateTime64(6, 'UTC')", "toDateTime64('1900-01-01 00:00:00.000001', 6, 'UTC'), toDateTime64('1969-12-31 23:59:59.999999', 6, 'UTC'), toDateTime64('2299-12-31 23:59:59.999999', 6, 'UTC')"},
	{"DateTime64(9, 'UTC')", "toDateTime64('2026-11-23 10:00:00.000000001', 9, 'UTC'), toDateTime64('1969-12-31 23:59:59.999999999', 9, 'UTC')"},
	{"Time", "'12:34:56'"}, {"Time64(6)", "'12:34:56.000001'"},
	{"UUID", "toUUID('00000000-0000-0000-0000-000000000000'), toUUID('ffffffff-ffff-ffff-ffff-fffffffffffe')"},
	{"String", `'', '\\N', '\\.', 'a\tb\nc\rd\\e\b\f\v\0', '🐢 日本語', ' ', 'it''s "so", they say', unhex('ff00fe')`},
	{"FixedString(3)", `'abc', '\tż', 'a'`},
	{"LowCardinality(String)", "'x', ''"}, {"LowCardinality(Nullable(String))", `'x', NULL, '', '\\N'`},
	{`Enum8('plain' = -128, 'it\'s, "so"\t' = 1)`, `'plain', 'it\'s, "so"\t'`}, {"Enum16('🐢' = 1000)", "'🐢'"},
	{"IPv4", "toIPv4('0.0.0.0'), toIPv4('255.255.255.255')"}, {"IPv6", "toIPv6('::'), toIPv6('2001:db8::1'), toIPv6('::ffff:1.2.3.4')"},
	{"Nullable(Int64)", "NULL, 0"}, {"Nullable(String)", `NULL, '', 'NULL', '\\N', 'null'`}, {"Nullable(Decimal(38, 20))", "NULL, toDecimal128('0.00000000000000000001', 20)"},
	{"Nullable(DateTime64(6, 'UTC'))", "NULL, toDateTime64('1969-12-31 23:59:59.999999', 6, 'UTC')"}, {"Nullable(UUID)", "NULL, toUUID('00000000-0000-0000-0000-000000000000')"},
	{"Nullable(Bool)", "NULL, false"}, {"Nullable(Float64)", "NULL, nan, -0.0"}, {"Nullable(Enum8('a' = 1, '' = 2))", "NULL, 'a', ''"}, {"Nullable(IPv6)", "NULL, toIPv6('::')"},
	{"Array(String)", `[], ['', 'a', 'it''s "so"\n,']`}, {"Array(Nullable(Int64))", "[NULL, 1], []"}, {"Array(Array(UInt8))", "[[1], []], []"},
	{"Array(Decimal(38, 20))", "[toDecimal128('0.00000000000000000001', 20)]"}, {"Array(DateTime64(6, 'UTC'))", "[toDateTime64('1969-12-31 23:59:59.999999', 6, 'UTC')]"},
	{"Array(UUID)", "[toUUID('ffffffff-ffff-ffff-ffff-fffffffffffe')]"}, {"Array(LowCardinality(String))", "['a', 'a', '']"}, {"Array(Bool)", "[true, false]"}, {"Array(Float64)", "[nan, inf, -0.0]"},
	{"Array(Enum8('a' = 1, 'b' = 2))", "['a', 'b']"}, {"Array(Tuple(String, Nullable(Int64)))", "[('a', NULL), ('', 1)]"},
	{"Map(String, Int64)", "map('a', 1, '', -2), map()"}, {"Map(String, Nullable(String))", "map('a', NULL)"}, {"Map(UUID, Array(Decimal(9, 2)))", "map(toUUID('ffffffff-ffff-ffff-ffff-fffffffffffe'), [toDecimal32('1.10', 2)])"},
	{"Map(LowCardinality(String), String)", "map('a', 'b')"}, {"Map(Int64, String)", "map(-1, 'b')"}, {"Map(DateTime64(6, 'UTC'), String)", "map(toDateTime64('2026-11-23 10:00:00.000001', 6, 'UTC'), 'b')"},
	{"Tuple(Int64, String)", `(1, 'it''s "so",')`}, {"Tuple(number Int64, text Nullable(String))", "(1, NULL), (2, '')"},
	{"Tuple(a Tuple(b Decimal(9, 2), c DateTime64(6, 'UTC')), d Array(String))", "((toDecimal32('1.10', 2), toDateTime64('2026-11-23 10:00:00.000001', 6, 'UTC')), ['x'])"},
	{"Tuple(e Enum8('a' = 1), u UUID, b Bool)", "('a', toUUID('ffffffff-ffff-ffff-ffff-fffffffffffe'), true)"},
	{"JSON", `'{"a":{"b":1,"c":[1,2]},"d":"x"}'`}, {"Variant(Int64, String)", "1::Int64, 'a'::String, NULL"}, {"Dynamic", "1::Int64, 'a'::String"},
	{"Point", "(1.5, 2.5)"}, {"Ring", "[(1.5, 2.5)]"}, {"Polygon", "[[(1.5, 2.5)]]"},
	{"Nested(a Int64, b String)", "[(1, 'x')]"},
	{"Array(Time)", "['12:34:56']"}, {"Tuple(Time Int64)", "tuple(1)"}, {"Nullable(Time64(6))", "NULL, '12:34:56.000001'"}, {"Map(String, Time)", "map('a', '12:34:56'::Time)"},
	{"IntervalDay", "toIntervalDay(1)"}, {"Array(Variant(Int64, String))", "[1::Int64, 'a'::String]"},
	{"SimpleAggregateFunction(sum, UInt64)", "1, 2"},
	{"AggregateFunction(sum, UInt64)", "initializeAggregation('sumState', 1::UInt64)"},
	{"QBit(Float32, 4)", "[1, 2, 3, 4]"},
}

// typesOf makes a table with a column of a kind, and gives the query of its chunk.
func typesOf(t *testing.T, store *eventstore.Store, n int, kind, values string) (eventstore.ChunkQuery, error) {
	table := fmt.Sprintf("`%s`.kind%d", store.Database(), n)
	const allowed = " SETTINGS allow_suspicious_low_cardinality_types = 1, allow_experimental_qbit_type = 1, enable_time_time64_type = 1, flatten_nested = 0, allow_suspicious_types_in_order_by=1"
	if err := store.Conn().Exec(t.Context(), "CREATE TABLE "+table+" (id UInt64, at DateTime64(6, 'UTC'), v "+kind+") ENGINE = MergeTree ORDER BY id"+allowed); err != nil {
		return eventstore.ChunkQuery{}, err
	}
	for i, value := range testworld.SplitAtCommas(values) {
		if err := store.Conn().Exec(t.Context(), fmt.Sprintf("INSERT INTO %s SELECT %d, fromUnixTimestamp64Micro(%d, 'UTC'), CAST(%s AS %s)"+allowed, table, i, ordersStart.UnixMicro(), value, kind)); err != nil {
			return eventstore.ChunkQuery{}, fmt.Errorf("insert %s: %w", value, err)
		}
	}
	model, err := store.Describe(t.Context(), export.Model{Name: "kinds", Arrival: "at", Key: []string{"id"}, Settle: export.Duration(time.Minute), Query: "SELECT * FROM " + table})
	return eventstore.ChunkQuery{Interval: export.Interval{Start: ordersStart, End: ordersStart.Add(time.Hour)}, Team: export.Team{All: true}, Model: model, Columns: model.Columns}, err
}

// fileForms are the formats of files; how they are compressed is nothing to a type.
var fileForms = []export.Encoding{
	{Format: export.FormatParquet, Compression: export.CompressionZstd}, {Format: export.FormatJSONEachRow, Compression: export.CompressionNone},
	{Format: export.FormatCSV, Compression: export.CompressionNone}, {Format: export.FormatArrow, Compression: export.CompressionLZ4},
}

// comesBack exports a chunk as a file, and has ClickHouse read it to the content of its source.
func comesBack(t *testing.T, store *eventstore.Store, query eventstore.ChunkQuery) error {
	want, err := store.ChunkContent(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", export.Structure(query.Columns), err)
	}
	if want.Rows == 0 {
		t.Fatalf("%s: no rows", export.Structure(query.Columns))
	}
	file, err := store.OpenChunk(t.Context(), query)
	if err != nil {
		return err
	}
	defer file.Close()
	return store.HoldsContent(t.Context(), eventstore.FileQuery{Encoding: query.Encoding, Columns: query.Columns}, file, want)
}

// What a model's column is exported as is what ClickHouse reads back, for each type and format, or the format refuses the
// type. Nothing is refused that comes back, and what is to be selected in its place comes back.
func TestEachTypeComesBackOrIsRefused(t *testing.T) {
	store := eventstoretest.New(t)
	for n, k := range kinds {
		query, err := typesOf(t, store, n, k.kind, k.values)
		if err != nil {
			t.Fatalf("%s: %v", k.kind, err)
		}
		for _, query.Encoding = range fileForms {
			what := k.kind + " in " + string(query.Encoding.Format)
			refused, failed := query.Encoding.Format.Keeps(query.Columns), comesBack(t, store, query)
			if (refused != nil) != (failed != nil) {
				t.Errorf("%s: it is refused with %v; exported, it comes back with %v", what, refused, failed)
			}
			if refused == nil {
				continue
			}
			_, instead, _ := strings.Cut(refused.Error(), ": select ")
			instead, _, said := strings.Cut(instead, " in the model's query")
			if !said || !strings.Contains(refused.Error(), fmt.Sprintf("column %q is %s", "v", k.kind)) {
				t.Errorf("%s: the refusal says %v", what, refused)
			}
			other := query
			other.Model.Query = "SELECT id, at, " + strings.Replace(instead, "(v)", "(rows.v)", 1) + " FROM (" + query.Model.Query + ") AS rows"
			if other.Model, err = store.Describe(t.Context(), other.Model); err != nil {
				t.Errorf("%s: %s: %v", what, instead, err)
				continue
			}
			other.Columns = other.Model.Columns
			if err := other.Encoding.Format.Keeps(other.Columns); err != nil {
				t.Errorf("%s: %s: %v", what, instead, err)
			}
			if err := comesBack(t, store, other); err != nil {
				t.Errorf("%s: %s: %v", what, instead, err)
			}
		}
	}
}
