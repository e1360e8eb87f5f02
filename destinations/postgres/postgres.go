// Package postgres writes runs as rows into a table of a PostgreSQL database.
//
// A run has a row in millrace_plans (its plan, the first thing that is written), and, once it is published, a row in
// millrace_runs (its manifest, the commit mark). Both tables lie in the schema of the target. A chunk is copied, as the
// bytes that ClickHouse encodes, into an unlogged staging table of its own, under a random token that its receipt carries.
// Nothing of it shows outside until one transaction takes the run's row, holds count and hash of exactly those staging
// tables against the receipts, moves their rows into the target, drops them, and commits.
//
// Why each step may be repeated, and meet its own zombie:
//
//   - An attempt at a chunk is one transaction. What breaks off before its COMMIT leaves nothing; what is lost after it
//     leaves a staging table that no receipt names, which a later Prepare of the export sweeps.
//   - The run's row is taken first. Whoever publishes the same interval at the same time waits for the first one's end,
//     and then finds the row taken (adopts what was published) or free. A revision that is not newer finds nothing to update.
//   - An unknown COMMIT is resolved by that row.
//   - Unlogged tables are empty after a crash of the server; the count inside the transaction sees it.
package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

func init() {
	destinations.Register(destinations.Kind{
		Name:                "postgres",
		Normalize:           normalizeSettings,
		NormalizeConnection: normalizeConnection,
		Open:                open,
		Codes:               codes,
	})
}

// Destination is a database as one export sees it. It is safe for concurrent use: each call has a connection of its own.
type Destination struct {
	config   *pgx.ConnConfig
	settings settings
	columns  []export.Column
}

var _ destinations.Destination = (*Destination)(nil)

// encoding is what Postgres reads; see assumptions/postgres_test.go.
var encoding = export.Encoding{Format: export.FormatTabSeparated, Compression: export.CompressionNone}

// open makes the destination. Nothing is sent yet.
func open(_ context.Context, connectionBlock, settingsBlock json.RawMessage, shape destinations.Shape) (destinations.Destination, error) {
	reach, err := readConnection(connectionBlock)
	if err != nil {
		return nil, err
	}
	form, err := readSettings(settingsBlock)
	if err != nil {
		return nil, err
	}
	config, err := reach.config()
	if err != nil {
		return nil, err
	}
	return &Destination{config: config, settings: form, columns: shape.Columns}, nil
}
