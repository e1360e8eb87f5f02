package export

import (
	"fmt"
	"slices"
	"strings"
)

// lossy are types whose values a format of files does not give back as they were, or which ClickHouse does not write in
// it, wherever they stand in a column's type; each with what to select instead of a column that is one. Found out by
// eventstore's test of types, which holds this table.
var lossy = []struct {
	kind    string
	formats []Format
	instead string
}{
	{"AggregateFunction", []Format{FormatParquet, FormatArrow}, "finalizeAggregation(%s)"},
	{"BFloat16", []Format{FormatParquet, FormatArrow}, "toFloat32(%s)"},
	{"Dynamic", []Format{FormatParquet, FormatArrow}, "toString(%s)"},
	{"Interval", []Format{FormatParquet}, "toString(%s)"},
	{"Nested", []Format{FormatJSONEachRow, FormatCSV}, "toJSONString(%s)"},
	{"QBit", []Format{FormatParquet, FormatArrow}, "toJSONString(%s)"},
	{"Time", []Format{FormatParquet, FormatArrow}, "toString(%s)"},
	{"Time64", []Format{FormatParquet}, "toString(%s)"},
	{"Variant", []Format{FormatParquet}, "toString(%s)"},
}

// Keeps holds columns against a format of files. The error, of kind schema, names each column whose values would not come
// back as they are, its type, and what to select instead.
func (f Format) Keeps(columns []Column) error {
	var wrong []string
	for _, column := range columns {
		for _, one := range lossy {
			names := typeNames(column.Type)
			if !slices.Contains(one.formats, f) || !slices.Contains(names, one.kind) {
				continue
			}
			instead := one.instead
			if bare := names[0] == one.kind || names[0] == "Nullable" && names[1] == one.kind; !bare {
				instead = "toJSONString(%s)"
			}
			name := QuoteName(column.Name)
			wrong = append(wrong, fmt.Sprintf("column %q is %s: select %s AS %s in the model's query, or use another format", column.Name, column.Type, fmt.Sprintf(instead, name), name))
			break
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return Errorf(KindSchema, "format %s does not keep the model's columns as they are: %s", f, strings.Join(wrong, "; "))
}

// typeNames are the names of types in a type as ClickHouse writes it, from the outside in: not the names of a Tuple's
// elements, which a space and a type follow, and nothing within quotes. The kinds of Interval are one.
func typeNames(kind string) []string {
	var names []string
	for i := 0; i < len(kind); i++ {
		c := kind[i]
		if strings.IndexByte("'`\"", c) >= 0 {
			for i++; i < len(kind) && kind[i] != c; i++ {
				if kind[i] == '\\' {
					i++
				}
			}
			continue
		}
		if !isLetter(c) {
			continue
		}
		end := i
		for end < len(kind) && (isLetter(kind[end]) || kind[end] >= '0' && kind[end] <= '9') {
			end++
		}
		if end == len(kind) || kind[end] != ' ' {
			name := kind[i:end]
			if strings.HasPrefix(name, "Interval") {
				name = "Interval"
			}
			names = append(names, name)
		}
		i = end - 1
	}
	return names
}

func isLetter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
