package postgres

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// The modes of publishing.
const (
	modeAppend = "append"
	modeMerge  = "merge"
)

// settings is an export's block:
//
//	{"schema": "analytics", "table": "events", "mode": "merge", "create": true}
type settings struct {
	// Schema is where the target and the tables of Millrace are; "public" when left out. It must exist.
	Schema string `json:"schema"`
	// Table is the target; when left out, the model's name.
	Table string `json:"table,omitempty"`
	// Mode is "append" (the default): every row of a run is added; or "merge": a row takes the place of the one with the
	// same key, unless that is newer.
	Mode string `json:"mode"`
	// RunColumn is a column of the target, of text and not of the model, that gets the name of the run and chunk that a row
	// came with; none when left out. For mode append: only with it can a run's rows always be told from all others.
	RunColumn string `json:"run_column,omitempty"`
	// Create makes the target when it is not there.
	Create bool `json:"create"`

	// model is the model's name.
	model string
}

const (
	defaultSchema = "public"
	// maxName is Postgres's: longer names are cut, silently.
	maxName = 63
	// ownPrefix begins the names of the tables that are Millrace's.
	ownPrefix = "millrace_"
)

func readSettings(block json.RawMessage) (settings, error) {
	read := settings{Schema: defaultSchema, Mode: modeAppend}
	if err := destinations.DecodeBlock(block, &read, "schema", "table", "mode", "run_column", "create"); err != nil {
		return settings{}, err
	}
	for field, name := range map[string]string{"schema": read.Schema, "table": read.Table, "run_column": read.RunColumn} {
		if name == "" && field != "schema" {
			continue
		}
		if err := checkName(field, name); err != nil {
			return settings{}, err
		}
	}
	if strings.HasPrefix(read.Table, ownPrefix) {
		return settings{}, export.Errorf(export.KindConfig, "table: %q begins with %q, as Millrace's own tables do: use another name", read.Table, ownPrefix)
	}
	if read.Mode != modeAppend && read.Mode != modeMerge {
		return settings{}, export.Errorf(export.KindConfig, "mode: %q is unknown: use append, or merge for one row for each key", read.Mode)
	}
	if read.RunColumn != "" && read.Mode != modeAppend {
		return settings{}, export.Errorf(export.KindConfig, "run_column: is for mode append: with mode %s a row is whatever run wrote it last; leave it out", read.Mode)
	}
	return read, nil
}

func checkName(field, name string) error {
	switch {
	case name == "":
		return export.Errorf(export.KindConfig, "%s: is empty: leave it out, or give a name", field)
	case len(name) > maxName:
		return export.Errorf(export.KindConfig, "%s: %q is %d bytes long: Postgres takes at most %d", field, name, len(name), maxName)
	case !utf8.ValidString(name), strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
		return export.Errorf(export.KindConfig, "%s: %q has a control character or broken UTF-8: use a plain name", field, name)
	case field == "table" && strings.Contains(name, "."):
		return export.Errorf(export.KindConfig, "table: %q has a dot in it: give the schema in schema, and the table's name alone here", name)
	}
	return nil
}

func normalizeSettings(block json.RawMessage) (json.RawMessage, error) {
	read, err := readSettings(block)
	if err != nil {
		return nil, err
	}
	return destinations.EncodeBlock(read)
}

// table is the target's name.
func (s settings) table() string {
	if s.Table == "" {
		return s.model
	}
	return s.Table
}

// in is the quoted name of a table in the schema.
func (s settings) in(table string) string { return pgx.Identifier{s.Schema, table}.Sanitize() }

func (s settings) target() string { return s.in(s.table()) }
func (s settings) plans() string  { return s.in(ownPrefix + "plans") }
func (s settings) runs() string   { return s.in(ownPrefix + "runs") }

// quoted is a list of column names.
func quoted(names []string) string {
	var all []string
	for _, name := range names {
		all = append(all, pgx.Identifier{name}.Sanitize())
	}
	return strings.Join(all, ", ")
}
