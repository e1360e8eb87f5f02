package export

import (
	"strings"
	"testing"
)

func TestTypeNamesAreReadFromTheOutsideIn(t *testing.T) {
	for kind, want := range map[string]string{
		"Int64": "Int64",
		"Array(Tuple(Time Int64, `Time (` Nullable(Time64(6)), e Enum8('Time)\\'' = 1, 'x' = 2)))": "Array Tuple Int64 Nullable Time64 Enum8",
		"Map(LowCardinality(String), IntervalDay)":                                                 "Map LowCardinality String Interval",
		"DateTime64(6, 'UTC')": "DateTime64",
	} {
		if got := strings.Join(typeNames(kind), " "); got != want {
			t.Errorf("%s has the names %s, want %s", kind, got, want)
		}
	}
}

func TestAFormatRefusesWhatItDoesNotKeep(t *testing.T) {
	columns := []Column{{Name: "Time", Type: "DateTime"}, {Name: "at", Type: "Nullable(Time)"}, {Name: "odd name", Type: "Array(Variant(Int64, String))"}, {Name: "t", Type: "Tuple(Time Int64)"}}
	err := FormatParquet.Keeps(columns)
	want := "format parquet does not keep the model's columns as they are: column \"at\" is Nullable(Time): select toString(at) AS at in the model's query, or use another format; " +
		"column \"odd name\" is Array(Variant(Int64, String)): select toJSONString(`odd name`) AS `odd name` in the model's query, or use another format"
	if err == nil || err.Error() != want || KindOf(err) != KindSchema {
		t.Errorf("got %v (%s), want %s", err, KindOf(err), want)
	}
	if err := FormatCSV.Keeps(columns); err != nil {
		t.Error(err)
	}
}
