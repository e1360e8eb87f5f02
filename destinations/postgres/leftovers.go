package postgres

import (
	"context"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// RemoveLeftovers drops staging tables that nobody will publish; see destinations.RemovesLeftovers. Nothing is closed for that:
// whoever would publish one finds it gone, closes its revision, and works the next. (Prepare sweeps those of an export that
// still runs.)
func (d *Destination) RemoveLeftovers(ctx context.Context, task destinations.LeftoverTask) (found export.Leftovers, err error) {
	now, err := d.now(ctx)
	if err != nil {
		return found, d.explain(ctx, "look for staging tables", err)
	}
	var left []staged
	err = d.within(ctx, anybody, func(tx pgx.Tx) error {
		all, err := d.stagings(ctx, tx, task.Export)
		for _, one := range all {
			run, known := runNamed(one.Run)
			if !known || now.Sub(one.At) <= task.After || run.Start.Before(task.Span.Start) || !run.Start.Before(task.Span.End) || task.Working(run) {
				continue
			}
			left = append(left, one)
		}
		return err
	})
	if err != nil {
		return found, d.explain(ctx, "look for staging tables", err)
	}
	for _, one := range left {
		found.Leave(d.settings.in(one.name), one.Bytes)
		if !task.Remove {
			continue
		}
		if err := d.drop(ctx, one); err != nil {
			return found, d.explain(ctx, "drop staging table "+one.name, err)
		}
		found.Removed++
	}
	return found, nil
}

func (d *Destination) drop(ctx context.Context, one staged) error {
	if err := failpoint.Hit(ctx, "postgres.leftover.drop"); err != nil {
		return err
	}
	err := d.within(ctx, anybody, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", sweepWait); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+d.settings.in(one.name))
		return err
	})
	if err != nil {
		return err
	}
	return failpoint.Hit(ctx, "postgres.leftover.dropped")
}

// runNamed reads what runName makes.
func runNamed(name string) (export.Run, bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return export.Run{}, false
	}
	interval, known := export.ParseKey(parts[1])
	revision, err := strconv.Atoi(strings.TrimPrefix(parts[2], "r"))
	return export.Run{Export: parts[0], Interval: interval, Revision: revision}, known && err == nil
}
