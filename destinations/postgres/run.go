package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// ofRun is the condition on a run's rows of all revisions; the arguments are those of keyOf.
const ofRun = "export = $1 AND interval_start = $2 AND interval_end = $3"

func keyOf(run export.Run) []any { return []any{run.Export, run.Start, run.End} }

const codeUndefinedTable = "42P01"

// Published reads the run's row of millrace_runs; see destinations.Destination. Where there is no such table, nothing was
// ever published.
func (d *Destination) Published(ctx context.Context, run export.Run) (*export.Manifest, error) {
	manifest, err := d.published(ctx, run)
	return manifest, d.explain(ctx, "look for a published run", err)
}

func (d *Destination) published(ctx context.Context, run export.Run) (*export.Manifest, error) {
	connection, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer hangUp(ctx, connection)
	var text string
	err = connection.QueryRow(ctx, "SELECT manifest::text FROM "+d.settings.runs()+" WHERE "+ofRun, keyOf(run)...).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) || sqlState(err) == codeUndefinedTable {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return d.readManifest(run, text)
}

func (d *Destination) readManifest(run export.Run, text string) (*export.Manifest, error) {
	var manifest export.Manifest
	if err := json.Unmarshal([]byte(text), &manifest); err != nil {
		return nil, d.notOurs(d.settings.runs(), run, "has a manifest that this program cannot read")
	}
	if manifest.Version != export.ManifestVersion {
		return nil, export.Errorf(export.KindInternal, "the manifest of %s has version %d, this program knows %d: run the version that wrote it", run, manifest.Version, export.ManifestVersion)
	}
	if manifest.Run.Export != run.Export || manifest.Run.Interval.Key() != run.Interval.Key() {
		return nil, d.notOurs(d.settings.runs(), run, "has the manifest of another run")
	}
	manifest.Location = d.location()
	return &manifest, nil
}

// Prepare makes the tables, holds the target against the model, and writes the plan's row unless it is there; see
// destinations.Destination. It also sweeps staging tables of the export that are older than give_up_after: no run that
// could name them is at work any more.
func (d *Destination) Prepare(ctx context.Context, plan export.Plan) (destinations.Prepared, error) {
	prepared, err := d.prepare(ctx, plan)
	if err != nil {
		return destinations.Prepared{}, d.explain(ctx, "prepare "+plan.Run.String(), err)
	}
	return prepared, nil
}

func (d *Destination) prepare(ctx context.Context, plan export.Plan) (destinations.Prepared, error) {
	published, err := d.published(ctx, plan.Run)
	if err != nil {
		return destinations.Prepared{}, err
	}
	if err := failpoint.Hit(ctx, "postgres.looked"); err != nil {
		return destinations.Prepared{}, err
	}
	if published != nil && !plan.TakesPlaceOf(published.Run) {
		holds, _, err := d.plan(ctx, published.Run)
		if err == nil && holds == nil {
			holds = &plan // somebody removed it; nobody works a published run
		}
		if err != nil {
			return destinations.Prepared{}, err
		}
		return destinations.Prepared{Plan: *holds, Published: published}, nil
	}
	err = d.within(ctx, anybody, func(tx pgx.Tx) error {
		if err := d.makeTables(ctx, tx); err != nil {
			return err
		}
		if _, err := d.target(ctx, tx); err != nil || published == nil {
			return err
		}
		return d.mayReplace(ctx, tx, published.Run)
	})
	if err != nil {
		return destinations.Prepared{}, err
	}
	if closed, err := d.closedFrom(ctx, plan.Run); err != nil || closed != nil {
		return destinations.Prepared{Plan: plan, Closed: closed}, err
	}
	if published == nil {
		if covered, err := d.coveredBefore(ctx, plan.Run); err != nil || covered != nil {
			return destinations.Prepared{Plan: plan, Covered: covered}, err
		}
	}
	if err := d.writePlan(ctx, plan); err != nil {
		return destinations.Prepared{}, err
	}
	holds, claim, err := d.plan(ctx, plan.Run)
	if err != nil || claim != nil {
		return destinations.Prepared{Plan: plan, Covered: claim}, err
	}
	if holds == nil { // somebody closed the revision before it had a plan
		if closed, err := d.closedFrom(ctx, plan.Run); err != nil || closed != nil {
			return destinations.Prepared{Plan: plan, Closed: closed}, err
		}
	}
	if holds == nil {
		return destinations.Prepared{}, export.Errorf(export.KindNotFound, "the plan of %s was written, and is gone: find out who removes rows from %s", plan.Run, d.settings.plans())
	}
	limit := time.Duration(plan.Definition.GiveUpAfter)
	if limit <= 0 {
		limit = time.Duration(export.DefaultGiveUpAfter)
	}
	now, err := d.now(ctx)
	if err != nil {
		return destinations.Prepared{}, err
	}
	d.sweep(ctx, plan.Run.Export, func(one staged) bool { return now.Sub(one.At) > limit })
	return destinations.Prepared{Plan: *holds}, nil
}

// writePlan writes the plan's row unless one is there.
func (d *Destination) writePlan(ctx context.Context, plan export.Plan) error {
	text, err := json.Marshal(plan)
	if err != nil {
		return export.Errorf(export.KindInternal, "encode plan: %w", err)
	}
	if err := failpoint.Hit(ctx, "postgres.plan.put"); err != nil {
		return err
	}
	err = d.within(ctx, anybody, func(tx pgx.Tx) error { return d.insertPlan(ctx, tx, plan.Run, plan.Hash(), string(text)) })
	if err == nil {
		err = failpoint.Hit(ctx, "postgres.plan.answered")
	}
	return err
}

// insertPlan writes a plan, or a claim in its place, unless the row is there.
func (d *Destination) insertPlan(ctx context.Context, tx pgx.Tx, run export.Run, hash, text string) error {
	_, err := tx.Exec(ctx, "INSERT INTO "+d.settings.plans()+` (export, interval_start, interval_end, revision, plan_hash, plan)
		VALUES ($1, $2, $3, $4, $5, $6::text::json) ON CONFLICT DO NOTHING`, append(keyOf(run), run.Revision, hash, text)...)
	return err
}

// plan reads the plan of a run and revision, or the claim in its place; both are nil when there is none.
func (d *Destination) plan(ctx context.Context, run export.Run) (*export.Plan, *export.Claim, error) {
	connection, err := d.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer hangUp(ctx, connection)
	var text string
	err = connection.QueryRow(ctx, "SELECT plan::text FROM "+d.settings.plans()+" WHERE "+ofRun+" AND revision = $4 AND plan IS NOT NULL", append(keyOf(run), run.Revision)...).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return d.readPlan(run, text)
}

func (d *Destination) readPlan(run export.Run, text string) (*export.Plan, *export.Claim, error) {
	plan, claim, err := export.ReadPlan([]byte(text))
	var classified *export.Error
	switch {
	case errors.As(err, &classified):
		return nil, nil, err
	case err != nil:
		return nil, nil, d.notOurs(d.settings.plans(), run, "has a plan that this program cannot read")
	case claim != nil && runName(claim.Run) != runName(run):
		return nil, nil, d.notOurs(d.settings.plans(), run, "has the claim of another interval")
	case plan != nil && runName(plan.Run) != runName(run):
		return nil, nil, d.notOurs(d.settings.plans(), run, "has the plan of another run")
	}
	return plan, claim, nil
}

// notOurs is the error of a row or table that somebody else changed.
func (d *Destination) notOurs(table string, run export.Run, what string) error {
	return export.Errorf(export.KindConfig, "%s of %s in %s: %s: nothing is overwritten; find out who writes there", runName(run), table, d.place(), what)
}
