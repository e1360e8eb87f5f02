package export

import (
	"regexp"
	"slices"
	"strings"
)

// Column is a column of a model, as it is exported.
type Column struct {
	// Name is the column's name, in ClickHouse and at a destination with columns of its own.
	Name string `json:"name"`
	// Type is ClickHouse's name of the type.
	Type string `json:"type"`
	// JSON tells that every value of a String is a JSON document.
	JSON bool `json:"json,omitempty"`
}

// EventColumns are the columns of the model `events`, in the order of every file and stream. Where a row came from
// (source, source_offset) is not exported.
func EventColumns() []Column {
	const instant = "DateTime64(6, 'UTC')"
	return []Column{
		{Name: "team_id", Type: "Int64"},
		{Name: "uuid", Type: "UUID"},
		{Name: "event", Type: "String"},
		{Name: "distinct_id", Type: "String"},
		{Name: "timestamp", Type: instant},
		{Name: "properties", Type: "String", JSON: true},
		{Name: "received_at", Type: instant},
		{Name: "inserted_at", Type: instant},
	}
}

func columnOf(columns []Column, name string) (Column, bool) {
	i := slices.IndexFunc(columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return columns[i], true
}

// Structure declares columns as ClickHouse's s3(), url(), file() and input() want them: with it a file reads back to the
// very values that were written. Names that are no plain words are quoted.
func Structure(columns []Column) string {
	var parts []string
	for _, column := range columns {
		parts = append(parts, QuoteName(column.Name)+" "+column.Type)
	}
	return strings.Join(parts, ", ")
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

var nameQuoter = strings.NewReplacer("\\", "\\\\", "`", "\\`")

// QuoteName is a column's name in a query of ClickHouse.
func QuoteName(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return "`" + nameQuoter.Replace(name) + "`"
}
