package destinationtest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/export"
)

// values holds what is easily lost on the way from ClickHouse to a reader who is not of Millrace.
var values = []promise{
	{"nulls are nulls, and what looks like them is none", inEachForm(func(t *testing.T, s Subject, f Form) {
		s.keeps(t, f, tableOf(
			[]string{"text Nullable(String)", "number Nullable(Int64)", "amount Nullable(Decimal(18, 4))", "at Nullable(DateTime64(6, 'UTC'))", "yes Nullable(Bool)", "uid Nullable(UUID)", "word LowCardinality(Nullable(String))"},
			[]string{null, null, null, null, null, null, null},
			[]string{"", "0", "0", "1970-01-01 00:00:00.000001", "false", "00000000-0000-0000-0000-000000000000", ""},
			[]string{`\N`, "-1", "-0.0001", "2026-11-23 10:00:00.999999", "true", "ffffffff-ffff-ffff-ffff-fffffffffffe", "NULL"},
			[]string{"null", null, "1", null, "true", null, `\N`},
			[]string{"NULL", "1", null, "1969-12-31 23:59:59.999999", null, "0192d3f1-0000-7000-8000-000000000000", `\\N`},
		))
	})},
	{"a decimal keeps each of its digits", inEachForm(func(t *testing.T, s Subject, f Form) {
		s.keeps(t, f, tableOf(
			[]string{"price Decimal(9, 2)", "share Decimal(38, 20)", "whole Decimal(76, 0)", "long Decimal(76, 38)"},
			[]string{"-9999999.99", "-999999999999999999.99999999999999999999", "-" + strings.Repeat("9", 76), "-" + strings.Repeat("9", 38) + "." + strings.Repeat("9", 38)},
			[]string{"0.01", "0.00000000000000000001", "1", "0." + strings.Repeat("0", 37) + "1"},
			[]string{"0", "0", "0", "0"},
			[]string{"16777217.01"[1:], "9007199254740993.1", "9007199254740993", "0.1"}, // a float would round these
		))
	})},
	{"an instant keeps its microsecond", inEachForm(func(t *testing.T, s Subject, f Form) {
		s.keeps(t, f, tableOf(
			[]string{"at DateTime64(6, 'UTC')", "near DateTime64(6, 'UTC')"},
			[]string{"1900-01-01 00:00:00.000001", "2026-11-23 10:00:00.000001"},
			[]string{"1969-12-31 23:59:59.999999", "2026-11-23 10:00:00.123456"},
			[]string{"2299-12-31 23:59:59.999999", "2026-11-23 10:59:59.999999"},
		))
	})},
	{"an array is kept, or refused before anything is written", inEachForm(func(t *testing.T, s Subject, f Form) {
		made := tableOf(
			[]string{"tags Array(String)", "counts Array(Nullable(Int64))", "grid Array(Array(Decimal(9, 2)))", "times Array(DateTime64(6, 'UTC'))"},
			[]string{"[]", "[]", "[]", "[]"},
			[]string{`['a','','it\'s, "so"\n']`, "[1,NULL,-9223372036854775808]", "[[1.1,-2.25],[]]", "['1969-12-31 23:59:59.999999']"},
		)
		plan := s.planIn(f, made, false)
		before := s.contents(t)
		_, err := f.Open(t, made.shape()).Prepare(t.Context(), plan)
		if err == nil {
			s.keeps(t, f, made)
			s.learn("arrays", "come back as they were", f)
			return
		}
		kindIs(t, err, export.KindSchema)
		for _, column := range made.columns[2:] {
			for _, said := range []string{column.Name, column.Type, "select toJSONString(" + column.Name + ")"} {
				if !strings.Contains(err.Error(), said) {
					t.Errorf("%q does not name %s", err, said)
				}
			}
		}
		s.sameContents(t, before)
		s.keeps(t, f, made.asJSON(t)) // as the refusal says
		s.learn("arrays", "are refused as `schema` before anything is written, with column, type and what to do; as JSON text they come back", f)
	})},
}

// keeps does a run of the rows, and has them read.
func (s Subject) keeps(t *testing.T, f Form, made table) {
	t.Helper()
	if f.Fit != nil {
		f.Fit(t, made.columns)
	}
	f.reads(t, s.publishIn(t, f, s.planIn(f, made, false), made), made)
}

// asJSON is a table whose arrays are texts, as toJSONString makes them.
func (made table) asJSON(t *testing.T) table {
	t.Helper()
	made.columns = slices.Clone(made.columns)
	for i := range made.columns {
		if strings.HasPrefix(made.columns[i].Type, "Array(") {
			made.columns[i].Type = "String"
		}
	}
	for i, texts := range [][]string{{"[]", "[]", "[]", "[]"}, {`["a","","it's, \"so\"\n"]`, `["1",null,"-9223372036854775808"]`, "[[1.1,-2.25],[]]", `["1969-12-31 23:59:59.999999"]`}} {
		for _, text := range texts {
			if !json.Valid([]byte(text)) {
				t.Fatalf("%s is no JSON", text)
			}
		}
		made.rows[i] = append(slices.Clone(made.rows[i][:2]), pointers(texts...)...)
	}
	return made
}
