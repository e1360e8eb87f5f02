package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// Abort ends the sessions in which this execution's chunks are being copied, here or on another machine, and waits until
// they are gone; with them goes all that they wrote. Staging tables that are complete stay, for a reset of the execution
// goes on with their receipts; Prepare sweeps them. Called twice it does nothing the second time.
func (d *Destination) Abort(ctx context.Context, run export.Run, execution string) error {
	act := "abort " + run.String()
	if err := failpoint.Hit(ctx, "postgres.abort"); err != nil {
		return d.explain(ctx, act, err)
	}
	err := d.within(ctx, anybody, func(tx pgx.Tx) error {
		// Sessions of another role do not show their name, and are not ours.
		_, err := tx.Exec(ctx, "SELECT pg_catalog.pg_terminate_backend(pid, 10000) FROM pg_catalog.pg_stat_activity WHERE datname = current_database() AND application_name = $1",
			d.applicationOf(run, execution))
		return err
	})
	if err == nil {
		err = failpoint.Hit(ctx, "postgres.aborted")
	}
	return d.explain(ctx, act, err)
}
