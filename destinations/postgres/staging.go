package postgres

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/export"
)

// label is the comment on a staging table: whose it is and what is in it. It is written in the transaction that fills the
// table, so a table that shows has a label that is true.
type label struct {
	Export string    `json:"export"`
	Run    string    `json:"run"`
	Plan   string    `json:"plan"`
	Chunk  int       `json:"chunk"`
	Rows   uint64    `json:"rows"`
	Bytes  uint64    `json:"bytes"`
	Writer string    `json:"writer"` // the receipt's ETag
	At     time.Time `json:"at"`     // by the server's clock
}

// createStaging makes a staging table with the target's types and without its constraints. Its rows say which transaction
// has written them, as heap's do, and a server may have another access method for its default.
func (d *Destination) createStaging(ctx context.Context, tx pgx.Tx, name string, columns []column) error {
	var parts []string
	for _, c := range columns {
		parts = append(parts, quoted([]string{c.Name})+" "+c.Postgres)
	}
	_, err := tx.Exec(ctx, "CREATE UNLOGGED TABLE "+d.settings.in(name)+" ("+strings.Join(parts, ", ")+") USING heap")
	return err
}

// mark puts the label on a staging table, with the transaction that is at work.
func (d *Destination) mark(ctx context.Context, tx pgx.Tx, name string, l label) (label, error) {
	if err := tx.QueryRow(ctx, "SELECT clock_timestamp(), $1::text || pg_catalog.pg_current_xact_id()::xid::text", writer).Scan(&l.At, &l.Writer); err != nil {
		return l, err
	}
	text, err := json.Marshal(l)
	if err != nil {
		return l, export.Errorf(export.KindInternal, "encode the label of a staging table: %w", err)
	}
	// COMMENT takes no parameters.
	_, err = tx.Exec(ctx, "COMMENT ON TABLE "+d.settings.in(name)+" IS "+literal(string(text)))
	return l, err
}

// literal is a text as SQL has it, whatever standard_conforming_strings says.
func literal(text string) string {
	return ` E'` + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + `'`
}

// staged is a staging table that shows.
type staged struct {
	name string
	label
}

// labelOf reads the label of a staging table; nil when there is no such table.
func (d *Destination) labelOf(ctx context.Context, tx pgx.Tx, name string) (*label, error) {
	var text *string
	err := tx.QueryRow(ctx, "SELECT pg_catalog.obj_description(to_regclass($1), 'pg_class')", d.settings.in(name)).Scan(&text)
	if err != nil || text == nil {
		return nil, err
	}
	var l label
	if err := json.Unmarshal([]byte(*text), &l); err != nil {
		return nil, nil // nobody's of ours
	}
	return &l, nil
}

// stagings lists the staging tables of an export that show.
func (d *Destination) stagings(ctx context.Context, tx pgx.Tx, name string) ([]staged, error) {
	rows, err := tx.Query(ctx, `SELECT c.relname::text, coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), '') FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind = 'r' AND starts_with(c.relname::text, $2)`, d.settings.Schema, stagingPrefix)
	if err != nil {
		return nil, err
	}
	var table, text string
	var all []staged
	_, err = pgx.ForEachRow(rows, []any{&table, &text}, func() error {
		one := staged{name: table}
		if isStaging(table) && json.Unmarshal([]byte(text), &one.label) == nil && one.Export == name {
			all = append(all, one)
		}
		return nil
	})
	return all, err
}

// sweepWait is how long a sweep waits for somebody who reads what it wants to drop.
const sweepWait = "2s"

// sweep drops staging tables that old says nobody wants any more. What it cannot drop now is left to the next time.
func (d *Destination) sweep(ctx context.Context, export string, old func(staged) bool) {
	err := d.within(ctx, anybody, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", sweepWait); err != nil {
			return err
		}
		all, err := d.stagings(ctx, tx, export)
		if err != nil {
			return err
		}
		for _, one := range all {
			if !old(one) {
				continue
			}
			if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+d.settings.in(one.name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		slog.Warn("old staging tables stay in the database", "export", export, "error", d.explain(ctx, "sweep staging tables", err))
	}
}
