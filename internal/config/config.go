// Package config reads what people configure: millrace.yaml (teams, connections, exports) and the environment (the
// addresses of the outside world). Secrets are references in the file and are resolved only when a connection is
// used.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace/millrace/export"
)

// Config is one millrace.yaml, read and checked. It does not change after Load and may be used from any goroutine.
type Config struct {
	// Teams are the tenants whose clients may send events.
	Teams []Team
	// Exports are the definitions as written, without defaults. They passed Definition.Validate; the destination's block
	// is checked by destinations.Normalize.
	// One with a model of this file has it whole.
	Exports []export.Definition
	// Models are the models of the user's own.
	Models []export.Model
	// Reconcile is how each export is reconciled once a day; nil when none is.
	Reconcile *export.Nightly
	// Backfills is how much the runs of the past may take.
	Backfills Backfills

	connections []connection
	source      source
}

// Team is a tenant.
type Team struct {
	// ID is the team's number, at least 1, and never used for another team again: rows carry it.
	ID int64 `json:"id"`
	// Name is for people.
	Name string `json:"name"`
	// Token is the project token that clients send with events. It is no secret, for it stands in web pages; it only
	// says which team is meant.
	Token string `json:"token"`
}

// connection is one destination system; its block still holds references instead of secrets.
type connection struct {
	name  string
	kind  string
	block json.RawMessage
}

// Load reads the file at path: YAML, or JSON of the same shape. Every error names the file, the line where it is
// known, the path of the field, and what to do.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, export.Errorf(export.KindConfig, "%s: there is no such file: name one with --config or %s; examples/millrace.yaml is one to copy", path, VarConfig)
	case err != nil:
		return nil, export.Errorf(export.KindConfig, "read configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads the content of a file. Its path is for messages, and relative file: references start from its folder.
func Parse(path string, data []byte) (*Config, error) {
	source, err := newSource(path, data)
	if err != nil {
		return nil, err
	}
	config := &Config{source: source}
	var sections struct {
		Teams       []json.RawMessage `json:"teams"`
		Models      []json.RawMessage `json:"models"`
		Connections []json.RawMessage `json:"connections"`
		Exports     []json.RawMessage `json:"exports"`
		Backfills   json.RawMessage   `json:"backfills"`
		Reconcile   json.RawMessage   `json:"reconcile"`
	}
	if err := source.decode(source.json, &sections, ""); err != nil {
		return nil, err
	}
	for i, raw := range sections.Teams {
		if err := config.addTeam(raw, field("").key("teams").index(i)); err != nil {
			return nil, err
		}
	}
	for i, raw := range sections.Models {
		if err := config.addModel(raw, field("").key("models").index(i)); err != nil {
			return nil, err
		}
	}
	for i, raw := range sections.Connections {
		if err := config.addConnection(raw, field("").key("connections").index(i)); err != nil {
			return nil, err
		}
	}
	for i, raw := range sections.Exports {
		if err := config.addExport(raw, field("").key("exports").index(i)); err != nil {
			return nil, err
		}
	}
	if err := config.setReconcile(sections.Reconcile); err != nil {
		return nil, err
	}
	return config, config.setBackfills(sections.Backfills)
}

// Export finds a definition by name; its error lists the names there are.
func (c *Config) Export(name string) (export.Definition, error) {
	i := slices.IndexFunc(c.Exports, func(d export.Definition) bool { return d.Name == name })
	if i < 0 {
		var names []string
		for _, d := range c.Exports {
			names = append(names, d.Name)
		}
		return export.Definition{}, export.Errorf(export.KindConfig, "export %q is not in %s: %s", name, c.source.path, listed("the exports there are", names))
	}
	return c.Exports[i], nil
}

func (c *Config) addTeam(raw json.RawMessage, at field) error {
	var team Team
	if err := c.source.decode(raw, &team, at); err != nil {
		return err
	}
	switch {
	case team.ID < 1:
		return c.source.errorf(at.key("id"), "%d must be a number of at least 1, of this team alone for ever", team.ID)
	case team.Name == "":
		return c.source.errorf(at.key("name"), "is missing: give the team a name for people")
	case team.Token == "":
		return c.source.errorf(at.key("token"), "is missing: give the token that the team's clients send, such as \"mr_%s\"", team.Name)
	}
	for i, other := range c.Teams {
		there := field("").key("teams").index(i)
		switch {
		case other.ID == team.ID:
			return c.source.errorf(at.key("id"), "%d is the id of %s (%q) already: every team needs its own", team.ID, there, other.Name)
		case other.Name == team.Name:
			return c.source.errorf(at.key("name"), "%q is the name of %s already: every team needs its own", team.Name, there)
		case other.Token == team.Token:
			return c.source.errorf(at.key("token"), "is the token of %s (%q) already: every team needs its own, or events could not be told apart", there, other.Name)
		}
	}
	c.Teams = append(c.Teams, team)
	return nil
}

func (c *Config) addExport(raw json.RawMessage, at field) error {
	var definition export.Definition
	if err := json.Unmarshal(raw, &definition); err != nil {
		return c.source.errorf(at, "%w", err)
	}
	if err := c.takeModel(&definition); err != nil {
		return c.source.errorf(at.key("model"), "%w", err)
	}
	if err := definition.WithDefaults().Validate(); err != nil {
		return c.source.errorf(at, "%w", err)
	}
	for i, other := range c.Exports {
		if other.Name == definition.Name {
			return c.source.errorf(at.key("name"), "%q is the name of %s already: an export's name is its identity for ever, choose another", definition.Name, field("").key("exports").index(i))
		}
	}
	if err := c.checkReferences(definition, at); err != nil {
		return err
	}
	c.Exports = append(c.Exports, definition)
	return nil
}

func (c *Config) addModel(raw json.RawMessage, at field) error {
	var model export.Model
	if err := json.Unmarshal(raw, &model); err != nil {
		return c.source.errorf(at, "%w", err)
	}
	if model.BuiltIn() {
		return c.source.errorf(at, "%q is a name alone: give name, query, arrival, key, and settle or watermark", model.Name)
	}
	if len(model.Columns) > 0 {
		return c.source.errorf(at.key("columns"), "are what ClickHouse says of the query: leave them out here; an export's columns choose among them")
	}
	if err := model.Validate(); err != nil {
		return c.source.errorf(at, "%w", err)
	}
	for i, other := range c.Models {
		if other.Name == model.Name {
			return c.source.errorf(at.key("name"), "%q is the name of %s already: choose another", model.Name, field("").key("models").index(i))
		}
	}
	c.Models = append(c.Models, model)
	return nil
}

// takeModel puts the model that an export names into it.
func (c *Config) takeModel(definition *export.Definition) error {
	name := definition.Model.Name
	if !definition.Model.BuiltIn() || name == "" || name == export.ModelEvents {
		return nil
	}
	names := []string{export.ModelEvents}
	for _, model := range c.Models {
		if model.Name == name {
			definition.Model = model
			return nil
		}
		names = append(names, model.Name)
	}
	return export.Errorf(export.KindConfig, "%q is no model: the models are %s; add it under models", name, strings.Join(names, ", "))
}

// checkReferences finds exports of teams and connections that are not there. A file without any teams or connections
// is for apply alone, and then only the worker can tell.
func (c *Config) checkReferences(definition export.Definition, at field) error {
	team := definition.Team
	if len(c.Teams) > 0 && !team.All && !slices.ContainsFunc(c.Teams, func(t Team) bool { return t.ID == team.ID }) {
		var ids []string
		for _, t := range c.Teams {
			ids = append(ids, fmt.Sprintf("%d (%s)", t.ID, t.Name))
		}
		return c.source.errorf(at.key("team"), "%d is no team of this file: %s", team.ID, listed("the teams are", ids))
	}
	if len(c.connections) == 0 {
		return nil
	}
	found, err := c.connection(definition.Connection)
	if err != nil {
		return c.source.errorf(at.key("connection"), "%w", err)
	}
	if found.kind != definition.Destination {
		return c.source.errorf(at.key(definition.Destination), "the connection %q is of kind %q: name the block %q, or take a connection of kind %q",
			found.name, found.kind, found.kind, definition.Destination)
	}
	return nil
}

// folder is where relative file: references start.
func (c *Config) folder() string { return filepath.Dir(c.source.path) }
