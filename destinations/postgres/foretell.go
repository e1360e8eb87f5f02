package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// Foretell says which types the columns have in the target; in one that is not there yet, those that it would be created with.
// See destinations.Foretells.
func (d *Destination) Foretell(ctx context.Context) destinations.Foretold {
	told := destinations.Foretold{
		Place: "table " + d.settings.target(), Encoding: encoding,
		Columns: destinations.Placed(d.columns, func(c export.Column) string {
			if fits := fitsOf(c); len(fits) > 0 {
				return fits[0].postgres
			}
			return "none"
		}),
	}
	err := d.within(ctx, anybody, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET TRANSACTION READ ONLY"); err != nil {
			return err
		}
		relation, err := d.relation(ctx, tx, d.settings.table())
		switch {
		case err != nil:
			return err
		case relation == "" && d.settings.Create:
			told.Place += ", which the first run creates"
			return nil
		}
		columns, err := d.target(ctx, tx)
		for _, there := range columns {
			i := slices.IndexFunc(told.Columns, func(c export.PlacedColumn) bool { return c.Name == there.Name })
			told.Columns[i].Type = there.Postgres
		}
		return err
	})
	if err != nil {
		told.Problem = d.explain(ctx, "look at the table", err).Error()
	}
	return told
}
