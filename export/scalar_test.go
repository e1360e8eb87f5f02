package export

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTypesAreReadAsClickHouseWritesThem(t *testing.T) {
	for name, want := range map[string]Scalar{
		"String":                           {Name: "String"},
		"Nullable(Int64)":                  {Name: "Int64", Nullable: true},
		"LowCardinality(String)":           {Name: "String"},
		"LowCardinality(Nullable(String))": {Name: "String", Nullable: true},
		"DateTime64(6, 'UTC')":             {Name: "DateTime64", Args: []string{"6", "'UTC'"}},
		"Nullable(Decimal(18, 4))":         {Name: "Decimal", Args: []string{"18", "4"}, Nullable: true},
		`Enum8('a, b' = 1, 'it\'s)' = 2)`:  {Name: "Enum8", Args: []string{"'a, b' = 1", `'it\'s)' = 2`}},
	} {
		if got, err := NewScalar(name); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s is read as %+v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "Array(String)", "Nullable(Array(Int8))", "Tuple(a Int8, b String)", "Map(String, String)", "JSON", "Decimal(18, 4", "AggregateFunction(sum, Int8)"} {
		if got, err := NewScalar(name); KindOf(err) != KindConfig {
			t.Errorf("%q is read as %+v, %v", name, got, err)
		}
	}
}
