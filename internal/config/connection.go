package config

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/export"
)

// Connection gives the kind of a connection and its block with every reference replaced by what it refers to now, so
// that a rotated file is seen at the next call. The block holds secrets: it goes to destinations.Kind.Open and nowhere
// else. Errors are of kind config and name the field and the reference, never a value. Safe for concurrent use.
func (c *Config) Connection(name string) (kind string, block json.RawMessage, err error) {
	found, err := c.connection(name)
	if err != nil {
		return "", nil, err
	}
	var content any
	if err := json.Unmarshal(found.block, &content); err != nil {
		return "", nil, export.Errorf(export.KindInternal, "read connection %q: %w", name, err)
	}
	resolved, err := c.resolve(content, field(found.kind))
	if err != nil {
		return "", nil, export.Errorf(export.KindConfig, "connection %q: %w", name, err)
	}
	block, err = json.Marshal(resolved)
	if err != nil {
		return "", nil, export.Errorf(export.KindInternal, "encode connection %q", name)
	}
	return found.kind, block, nil
}

// ConnectionNames lists the connections in the order of the file.
func (c *Config) ConnectionNames() []string {
	var names []string
	for _, connection := range c.connections {
		names = append(names, connection.name)
	}
	return names
}

// ConnectionBlock gives the kind of a connection and its block as written, references and all, for
// destinations.Kind.NormalizeConnection. It holds no secret.
func (c *Config) ConnectionBlock(name string) (kind string, block json.RawMessage, err error) {
	found, err := c.connection(name)
	if err != nil {
		return "", nil, err
	}
	return found.kind, slices.Clone(found.block), nil
}

func (c *Config) connection(name string) (connection, error) {
	i := slices.IndexFunc(c.connections, func(other connection) bool { return other.name == name })
	if i < 0 {
		return connection{}, export.Errorf(export.KindConfig, "connection %q is not in %s: %s", name, c.source.path, listed("the connections there are", c.ConnectionNames()))
	}
	return c.connections[i], nil
}

// addConnection reads a name and exactly one block, named after the kind of the destination.
func (c *Config) addConnection(raw json.RawMessage, at field) error {
	var parts map[string]json.RawMessage
	if err := c.source.decode(raw, &parts, at); err != nil {
		return err
	}
	var added connection
	if err := c.source.decode(parts["name"], &added.name, at.key("name")); err != nil {
		return err
	}
	if added.name == "" {
		return c.source.errorf(at.key("name"), "is missing: exports name a connection by it")
	}
	delete(parts, "name")
	kinds := slices.Sorted(maps.Keys(parts))
	for _, kind := range kinds {
		if !strings.HasPrefix(string(parts[kind]), "{") {
			return c.source.errorf(at.key(kind), "unknown field %q: a connection has a name, and one block named after its destination, such as \"s3\"", kind)
		}
	}
	switch len(kinds) {
	case 0:
		return c.source.errorf(at, "connection %q has no destination: add one block named after it, such as \"s3: {bucket: lake}\"", added.name)
	case 1:
	default:
		return c.source.errorf(at, "connection %q has the blocks %s, but a connection is one destination: make it %d connections", added.name, strings.Join(kinds, ", "), len(kinds))
	}
	added.kind, added.block = kinds[0], parts[kinds[0]]
	for i, other := range c.connections {
		if other.name == added.name {
			return c.source.errorf(at.key("name"), "%q is the name of %s already: choose another", added.name, field("").key("connections").index(i))
		}
	}
	var content any
	if err := json.Unmarshal(added.block, &content); err != nil {
		return c.source.errorf(at.key(added.kind), "%w", err)
	}
	if err := c.checkSecrets(content, at.key(added.kind), false); err != nil {
		return err
	}
	c.connections = append(c.connections, added)
	return nil
}
