package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// replaceable says why the settings of an export let no revision take the place of a published one; see destinations.Kind.
func replaceable(block json.RawMessage) error {
	form, err := readSettings(block)
	if err != nil {
		return err
	}
	return form.replaceable()
}

func (s settings) replaceable() error {
	if s.Mode == modeMerge || s.RunColumn != "" {
		return nil
	}
	return export.Errorf(export.KindConfig, "mode append takes no further revision without run_column: the rows of the one that is published cannot be told from others; set run_column, or use mode merge")
}

// mayReplace refuses a plan that would take the place of a published run whose rows cannot be told from others, or lie in
// another table than they would now, or may not be removed. In mode merge rows take the place of others by their key.
func (d *Destination) mayReplace(ctx context.Context, tx pgx.Tx, published export.Run) error {
	if err := d.settings.replaceable(); err != nil || d.settings.Mode == modeMerge {
		return err
	}
	var text string
	err := tx.QueryRow(ctx, "SELECT plan::text FROM "+d.settings.plans()+" WHERE "+ofRun+" AND revision = $4 AND plan IS NOT NULL", append(keyOf(published), published.Revision)...).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return d.notOurs(d.settings.plans(), published, "is published and has no plan any more, so it is not known where its rows are")
	}
	if err != nil {
		return err
	}
	var plan export.Plan
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		return d.notOurs(d.settings.plans(), published, "has a plan that this program cannot read")
	}
	then, err := readSettings(plan.Definition.Settings)
	if err != nil {
		return err
	}
	then.model = plan.Definition.Model.Name
	if then.Mode != d.settings.Mode || then.RunColumn != d.settings.RunColumn || then.table() != d.settings.table() {
		return export.Errorf(export.KindConfig, "%s was published by mode %s with run_column %q into table %q, so its rows cannot be removed from %s by run_column %q: remove them by hand, with its row in %s, and run the interval again without a redo",
			published, then.Mode, then.RunColumn, then.table(), d.settings.target(), d.settings.RunColumn, d.settings.runs())
	}
	return d.may(ctx, tx, "DELETE", "SELECT")
}

// may tells by an error which right to the target the role does not have.
func (d *Destination) may(ctx context.Context, tx pgx.Tx, rights ...string) error {
	for _, right := range rights {
		var granted bool
		if err := tx.QueryRow(ctx, "SELECT has_table_privilege($1, $2)", d.settings.target(), right).Scan(&granted); err != nil {
			return err
		}
		if !granted {
			return export.Errorf(export.KindPermission, "the role has no right to %[1]s: GRANT %[1]s ON %[2]s TO it", right, d.settings.target())
		}
	}
	return nil
}

// removeFormer removes the rows of the revision whose place is taken, by their run column. In mode merge there is nothing to
// remove: which rows are whose is not known, and those of the same key are replaced.
func (d *Destination) removeFormer(ctx context.Context, tx pgx.Tx, former *export.Manifest) error {
	if former == nil || d.settings.RunColumn == "" {
		return nil
	}
	if err := d.mayReplace(ctx, tx, former.Run); err != nil {
		return err
	}
	names := make([]string, len(former.Receipts))
	for i, receipt := range former.Receipts {
		names[i] = chunkName(former.Run, receipt.Chunk)
	}
	if _, err := tx.Exec(ctx, "DELETE FROM "+d.settings.target()+" WHERE "+quoted([]string{d.settings.RunColumn})+" = ANY($1)", names); err != nil {
		return err
	}
	return failpoint.Hit(ctx, "postgres.former.removed")
}
