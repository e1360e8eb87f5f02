package main

import (
	"github.com/millrace/millrace/destinations"
	_ "github.com/millrace/millrace/destinations/postgres" // registers itself
	_ "github.com/millrace/millrace/destinations/s3"       // registers itself
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
)

// loadConfig reads the configuration and checks every block with its destination, so that a mistake shows at the
// start and not at the first run.
func loadConfig(path string) (*config.Config, error) {
	loaded, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	for _, name := range loaded.ConnectionNames() {
		kindName, block, err := loaded.ConnectionBlock(name)
		if err != nil {
			return nil, err
		}
		kind, err := destinations.Lookup(kindName)
		if err != nil {
			return nil, export.Errorf(export.KindConfig, "%s: connection %q: %w", path, name, err)
		}
		if _, err := kind.NormalizeConnection(block); err != nil {
			return nil, export.Errorf(export.KindConfig, "%s: connection %q: %s: %w", path, name, kindName, err)
		}
	}
	for i, definition := range loaded.Exports {
		if loaded.Exports[i], err = destinations.Normalize(definition); err != nil {
			return nil, export.Errorf(export.KindConfig, "%s: %w", path, err)
		}
	}
	return loaded, nil
}
