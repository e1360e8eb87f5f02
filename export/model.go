package export

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// ModelEvents is the name of the built-in model: the rows of the events table.
const ModelEvents = "events"

// The parameters of a model's query that carry the bounds of the interval [start, end). They are bound as numbers of
// seconds since 1970, so a query declares them as any kind of time: {interval_start:DateTime64(6)}.
const (
	ParameterStart = "interval_start"
	ParameterEnd   = "interval_end"
)

// Model is what is exported: a named query with an arrival column, a key, and, where rows change, a version column.
//
// The built-in model `events` is its name alone, and that is how it stands in JSON: "events". A model of one's own is an
// object there, whole, so that a run's history and plan explain themselves; in millrace.yaml it stands under models:, and
// an export names it.
type Model struct {
	// Name is 1 to 63 lower-case letters, digits, underscores and dashes; "events" is the built-in model's.
	Name string `json:"name"`
	// Query is one SELECT of ClickHouse, without a semicolon. The bounds of the interval are bound to the parameters
	// ParameterStart and ParameterEnd. It may use them, so that it reads no more than it must; rows outside of the interval
	// are left out in any case. Asked twice about an interval that is closed it must give the same rows: no now(), no rand().
	Query string `json:"query,omitempty"`
	// Arrival is the column that intervals are cut by: a DateTime, or a DateTime64 of at most 6 digits, never NULL.
	Arrival string `json:"arrival,omitempty"`
	// Key is the columns by which a row is told from all others. Where many rows have one arrival time, chunks are cut by it.
	Key []string `json:"key,omitempty"`
	// Version is the column that is greater in the newer of two rows of one key; empty when rows never change, and then a
	// destination can only append.
	Version string `json:"version,omitempty"`
	// Team is the column with the number of the team; empty when the rows are nobody's, and then only the team "all" may
	// export them.
	Team string `json:"team,omitempty"`
	// Settle is how long after its end an interval of a table that Millrace does not load is taken for complete, by
	// ClickHouse's clock: nobody may write rows with an arrival time that is older.
	Settle Duration `json:"settle,omitempty"`
	// Watermark says instead that the query reads nothing but Millrace's own tables, whose watermark tells when an interval
	// is complete. Just one of Settle and Watermark is given.
	Watermark bool `json:"watermark,omitempty"`
	// Columns are the query's columns, as ClickHouse describes them. A plan has them; nobody writes them by hand.
	Columns []Column `json:"columns,omitempty"`
}

// plainModel has the fields of Model without its methods.
type plainModel Model

var modelFields = []string{"name", "query", "arrival", "key", "version", "team", "settle", "watermark", "columns"}

// BuiltIn is true for a model that is known by its name alone.
func (m Model) BuiltIn() bool { return m.Query == "" }

// String is the model's name.
func (m Model) String() string { return m.Name }

// MarshalJSON writes a built-in model as its name, and another whole.
func (m Model) MarshalJSON() ([]byte, error) {
	if m.BuiltIn() {
		return json.Marshal(m.Name)
	}
	return json.Marshal(plainModel(m))
}

// UnmarshalJSON reads what MarshalJSON writes and refuses fields that nobody knows.
func (m *Model) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		*m = Model{}
		return json.Unmarshal(data, &m.Name)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return Errorf(KindConfig, "model: must be the name of a model, such as \"events\", or a model whole")
	}
	var plain plainModel
	if err := json.Unmarshal(data, &plain); err != nil {
		return Errorf(KindConfig, "model: %w", err)
	}
	for field := range fields {
		if !slices.Contains(modelFields, field) {
			return Errorf(KindConfig, "model %q: unknown field %q: the fields are %s", plain.Name, field, strings.Join(modelFields, ", "))
		}
	}
	if plain.Query == "" {
		return Errorf(KindConfig, "model %q: query is missing: give one SELECT with the columns to export", plain.Name)
	}
	*m = Model(plain)
	return nil
}

var modelName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$`)

// Validate says what is wrong with a model, as far as that can be told without ClickHouse, or nil.
func (m Model) Validate() error {
	if m.BuiltIn() {
		if m.Name != ModelEvents {
			return Errorf(KindConfig, "model: %q is a name alone, and the only model of that kind is %q: in millrace.yaml add it under models:; in a workflow's input give the model whole, with its query", m.Name, ModelEvents)
		}
		return nil
	}
	wrong := func(format string, args ...any) error {
		return Errorf(KindConfig, "model %q: %w", m.Name, Errorf(KindConfig, format, args...))
	}
	switch {
	case !modelName.MatchString(m.Name):
		return Errorf(KindConfig, "model: name: %q must be 1 to 63 lower-case letters, digits, underscores and dashes, beginning and ending with a letter or digit", m.Name)
	case m.Name == ModelEvents:
		return wrong("name: is the built-in model's: choose another")
	case strings.Contains(m.Query, ";"):
		return wrong("query: has a semicolon in it: give one SELECT without; a semicolon in a text can be written char(59)")
	case m.Arrival == "":
		return wrong("arrival is missing: name the column that intervals are cut by, such as \"updated_at\"")
	case len(m.Key) == 0:
		return wrong("key is missing: name the columns by which a row is told from all others, such as [\"id\"]")
	case m.Settle != 0 && m.Watermark:
		return wrong("settle and watermark are both given: settle is for tables that others load, watermark: true for Millrace's own")
	case m.Settle == 0 && !m.Watermark:
		return wrong("settle is missing: say how long after its end an interval is complete, such as \"10m\": whoever loads the table must be that fast; for Millrace's own tables say watermark: true instead")
	case m.Settle < 0:
		return wrong("settle: %q must not be negative", m.Settle)
	}
	seen := map[string]bool{}
	for _, name := range m.Key {
		if name == "" || seen[name] {
			return wrong("key: %q is empty or there twice: name each column once", name)
		}
		seen[name] = true
	}
	return nil
}

// Order tells by what two rows of one key are told newer: Version, or for `events` the arrival time.
func (m Model) Order() string {
	if m.BuiltIn() {
		return "inserted_at"
	}
	return m.Version
}

// Identity is the columns of the key: for `events` team and uuid.
func (m Model) Identity() []string {
	if m.BuiltIn() {
		return []string{"team_id", "uuid"}
	}
	return m.Key
}

// All are all columns that the model has: the built-in model's with those that are exported only when they are asked for,
// and another's as its plan describes them.
func (m Model) All() []Column {
	if m.BuiltIn() {
		return append(EventColumns(), Column{Name: "source", Type: "LowCardinality(String)"}, Column{Name: "source_offset", Type: "UInt64"})
	}
	return m.Columns
}

// TeamColumn is the column with the number of the team, or "" when rows are nobody's.
func (m Model) TeamColumn() string {
	if m.BuiltIn() {
		return "team_id"
	}
	return m.Team
}

// ArrivalColumn is the column that intervals are cut by.
func (m Model) ArrivalColumn() string {
	if m.BuiltIn() {
		return "inserted_at"
	}
	return m.Arrival
}
