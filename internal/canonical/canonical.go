// Package canonical writes the hash of a row that ClickHouse and a database both compute: ClickHouse's side of it. The
// other side is each destination's own.
package canonical

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/export"
)

// Hash is the expression that hashes one row's columns as a database can compute it, too: the low 64 bits of the
// MD5 of the row's canonical text, in which each field is its length in bytes, a colon and its text, and a NULL is -. Its
// sum over rows is their hash; see docs/proof.md. Its error is of a column whose type has no such text.
func Hash(columns []export.Column) (string, error) {
	if len(columns) == 0 {
		return "", export.Errorf(export.KindConfig, "no column of the model is left to be compared")
	}
	var fields []string
	for _, column := range columns {
		field, err := text(column)
		if err != nil {
			return "", err
		}
		fields = append(fields, fmt.Sprintf("ifNull(concat(toString(length(%[1]s)), ':', %[1]s), '-')", field))
	}
	// concat takes a lone argument only where its type is a String.
	return "reinterpretAsUInt64(reverse(substring(MD5(concat('', " + strings.Join(fields, ", ") + ")), 9, 8)))", nil
}

// text makes the text of a column's value.
func text(column export.Column) (string, error) {
	scalar, err := export.NewScalar(column.Type)
	if err != nil {
		return "", export.Errorf(export.KindConfig, "column %q: %w", column.Name, err)
	}
	name := export.QuoteName(column.Name)
	switch scalar.Name {
	case "Bool":
		return "toString(toUInt8(" + name + "))", nil
	case "Float32":
		return bits(name, "reinterpretAsUInt32", "7fc00000"), nil
	case "Float64":
		return bits(name, "reinterpretAsUInt64", "7ff8000000000000"), nil
	case "Date", "Date32":
		return "toString(toInt32(" + name + "))", nil
	case "DateTime":
		return "toString(toInt64(toUnixTimestamp(" + name + ")) * 1000000)", nil
	case "DateTime64":
		if scalar.Number(0, 3) > 6 {
			return "", export.Errorf(export.KindConfig, "column %q: %s is finer than a microsecond, which databases do not keep: round it in the model's query, as toDateTime64(…, 6, 'UTC')", column.Name, column.Type)
		}
		return "toString(toUnixTimestamp64Micro(" + name + "))", nil
	}
	return "toString(" + name + ")", nil
}

// bits are the digits of a float's bits. There are many bit patterns that are no number; all have the text of one.
func bits(name, reinterpret, nan string) string {
	return fmt.Sprintf("if(isNaN(%[1]s), '%[3]s', leftPad(lower(hex(%[2]s(%[1]s))), %[4]d, '0'))", name, reinterpret, nan, len(nan))
}
