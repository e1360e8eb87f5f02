package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// DefaultGiveUpAfter bounds the retries of a run, counted from the run's start.
const DefaultGiveUpAfter = Duration(72 * time.Hour)

// Team is whose rows an export takes: one team, or explicitly all. The zero Team is neither, and is refused.
type Team struct {
	// All is true for the team "all".
	All bool
	// ID is the team's number, at least 1; 0 when All.
	ID int64
}

// String is "all" or the team's number.
func (t Team) String() string {
	if t.All {
		return "all"
	}
	return strconv.FormatInt(t.ID, 10)
}

// MarshalJSON writes the number, or "all".
func (t Team) MarshalJSON() ([]byte, error) {
	if t.All {
		return []byte(`"all"`), nil
	}
	return strconv.AppendInt(nil, t.ID, 10), nil
}

// UnmarshalJSON reads a number of at least 1, or "all".
func (t *Team) UnmarshalJSON(data []byte) error {
	if string(data) == `"all"` {
		*t = Team{All: true}
		return nil
	}
	id, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil || id < 1 {
		return Errorf(KindConfig, "team: %s must be a team's number, or \"all\" for every team", data)
	}
	*t = Team{ID: id}
	return nil
}

// Definition is an export as its user wrote it: one block of millrace.yaml, and the input of the Export workflow.
// Besides the fields below it has exactly one block named after the kind of its destination, for example
//
//	"s3": {"prefix": "events", "format": "parquet", "compression": "zstd"}
//
// which only that destination reads. A field that nobody knows is refused.
type Definition struct {
	// Name is the export's identity for ever: lower-case letters, digits and dashes, at most 63 characters.
	Name string `json:"name"`
	// Title is for people and may change at any time.
	Title string `json:"title,omitempty"`
	// Team is whose rows are exported.
	Team Team `json:"team"`
	// Model is what is exported; "events" when left out. In a workflow's input a model of one's own stands here whole.
	Model Model `json:"model,omitzero"`
	// Columns are the columns to export, in this order; all of the model when left out, of `events` all but source and
	// source_offset.
	Columns []string `json:"columns,omitempty"`
	// Filters keep some of the model's rows: those for which every one of them holds.
	Filters []Filter `json:"filters,omitempty"`
	// Connection names a connection of the worker's configuration. Credentials never stand here.
	Connection string `json:"connection"`
	// Every is the length of an interval; see NewGrid for what is allowed.
	Every Duration `json:"every"`
	// Offset shifts the grid; "0s" when left out.
	Offset Duration `json:"offset,omitempty"`
	// TimeZone is the IANA zone of days and weeks; UTC when left out.
	TimeZone string `json:"time_zone,omitempty"`
	// Earlier is how time was cut before Every, Offset or TimeZone were changed, the earliest first. `millrace apply` keeps it.
	Earlier []Earlier `json:"earlier,omitempty"`
	// ChunkRows is about how many rows a chunk holds: 1,000,000 when left out.
	ChunkRows uint64 `json:"chunk_rows,omitempty"`
	// ChunkBytes is about how many bytes of values a chunk holds, before encoding, where its rows are large: 1 GiB when left
	// out. Just one row may be more.
	ChunkBytes uint64 `json:"chunk_bytes,omitempty"`
	// GiveUpAfter bounds the retries of a run; 72h when left out.
	GiveUpAfter Duration `json:"give_up_after,omitempty"`
	// PauseAfter is for how long runs may have failed, by nothing but what the user has to mend, until the export is paused:
	// "24h" when left out, PauseNever for never. See PausesAfter.
	PauseAfter string `json:"pause_after,omitempty"`
	// Proof is the level of proof before a run is published: ProofReadback, also when left out, or ProofStream.
	Proof string `json:"proof,omitempty"`
	// Order is OrderStrict for readers who take files as they appear: see InOrder. Left out, files appear in any order, and the
	// manifest alone tells which of them are the interval.
	Order string `json:"order,omitempty"`

	// Destination is the kind of the destination, the name of its block ("s3").
	Destination string `json:"-"`
	// Settings is that block as it was written.
	Settings json.RawMessage `json:"-"`
}

// OrderStrict has the files of an export appear in the order of intervals, and within one of chunks.
const OrderStrict = "strict"

// InOrder tells whether the files of a run have to appear in their order. A later revision stands in a place of its own, for
// it comes too late for any order.
func (d Definition) InOrder(run Run) bool {
	return d.Order == OrderStrict && run.Revision == FirstRevision
}

// plainDefinition has the fields of Definition without its methods.
type plainDefinition Definition

// MarshalJSON writes the definition's fields and the destination's block side by side.
func (d Definition) MarshalJSON() ([]byte, error) { return marshalDefinition(d, inputOfRun{}) }

// UnmarshalJSON reads what MarshalJSON writes and refuses fields that nobody knows.
func (d *Definition) UnmarshalJSON(data []byte) error {
	var run inputOfRun
	if err := unmarshalDefinition(data, d, &run); err != nil {
		return err
	}
	if run != (inputOfRun{}) {
		return Errorf(KindConfig, "export %q: %s belong to a run, not to a definition", d.Name, strings.Join(runFields, ", "))
	}
	return nil
}

func marshalDefinition(d Definition, run inputOfRun) ([]byte, error) {
	var blocks [][]byte
	for _, part := range []any{plainDefinition(d), run} {
		encoded, err := json.Marshal(part)
		if err != nil {
			return nil, fmt.Errorf("encode definition of %q: %w", d.Name, err)
		}
		if inner := bytes.Trim(encoded, "{}"); len(inner) > 0 {
			blocks = append(blocks, encoded[1:len(encoded)-1])
		}
	}
	if d.Destination != "" {
		settings := d.Settings
		if len(settings) == 0 {
			settings = json.RawMessage("{}")
		}
		blocks = append(blocks, fmt.Appendf(nil, "%q:%s", d.Destination, settings))
	}
	return append(append([]byte{'{'}, bytes.Join(blocks, []byte{','})...), '}'), nil
}

var definitionFields = []string{
	"name", "title", "team", "model", "columns", "filters", "connection", "every", "offset", "time_zone", "earlier", "chunk_rows", "chunk_bytes", "give_up_after", "pause_after", "proof", "order",
}

func unmarshalDefinition(data []byte, d *Definition, run *inputOfRun) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		var other *json.UnmarshalTypeError
		if errors.As(err, &other) {
			return Errorf(KindConfig, "definition must be a JSON object, such as {\"name\": \"shop-events\", …}, not %s", other.Value)
		}
		return Errorf(KindConfig, "definition is not a JSON object: %w", err)
	}
	var plain plainDefinition
	if err := json.Unmarshal(data, &plain); err != nil {
		return definitionError(fields, err)
	}
	if err := json.Unmarshal(data, run); err != nil {
		return Errorf(KindConfig, "start, end and redo_before must be RFC 3339 times such as \"2026-11-23T10:00:00Z\": %w", err)
	}
	var unknown []string
	for name := range fields {
		if !slices.Contains(definitionFields, name) && !slices.Contains(runFields, name) {
			unknown = append(unknown, name)
		}
	}
	sort.Strings(unknown)
	var blocks []string
	for _, name := range unknown {
		if bytes.HasPrefix(bytes.TrimSpace(fields[name]), []byte("{")) {
			blocks = append(blocks, name)
			continue
		}
		return Errorf(KindConfig, "export %q: unknown field %q: the fields are %s, start, end and redo_before in a run's input, and one block named after the destination, such as \"s3\"",
			plain.Name, name, strings.Join(definitionFields, ", "))
	}
	switch len(blocks) {
	case 0:
		return Errorf(KindConfig, "export %q: the destination's block is missing: add one, for example \"s3\": {\"prefix\": \"events\"}", plain.Name)
	case 1:
		plain.Destination, plain.Settings = blocks[0], fields[blocks[0]]
	default:
		return Errorf(KindConfig, "export %q: has the blocks %s, but an export has one destination", plain.Name, strings.Join(blocks, ", "))
	}
	*d = Definition(plain)
	return nil
}

// definitionError says in which export a field could not be read.
func definitionError(fields map[string]json.RawMessage, err error) error {
	name := strings.Trim(string(fields["name"]), `"`)
	return Errorf(KindConfig, "export %q: %w", name, err)
}

var definitionName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// WithDefaults fills in what the user left out.
func (d Definition) WithDefaults() Definition {
	if d.Model.Name == "" {
		d.Model.Name = ModelEvents
	}
	if d.GiveUpAfter == 0 {
		d.GiveUpAfter = DefaultGiveUpAfter
	}
	if d.ChunkRows == 0 {
		d.ChunkRows = DefaultChunkRows
	}
	if d.ChunkBytes == 0 {
		d.ChunkBytes = DefaultChunkBytes
	}
	if d.Proof == "" {
		d.Proof = ProofReadback
	}
	return d
}

// Validate says what is wrong with a definition that has its defaults, or nil. The destination's block is checked by
// the destination.
func (d Definition) Validate() error {
	prefix := fmt.Sprintf("export %q: ", d.Name)
	switch {
	case !definitionName.MatchString(d.Name) || strings.Contains(d.Name, "--"):
		return Errorf(KindConfig, "name: %q must be 1 to 63 lower-case letters, digits and single dashes, beginning and ending with a letter or digit", d.Name)
	case d.Team == Team{}:
		return Errorf(KindConfig, "%steam is missing: give a team's number, or \"all\" for every team", prefix)
	case d.Connection == "":
		return Errorf(KindConfig, "%sconnection is missing: name one of the connections in the worker's configuration", prefix)
	case d.Every == 0:
		return Errorf(KindConfig, "%severy is missing: give the length of an interval, such as \"1h\"", prefix)
	case d.GiveUpAfter < Duration(time.Minute):
		return Errorf(KindConfig, "%sgive_up_after: %q must be at least \"1m\"", prefix, d.GiveUpAfter)
	case d.ChunkRows < minChunkRows:
		return Errorf(KindConfig, "%schunk_rows: %d must be at least %d", prefix, d.ChunkRows, minChunkRows)
	case d.ChunkBytes < minChunkBytes:
		return Errorf(KindConfig, "%schunk_bytes: %d must be at least %d", prefix, d.ChunkBytes, minChunkBytes)
	case d.Proof != ProofReadback && d.Proof != ProofStream:
		return Errorf(KindConfig, "%sproof: %q is unknown: use %q, or %q to leave out reading back", prefix, d.Proof, ProofReadback, ProofStream)
	case d.Order != "" && d.Order != OrderStrict:
		return Errorf(KindConfig, "%sorder: %q is unknown: use %q, or leave it out where nobody takes files as they appear", prefix, d.Order, OrderStrict)
	case d.Destination == "":
		return Errorf(KindConfig, "%sthe destination's block is missing: add one, for example \"s3\": {\"prefix\": \"events\"}", prefix)
	}
	_, err := d.Grid()
	_, _, paused := d.PausesAfter()
	for _, err := range []error{err, paused, d.Model.Validate(), validateFilters(d.Filters), d.validateColumns()} {
		if err != nil {
			return Errorf(KindConfig, "%s%w", prefix, err)
		}
	}
	return nil
}

// validateColumns checks what can be told without ClickHouse: of a model of one's own only its plan knows the columns.
func (d Definition) validateColumns() error {
	if !d.Team.All && !d.Model.BuiltIn() && d.Model.Team == "" {
		return Errorf(KindConfig, "team: %s is asked for, and model %q does not say whose a row is: name the column with the team's number in the model's team, or export the team \"all\"", d.Team, d.Model.Name)
	}
	seen := map[string]bool{}
	for _, name := range d.Columns {
		if seen[name] {
			return Errorf(KindConfig, "columns: %q is there twice: name each column once", name)
		}
		seen[name] = true
	}
	if all := d.Model.All(); len(all) > 0 {
		_, err := d.Exported()
		if err == nil {
			for _, filter := range d.Filters {
				if _, found := columnOf(all, filter.Column); !found {
					err = noColumn("filters", filter.Column, all)
				}
			}
		}
		return err
	}
	return nil
}

// Exported are the columns to export, in their order. Of a model of one's own they are known once the definition is a
// plan's.
func (d Definition) Exported() ([]Column, error) {
	if len(d.Columns) == 0 {
		if d.Model.BuiltIn() {
			return EventColumns(), nil
		}
		return d.Model.Columns, nil
	}
	var exported []Column
	for _, name := range d.Columns {
		column, found := columnOf(d.Model.All(), name)
		if !found {
			return nil, noColumn("columns", name, d.Model.All())
		}
		exported = append(exported, column)
	}
	return exported, nil
}

func noColumn(field, name string, all []Column) error {
	var names []string
	for _, column := range all {
		names = append(names, column.Name)
	}
	return Errorf(KindConfig, "%s: %q is no column of the model: its columns are %s", field, name, strings.Join(names, ", "))
}

// Grid is the definition's grid.
func (d Definition) Grid() (Grid, error) {
	grid, err := NewGrid(d.Every, d.Offset, d.TimeZone)
	if err != nil {
		return grid, err
	}
	return grid.withEarlier(d.Earlier)
}

// Hash is the definition's fingerprint, over what changes rows or bytes and nothing else: team, model, columns, filters,
// order and the destination's block. How ClickHouse describes the model's columns is not covered: the plan says it. The block is taken as it stands here, so let the destination normalise it first.
func (d Definition) Hash() string {
	var settings any
	// Settings came out of a JSON object, so they decode; through a map their keys are sorted.
	_ = json.Unmarshal(d.Settings, &settings)
	model := d.Model
	model.Columns = nil
	covered := map[string]any{"team": d.Team, "model": model, "destination": d.Destination, "settings": settings}
	if len(d.Columns) > 0 {
		covered["columns"] = d.Columns
	}
	if len(d.Filters) > 0 {
		covered["filters"] = d.Filters
	}
	if d.Order != "" {
		covered["order"] = d.Order
	}
	encoded, err := json.Marshal(covered)
	if err != nil {
		panic(fmt.Sprintf("encode definition of %q: %v", d.Name, err)) // plain data: cannot happen
	}
	return fingerprint(encoded)
}

// fingerprint is the first 128 bits of SHA-256, in hex: short enough for a receipt, long enough never to collide.
func fingerprint(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}
