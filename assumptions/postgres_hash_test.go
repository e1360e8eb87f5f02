//go:build world

package assumptions

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"
)

// canonical is how a column of a type is written into the text that both sides hash.
type canonical struct{ name, clickhouse, postgres, make, there, here string }

// canonicals are the types of docs: what ClickHouse makes of each in there, and Postgres in here.
var canonicals = []canonical{
	{"n", "Int64", "bigint", "toInt64(number) - 500000", "toString(n)", "n::text"},
	{"small", "Nullable(Int32)", "integer", "if(number % 7 = 0, NULL, toInt32(number))", "toString(small)", "small::text"},
	{"yes", "Bool", "boolean", "number % 3 = 0", "toString(toUInt8(yes))", "yes::int::text"},
	{"id", "UUID", "uuid", "reinterpretAsUUID(sipHash128(number))", "toString(id)", "id::text"},
	{"said", "String", "text", `arrayElement(['plain', 'tab\there', 'line\nbreak', 'back\\slash', '🐢 żółw', '', '\\N', 'a:b,-'], number % 8 + 1) || toString(number % 1000)`, "said", "said"},
	{"maybe", "Nullable(String)", "text", "if(number % 5 = 0, NULL, toString(number))", "maybe", "maybe"},
	{"at", "DateTime64(6, 'UTC')", "timestamptz", "fromUnixTimestamp64Micro(toInt64(number) * 7919999 - 2000000000000000, 'UTC')", "toString(toUnixTimestamp64Micro(at))", "(extract(epoch from at) * 1000000)::bigint::text"},
	{"f", "Nullable(Float64)", "double precision", "multiIf(number % 11 = 0, NULL, number % 11 = 1, nan, number % 11 = 2, inf, number % 11 = 3, -inf, number % 11 = 4, -0.0, toFloat64(number) / 7)", "leftPad(lower(hex(reinterpretAsUInt64(f))), 16, '0')", "encode(float8send(f), 'hex')"},
	{"price", "Decimal(18, 4)", "numeric", "toDecimal64(toInt64(number) - 500, 4) / 8", "toString(price)", "trim_scale(price)::text"},
}

// A row's text is each field as its length in bytes, a colon, and its text, or - for NULL; its hash the low 64 bits of MD5.
// The sums over a million rows are equal after ClickHouse's TabSeparated went through COPY, and no value is left out.
func TestTheHashOfRowsIsTheSameOnBothSides(t *testing.T) {
	const rows = 1_000_000
	d, p := newDatabase(t), newSchema(t)
	var made, structure, there, here []string
	for _, c := range canonicals {
		made = append(made, fmt.Sprintf("CAST(%s AS %s) AS %s", c.make, c.clickhouse, c.name))
		structure = append(structure, c.name+" "+c.postgres)
		there = append(there, fmt.Sprintf("ifNull(concat(toString(length(%[1]s)), ':', %[1]s), '-')", c.there))
		here = append(here, fmt.Sprintf("coalesce(octet_length(%[1]s) || ':' || (%[1]s), '-')", c.here))
	}
	d.do(t, "CREATE TABLE made ENGINE = MergeTree ORDER BY n AS SELECT "+strings.Join(made, ", ")+fmt.Sprintf(" FROM numbers(%d)", rows))
	p.do(t, "CREATE UNLOGGED TABLE made ("+strings.Join(structure, ", ")+")")

	began := time.Now()
	if copied, err := p.copyIn(t.Context(), "made", d.tabSeparated(t, "SELECT * FROM made")); err != nil || copied != rows {
		t.Fatalf("%d rows, %v", copied, err)
	}
	copied := time.Now()
	want := d.count(t, "SELECT sum(reinterpretAsUInt64(reverse(substring(MD5(concat("+strings.Join(there, ", ")+")), 9, 8)))) FROM made")
	hashedThere := time.Now()
	// The digits as a signed bigint, whose sum is a numeric: equal modulo 2^64. Once in the query, for a hash that is named
	// twice is computed twice.
	var sum string
	err := p.QueryRow(t.Context(), "SELECT sum(('x' || substr(md5("+strings.Join(here, " || ")+"), 17, 16))::bit(64)::bigint)::text FROM made").Scan(&sum)
	if err != nil {
		t.Fatal(err)
	}
	total, ok := new(big.Int).SetString(sum, 10)
	if !ok {
		t.Fatalf("the sum is %q", sum)
	}
	got := total.And(total, new(big.Int).SetUint64(math.MaxUint64)).Uint64() // of a negative number its complement to 2^64
	t.Logf("COPY %s, hash in ClickHouse %s, in Postgres %s", copied.Sub(began), hashedThere.Sub(copied), time.Since(hashedThere))
	if got != want {
		t.Errorf("Postgres has %016x, ClickHouse %016x", got, want)
	}
}
