package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/export"
)

// fit is a type of Postgres that takes all values of a type of ClickHouse as they are, and the text that both sides hash.
type fit struct {
	postgres string
	// text makes the canonical text of a column's quoted name; "" when the type keeps another text than it was given.
	text string
	// precision is how many digits a type with a precision must take: of a second's fraction, or of a number before and
	// after its point.
	precision [2]int
}

const (
	asText    = "(%[1]s)::text"
	asItself  = "%[1]s"
	asNumber  = "trim_scale(%[1]s)::text"
	asMicros  = "((extract(epoch FROM %[1]s) * 1000000)::bigint)::text"
	asDays    = "(%[1]s - DATE '1970-01-01')::text"
	asBit     = "(%[1]s)::int::text"
	asReal    = "encode(float4send(%[1]s), 'hex')"
	asDouble  = "encode(float8send(%[1]s), 'hex')"
	asHost    = "host(%[1]s)"
	notHashed = ""
)

var textFits = []fit{{postgres: "text", text: asItself}, {postgres: "character varying", text: asItself}}

// digits of whole numbers.
var digits = map[string]int{
	"Int8": 3, "UInt8": 3, "Int16": 5, "UInt16": 5, "Int32": 10, "UInt32": 10, "Int64": 19, "UInt64": 20,
	"Int128": 39, "UInt128": 39, "Int256": 77, "UInt256": 78,
}

// wholes are Postgres's types of whole numbers, from the smallest that takes a type.
var wholes = map[string][]string{
	"Int8": {"smallint", "integer", "bigint"}, "UInt8": {"smallint", "integer", "bigint"}, "Int16": {"smallint", "integer", "bigint"},
	"UInt16": {"integer", "bigint"}, "Int32": {"integer", "bigint"},
	"UInt32": {"bigint"}, "Int64": {"bigint"},
}

// fitsOf lists the types that take a column; the first is the one of a table that is created. There is none for a column
// that holds several values, or that Postgres cannot keep exactly.
func fitsOf(c export.Column) []fit {
	if c.JSON {
		return append([]fit{{postgres: "json", text: asText}, {postgres: "jsonb", text: notHashed}}, textFits...)
	}
	scalar, err := export.NewScalar(c.Type)
	if err != nil {
		return nil
	}
	if count := digits[scalar.Name]; count > 0 {
		var all []fit
		for _, name := range wholes[scalar.Name] {
			all = append(all, fit{postgres: name, text: asText})
		}
		return append(all, fit{postgres: "numeric", text: asNumber, precision: [2]int{count, 0}})
	}
	switch scalar.Name {
	case "Decimal":
		whole, scale := scalar.Number(0, 10), scalar.Number(1, 0)
		return []fit{{postgres: "numeric", text: asNumber, precision: [2]int{whole - scale, scale}}}
	case "Float32":
		return []fit{{postgres: "real", text: asReal}}
	case "Float64":
		return []fit{{postgres: "double precision", text: asDouble}}
	case "Bool":
		return []fit{{postgres: "boolean", text: asBit}}
	case "Date", "Date32":
		return []fit{{postgres: "date", text: asDays}}
	case "DateTime":
		return instants(0)
	case "DateTime64":
		return instants(scalar.Number(0, 3))
	case "UUID":
		return append([]fit{{postgres: "uuid", text: asText}}, textFits...)
	case "IPv4", "IPv6":
		return append([]fit{{postgres: "inet", text: asHost}}, textFits...)
	}
	return textFits
}

// instants take a fraction of a second with so many digits. Postgres keeps six.
func instants(precision int) []fit {
	if precision > 6 {
		return nil
	}
	return []fit{
		{postgres: "timestamp with time zone", text: asMicros, precision: [2]int{0, precision}},
		{postgres: "timestamp without time zone", text: asMicros, precision: [2]int{0, precision}},
	}
}

// takes tells whether a type, as format_type says it, is this one.
func (f fit) takes(kind string) bool {
	if kind == f.postgres {
		return true
	}
	name, rest, found := strings.Cut(kind, "(")
	inner, after, closed := strings.Cut(rest, ")")
	if !found || !closed || name+after != f.postgres {
		return false
	}
	var numbers []int
	for part := range strings.SplitSeq(inner, ",") {
		number, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return false
		}
		numbers = append(numbers, number)
	}
	switch {
	case name == "numeric" && len(numbers) == 2:
		return numbers[1] >= f.precision[1] && numbers[0]-numbers[1] >= f.precision[0]
	case name == "timestamp" && len(numbers) == 1:
		return numbers[0] >= f.precision[1]
	}
	return false
}

// fitOf finds the fit of a column for a type of the target.
func fitOf(c export.Column, kind string) (fit, bool) {
	fits := fitsOf(c)
	i := slices.IndexFunc(fits, func(f fit) bool { return f.takes(kind) })
	if i < 0 {
		return fit{}, false
	}
	return fits[i], true
}

// misfit says what to do about a column of the model that no type of Postgres takes, or none that is there.
func misfit(c export.Column, kind string) string {
	fits := fitsOf(c)
	if len(fits) == 0 {
		return fmt.Sprintf("column %q is ClickHouse's %s, which Postgres does not keep as it is: %s", c.Name, c.Type, remedy(c))
	}
	var names []string
	for _, f := range fits {
		names = append(names, f.postgres)
	}
	return fmt.Sprintf("column %q is %s, and ClickHouse's is %s: make it %s", c.Name, kind, c.Type, strings.Join(names, " or "))
}

func remedy(c export.Column) string {
	if _, err := export.NewScalar(c.Type); err != nil {
		return fmt.Sprintf("select toJSONString(%[1]s) AS %[1]s in the model's query", c.Name)
	}
	return fmt.Sprintf("select toDateTime64(%[1]s, 6, 'UTC') AS %[1]s in the model's query", c.Name)
}
