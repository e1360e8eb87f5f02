// Package postgres writes runs as rows into a table of a PostgreSQL database.
//
// A run has a row in millrace_plans (its plan, the first thing that is written), and, once it is published, a row in
// millrace_runs (its manifest, the commit mark). Both tables lie in the schema of the target. A chunk is copied, as the
// bytes that ClickHouse encodes, into an unlogged staging table of its own, under a random token that its receipt carries,
// and read back there. Nothing of it shows outside until one transaction takes the run's row, sees that exactly those staging
// tables have all of the rows that were read and no other, moves them into the target, drops the tables, and commits.
//
// Why each step may be repeated, and meet its own zombie:
//
//   - An attempt at a chunk is one transaction. What breaks off before its COMMIT leaves nothing; what is lost after it
//     leaves a staging table that no receipt names, which a later Prepare of the export sweeps.
//   - The run's row is taken first, and read: it says which rows of a former revision go. Whoever publishes the same interval at the same time waits for the first one's end,
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
		Replaceable:         replaceable,
		Codes:               codes,
	})
}

// Destination is a database as one export sees it. It is safe for concurrent use: each call has a connection of its own.
type Destination struct {
	config   *pgx.ConnConfig
	settings settings
	columns  []export.Column
	// key tells rows apart, and version which of two of one key is newer: merge goes by them.
	key     []string
	version string
	// arrival is the column that intervals are cut by, and team that of the team's number, or "".
	arrival, team string
}

var (
	_ destinations.Destination = (*Destination)(nil)
	_ destinations.HoldsRows   = (*Destination)(nil)

	_ destinations.ReadsPublished = (*Destination)(nil)
	_ destinations.Foretells      = (*Destination)(nil)

	_ destinations.RemovesLeftovers = (*Destination)(nil)
)

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
	form.model = shape.Model
	return &Destination{
		config: config, settings: form, columns: shape.Columns,
		key: shape.Key, version: shape.Version, arrival: shape.Arrival, team: shape.Team,
	}, nil
}
