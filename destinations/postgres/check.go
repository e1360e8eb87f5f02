package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// leastVersion is the oldest server that has all that is used, as server_version_num says it.
const leastVersion = 140000

// errRollBack ends the transaction of a check, so that nothing of it stays.
var errRollBack = errors.New("the check is done")

// trial is one Check.
type trial struct {
	*Destination
	ctx    context.Context
	report func(destinations.Step)
	first  error
}

// Check tries everything that a run needs, within one transaction that is rolled back, so that it leaves nothing behind
// even when it is killed; see destinations.Destination. The target is looked at when the export's block names it.
func (d *Destination) Check(ctx context.Context, report func(destinations.Step)) error {
	t := &trial{Destination: d, ctx: ctx, report: report}
	connected := false
	err := d.within(ctx, anybody, func(tx pgx.Tx) error {
		connected = true
		t.tryAll(tx)
		return errRollBack
	})
	if !connected {
		t.step("connect", d.place(), d.explain(ctx, "connect", err))
	}
	if t.first == nil && !errors.Is(err, errRollBack) {
		t.first = d.explain(ctx, "check", err)
	}
	return t.first
}

func (t *trial) tryAll(tx pgx.Tx) {
	var version, encoding string
	var number int
	err := tx.QueryRow(t.ctx, "SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_setting('server_encoding')").Scan(&version, &number, &encoding)
	switch {
	case err != nil:
	case encoding != "UTF8":
		err = export.Errorf(export.KindConfig, "the database is encoded in %s, which cannot hold every event: make one with ENCODING 'UTF8'", encoding)
	case number < leastVersion:
		err = export.Errorf(export.KindConfig, "the server is PostgreSQL %s: Millrace needs 14 or newer", version)
	}
	if !t.step("connect", t.place()+", PostgreSQL "+version, t.explain(t.ctx, "connect", err)) {
		return
	}
	if !t.try(tx, "find the schema", t.settings.Schema, t.findSchema) {
		return
	}
	if !t.try(tx, "make the tables of plans and runs", "", t.makeMarks) {
		return
	}
	t.try(tx, "write a plan and a run", "", t.writeMarks)
	t.try(tx, "copy a row into a staging table, and read it back", "", t.copyRow)
	if t.settings.Table != "" {
		if t.try(tx, "hold the table against the model", t.settings.target(), t.holdTarget) {
			t.foretellRevisions(tx)
		}
	}
}

// try does one step at a savepoint, so that the next can be tried after its failure.
func (t *trial) try(tx pgx.Tx, name, detail string, do func(pgx.Tx) error) bool {
	point, err := tx.Begin(t.ctx)
	if err == nil {
		if err = do(point); err == nil {
			err = point.Commit(t.ctx)
		} else {
			_ = point.Rollback(t.ctx) // should it fail, the next step says so
		}
	}
	return t.step(name, detail, t.explain(t.ctx, name, err))
}

func (t *trial) step(name, detail string, err error) bool {
	step := destinations.Step{Name: name, Detail: detail}
	if err != nil {
		step.Error, step.Detail = err.Error(), ""
		if t.first == nil {
			t.first = err
		}
	}
	t.report(step)
	return err == nil
}

func (t *trial) findSchema(tx pgx.Tx) error {
	var there bool
	err := tx.QueryRow(t.ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)", t.settings.Schema).Scan(&there)
	if err == nil && !there {
		err = export.Errorf(export.KindNotFound, "schema %q does not exist: create it, or correct schema in the export's block", t.settings.Schema)
	}
	return err
}

func (t *trial) makeMarks(tx pgx.Tx) error {
	own := *t.Destination
	own.settings.Create = false
	return own.makeTables(t.ctx, tx)
}

func (t *trial) writeMarks(tx pgx.Tx) error {
	for _, statement := range []string{
		"INSERT INTO " + t.settings.plans() + " (export, interval_start, interval_end, revision, plan_hash, plan) VALUES ('', now(), now(), 0, '', '{}')",
		"INSERT INTO " + t.settings.runs() + " AS runs (export, interval_start, interval_end, revision, plan_hash, rows, manifest) VALUES ('', now(), now(), 0, '', 0, '{}') ON CONFLICT (export, interval_start, interval_end) DO UPDATE SET revision = 0 WHERE runs.revision < 0",
	} {
		if _, err := tx.Exec(t.ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (t *trial) copyRow(tx pgx.Tx) error {
	const row = "1\t0192d3f1-0000-7000-8000-000000000001\tmillrace check\tnobody\t2026-11-23T10:00:00.000001Z\t{}\t2026-11-23T10:00:00Z\t2026-11-23T10:00:00Z\n"
	var columns []column
	for _, c := range export.EventColumns() {
		columns = append(columns, column{c, fitsOf(c)[0].postgres})
	}
	name := newStaging()
	if err := t.createStaging(t.ctx, tx, name, columns); err != nil {
		return err
	}
	if _, err := t.mark(t.ctx, tx, name, label{}); err != nil {
		return err
	}
	if _, err := tx.Conn().PgConn().CopyFrom(t.ctx, strings.NewReader(row), "COPY "+t.settings.in(name)+" FROM STDIN (FORMAT text, ENCODING 'UTF8')"); err != nil {
		return err
	}
	stored, _, err := contentOf(t.ctx, tx, t.settings.in(name), columns, "0", "")
	if err == nil && stored.Rows != 1 {
		err = export.Errorf(export.KindInternal, "one row was copied, %d are there", stored.Rows)
	}
	return err
}

// holdTarget holds the target's columns against the model, and the role's rights against the mode.
func (t *trial) holdTarget(tx pgx.Tx) error {
	if err := t.makeTables(t.ctx, tx); err != nil {
		return err
	}
	if _, err := t.target(t.ctx, tx); err != nil {
		return err
	}
	rights := []string{"INSERT"}
	if t.settings.Mode == modeMerge {
		rights = append(rights, "SELECT", "UPDATE")
	}
	return t.may(t.ctx, tx, rights...)
}

// foretellRevisions says whether a published run can be exported again. That it cannot is no failure: most exports never are.
func (t *trial) foretellRevisions(tx pgx.Tx) {
	detail, err := "they can", t.settings.replaceable()
	if err == nil && t.settings.RunColumn != "" && t.settings.Table != "" {
		err = t.may(t.ctx, tx, "DELETE", "SELECT")
	}
	if err != nil {
		detail = "they cannot: " + err.Error()
	}
	t.step("whether published runs can be exported again", detail, nil)
}
