package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// Claim writes the claim into the row of the plan of the cell's first revision, unless the row is there; see
// destinations.Destination.
func (d *Destination) Claim(ctx context.Context, claim export.Claim) (export.Holder, error) {
	holder, err := d.holder(ctx, claim.Run)
	if err == nil && holder == (export.Holder{}) {
		if err = d.writeClaim(ctx, claim); err == nil {
			holder, err = d.holder(ctx, claim.Run)
		}
	}
	return holder, d.explain(ctx, "claim "+claim.Run.String(), err)
}

func (d *Destination) writeClaim(ctx context.Context, claim export.Claim) error {
	text, err := json.Marshal(claim)
	if err != nil {
		return export.Errorf(export.KindInternal, "encode claim: %w", err)
	}
	if err := failpoint.Hit(ctx, "postgres.claim.put"); err != nil {
		return err
	}
	err = d.within(ctx, anybody, func(tx pgx.Tx) error {
		if err := d.makeTables(ctx, tx); err != nil {
			return err
		}
		return d.insertPlan(ctx, tx, claim.Run, "", string(text))
	})
	if err == nil {
		err = failpoint.Hit(ctx, "postgres.claim.answered")
	}
	return err
}

// Holder reads the row of the plan of the cell's first revision; see destinations.Destination. A cell that is published
// without it, since somebody removed it, or that was closed before it had a plan, is its own.
func (d *Destination) Holder(ctx context.Context, cell export.Run) (export.Holder, error) {
	holder, err := d.holder(ctx, cell)
	return holder, d.explain(ctx, "look whose "+cell.String()+" is", err)
}

func (d *Destination) holder(ctx context.Context, cell export.Run) (export.Holder, error) {
	cell.Revision = export.FirstRevision
	connection, err := d.connect(ctx)
	if err != nil {
		return export.Holder{}, err
	}
	defer hangUp(ctx, connection)
	var text *string
	err = connection.QueryRow(ctx, `SELECT (SELECT plan::text FROM `+d.settings.plans()+` WHERE `+ofRun+` AND revision = $4)
		WHERE EXISTS (SELECT FROM `+d.settings.plans()+` WHERE `+ofRun+`) OR EXISTS (SELECT FROM `+d.settings.runs()+` WHERE `+ofRun+`)`,
		append(keyOf(cell), cell.Revision)...).Scan(&text)
	switch {
	case errors.Is(err, pgx.ErrNoRows) || sqlState(err) == codeUndefinedTable:
		return export.Holder{}, nil
	case err != nil:
		return export.Holder{}, err
	case text == nil:
		return export.Holder{Own: true}, nil
	}
	_, claim, err := d.readPlan(cell, *text)
	return export.Holder{Own: err == nil && claim == nil, Claim: claim}, err
}

// coveredBefore is the claim of a cell whose first revision was not closed, for who would work a later one.
func (d *Destination) coveredBefore(ctx context.Context, run export.Run) (*export.Claim, error) {
	if run.Revision == export.FirstRevision {
		return nil, nil
	}
	run.Revision = export.FirstRevision
	if closed, err := d.closedFrom(ctx, run); err != nil || closed != nil {
		return nil, err
	}
	holder, err := d.holder(ctx, run)
	return holder.Claim, err
}
