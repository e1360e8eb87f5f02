package export

// Column is a column of a model, as it is exported.
type Column struct {
	// Name is the column's name, in ClickHouse and at a destination with columns of its own.
	Name string
	// Type is ClickHouse's name of the type.
	Type string
	// JSON tells that every value of a String is a JSON document.
	JSON bool
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
