package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/export"
)

// column is a column of the model as the target has it.
type column struct {
	export.Column
	// Postgres is the type in the target, as format_type says it.
	Postgres string
}

// found is a column of the target as the catalog has it.
type found struct {
	name, kind        string
	needed, generated bool
}

// target reads the target's columns and holds them against the model's: the answer has the model's columns, in its order.
// The error names each column that does not fit, what it is, and what it must be.
func (d *Destination) target(ctx context.Context, tx pgx.Tx) ([]column, error) {
	relation, err := d.relation(ctx, tx, d.settings.table())
	if err != nil {
		return nil, err
	}
	if relation == "" {
		if err := d.keepsAll(); err != nil {
			return nil, err
		}
		return nil, export.Errorf(export.KindNotFound, "table %s does not exist: say create: true in the export's block, or create it: %s", d.settings.target(), d.createTarget())
	}
	if relation != "r" && relation != "p" {
		return nil, export.Errorf(export.KindSchema, "%s is no table that rows can be moved into (it is of kind %q in pg_class): name a table", d.settings.target(), relation)
	}
	there, err := d.columnsOf(ctx, tx, d.settings.target())
	if err != nil {
		return nil, err
	}
	if err := d.checkMerge(); err != nil {
		return nil, err
	}
	if d.settings.Mode == modeMerge {
		if err := d.checkKey(ctx, tx); err != nil {
			return nil, err
		}
	}
	columns, wrong := d.match(there)
	if missing := d.checkRunColumn(there); missing != "" {
		wrong = append(wrong, missing)
	}
	if len(wrong) > 0 {
		return nil, export.Errorf(export.KindSchema, "table %s does not fit the model: %s", d.settings.target(), strings.Join(wrong, "; "))
	}
	return columns, nil
}

// columnsOf reads the columns of a table.
func (d *Destination) columnsOf(ctx context.Context, tx pgx.Tx, table string) ([]found, error) {
	rows, err := tx.Query(ctx, `SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', a.attgenerated <> ''
		FROM pg_catalog.pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, table)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (one found, err error) {
		err = row.Scan(&one.name, &one.kind, &one.needed, &one.generated)
		return one, err
	})
}

// match holds columns of a table against the model's: matched are these, in their order, and wrong says what does not fit.
func (d *Destination) match(there []found) (matched []column, wrong []string) {
	for _, want := range d.columns {
		i := slices.IndexFunc(there, func(f found) bool { return f.name == want.Name })
		if i < 0 && len(fitsOf(want)) > 0 {
			wrong = append(wrong, fmt.Sprintf("column %q is missing: add it as %s", want.Name, fitsOf(want)[0].postgres))
			continue
		}
		if i < 0 {
			wrong = append(wrong, misfit(want, ""))
			continue
		}
		_, takes := fitOf(want, there[i].kind)
		switch {
		case !takes:
			wrong = append(wrong, misfit(want, there[i].kind))
		case there[i].generated:
			wrong = append(wrong, fmt.Sprintf("column %q is generated, so nothing can be written into it: rename it", want.Name))
		}
		matched = append(matched, column{want, there[i].kind})
	}
	for _, other := range there {
		mine := slices.ContainsFunc(d.columns, func(c export.Column) bool { return c.Name == other.name })
		if !mine && other.name != d.settings.RunColumn && other.needed && !other.generated {
			wrong = append(wrong, fmt.Sprintf("column %q is not of the model and must not be null: give it a default, or allow null", other.name))
		}
	}
	return matched, wrong
}

// checkRunColumn says what is wrong with the run column, or nothing.
func (d *Destination) checkRunColumn(there []found) string {
	name := d.settings.RunColumn
	i := slices.IndexFunc(there, func(f found) bool { return f.name == name })
	switch {
	case name == "":
		return ""
	case slices.ContainsFunc(d.columns, func(c export.Column) bool { return c.Name == name }):
		return fmt.Sprintf("run_column %q is a column of the model: name another", name)
	case i < 0:
		return fmt.Sprintf("run_column %q is missing: add it as text", name)
	case there[i].kind != "text" || there[i].generated:
		return fmt.Sprintf("run_column %q is %s, and must be text that can be written", name, there[i].kind)
	}
	return ""
}

// checkMerge wants what merge goes by among the exported columns.
func (d *Destination) checkMerge() error {
	if d.settings.Mode != modeMerge {
		return nil
	}
	if d.version == "" {
		return export.Errorf(export.KindConfig, "mode: merge needs to know which of two rows is newer, and the model has no version: give it one, or use mode append")
	}
	for _, name := range append(slices.Clone(d.key), d.version) {
		if !slices.ContainsFunc(d.columns, func(c export.Column) bool { return c.Name == name }) {
			return export.Errorf(export.KindConfig, "mode: merge goes by column %q, which is not exported: add it to columns, or use mode append", name)
		}
	}
	return nil
}

// checkKey wants a unique index on exactly the key, which merge finds rows by.
func (d *Destination) checkKey(ctx context.Context, tx pgx.Tx) error {
	var unique bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid
		AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AND (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_catalog.pg_attribute a
		WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts-1])) = $2::text[])`, d.settings.target(), slices.Sorted(slices.Values(d.key))).Scan(&unique)
	if err == nil && !unique {
		err = export.Errorf(export.KindSchema, "table %s has no primary key or unique index on (%s), by which mode merge finds a row's predecessor: add one, or use mode append",
			d.settings.target(), quoted(d.key))
	}
	return err
}

// relation is the letter that pg_class has for the kind of a table, or "" when there is none of the name.
func (d *Destination) relation(ctx context.Context, tx pgx.Tx, table string) (kind string, err error) {
	err = tx.QueryRow(ctx, "SELECT coalesce((SELECT c.relkind::text FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)), '')", d.settings.in(table)).Scan(&kind)
	return kind, err
}

// keepsAll is the error of a model with columns that no table can take.
func (d *Destination) keepsAll() error {
	var wrong []string
	for _, c := range d.columns {
		if len(fitsOf(c)) == 0 {
			wrong = append(wrong, misfit(c, ""))
		}
	}
	if len(wrong) > 0 {
		return export.Errorf(export.KindSchema, "no table of Postgres takes the model: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// createTarget is the statement that makes the target.
func (d *Destination) createTarget() string {
	var parts []string
	for _, c := range d.columns {
		part := quoted([]string{c.Name}) + " " + fitsOf(c)[0].postgres
		if scalar, err := export.NewScalar(c.Type); err == nil && !scalar.Nullable {
			part += " NOT NULL"
		}
		parts = append(parts, part)
	}
	if d.settings.RunColumn != "" {
		parts = append(parts, quoted([]string{d.settings.RunColumn})+" text NOT NULL")
	}
	if d.settings.Mode == modeMerge {
		parts = append(parts, "PRIMARY KEY ("+quoted(d.key)+")")
	}
	return "CREATE TABLE IF NOT EXISTS " + d.settings.target() + " (" + strings.Join(parts, ", ") + ")"
}

// makeTables makes the tables of Millrace, and the target when it is asked to, unless they are there. Who makes them in
// one schema at the same time waits for the other, for IF NOT EXISTS alone fails then.
func (d *Destination) makeTables(ctx context.Context, tx pgx.Tx) error {
	wanted := map[string]string{
		ownPrefix + "plans": `CREATE TABLE IF NOT EXISTS ` + d.settings.plans() + ` (export text, interval_start timestamptz, interval_end timestamptz, revision integer,
			plan_hash text NOT NULL, plan json, planned_at timestamptz NOT NULL DEFAULT now(), closed json,
			PRIMARY KEY (export, interval_start, interval_end, revision))`,
		ownPrefix + "runs": `CREATE TABLE IF NOT EXISTS ` + d.settings.runs() + ` (export text, interval_start timestamptz, interval_end timestamptz, revision integer NOT NULL,
			plan_hash text NOT NULL, rows bigint NOT NULL, manifest json NOT NULL, published_at timestamptz NOT NULL DEFAULT now(),
			PRIMARY KEY (export, interval_start, interval_end))`,
	}
	if d.settings.Create {
		if err := errors.Join(d.keepsAll(), d.checkMerge()); err != nil {
			return err
		}
		wanted[d.settings.table()] = d.createTarget()
	}
	locked := false
	for table, statement := range wanted {
		if there, err := d.relation(ctx, tx, table); err != nil || there != "" {
			if err != nil {
				return err
			}
			continue
		}
		if !locked {
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('millrace'), hashtext($1))", d.settings.Schema); err != nil {
				return err
			}
			locked = true
		}
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func namesOfColumns(columns []column) string {
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	return quoted(names)
}
