// Package activities has the steps of the workflows that touch the world: ClickHouse, the destination, the ledger.
// Every step may be killed at any instruction and run again, elsewhere, beside its own zombie, to the same effect.
package activities

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

// Connections resolves a connection's name by the worker's configuration. Secrets are resolved at each call, so that
// one that was rotated is seen, and never leave the worker.
type Connections interface {
	// Connection gives the kind of the destination and its block with all references resolved.
	Connection(name string) (kind string, block json.RawMessage, err error)
}

// Steps holds what the activities need. It is safe for concurrent use.
type Steps struct {
	// Events is the event store that is exported from, and where the ledger is.
	Events *eventstore.Store
	// Connections resolves names of connections.
	Connections Connections
	// Bulk is how the work of the past gives way; the zero Bulk has it do as live work does.
	Bulk Bulk
	// Findings counts what reconciliations find; nil counts nothing.
	Findings *Findings
	// Outages keeps runs from asking over and over a destination that is away; nil has each ask for itself.
	Outages *Outages
	// Log takes what is worth an operator's attention; nil means slog.Default.
	Log *slog.Logger
}

func (s *Steps) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

// open makes the destination of a definition. The definition comes back normalised, with all its defaults.
func (s *Steps) open(ctx context.Context, definition export.Definition) (destinations.Destination, export.Definition, error) {
	definition, err := destinations.Normalize(definition)
	if err != nil {
		return nil, definition, err
	}
	if err := s.Outages.enter(ctx, asked{definition.Name, definition.Connection}); err != nil {
		return nil, definition, err
	}
	destination, err := s.connect(ctx, definition.Name, definition.Connection, definition.Destination, definition.Settings, destinations.ShapeOf(definition))
	return destination, definition, err
}

// connect makes the destination behind a connection; who names the export or "" for messages.
func (s *Steps) connect(ctx context.Context, who, connection, want string, settings json.RawMessage, shape destinations.Shape) (destinations.Destination, error) {
	name, block, err := s.Connections.Connection(connection)
	if err != nil {
		return nil, err
	}
	if name != want {
		return nil, export.Errorf(export.KindConfig, "export %q: its block is %q, but connection %q is of kind %q: rename the block or name another connection", who, want, connection, name)
	}
	kind, err := destinations.Lookup(name)
	if err != nil {
		return nil, err
	}
	return kind.Open(ctx, block, settings, shape)
}
