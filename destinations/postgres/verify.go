package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// chunkName is what the run column has in the rows of a chunk.
func chunkName(run export.Run, chunk int) string { return fmt.Sprintf("%s-%05d", runName(run), chunk) }

// ReadPublished reads the rows of a published run in the target; see destinations.ReadsPublished. With a run column they are
// those that name the run, chunk by chunk, and else those whose arrival time is in the interval, of the export's team.
func (d *Destination) ReadPublished(ctx context.Context, manifest export.Manifest) (destinations.PublishedRows, error) {
	then := *d
	then.columns = manifest.Exported()
	var found destinations.PublishedRows
	err := d.within(ctx, anybody, func(tx pgx.Tx) (err error) {
		found, err = then.readPublished(ctx, tx, manifest)
		return err
	})
	if err != nil {
		return destinations.PublishedRows{}, d.explain(ctx, "read the rows of "+manifest.Run.String(), err)
	}
	return found, nil
}

func (d *Destination) readPublished(ctx context.Context, tx pgx.Tx, manifest export.Manifest) (destinations.PublishedRows, error) {
	columns, err := d.target(ctx, tx)
	if err != nil {
		return destinations.PublishedRows{}, err
	}
	hashed, not := compared(columns)
	if !slices.Equal(not, manifest.Proof.NotCompared) && len(manifest.Receipts) > 0 {
		return whole("columns of %s are of other types than when the run was published: [%s] are not compared now, and [%s] were not then",
			d.settings.target(), strings.Join(not, ", "), strings.Join(manifest.Proof.NotCompared, ", ")), nil
	}
	if manifest.Proof.Source == nil || slices.ContainsFunc(manifest.Receipts, func(r export.Receipt) bool { return writerOf(r) == "0" }) {
		return destinations.PublishedRows{Untold: "a program that did not compare rows with their source has published it"}, nil
	}
	if d.settings.RunColumn != "" {
		return d.readChunks(ctx, tx, manifest, hashed)
	}
	return d.readArrivals(ctx, tx, manifest, columns, hashed)
}

func whole(format string, args ...any) destinations.PublishedRows {
	return destinations.PublishedRows{Differences: []export.Difference{{Chunk: -1, What: fmt.Sprintf(format, args...)}}}
}

// readChunks reads the rows of each chunk by the run column.
func (d *Destination) readChunks(ctx context.Context, tx pgx.Tx, manifest export.Manifest, hashed []column) (found destinations.PublishedRows, err error) {
	column := quoted([]string{d.settings.RunColumn})
	for _, receipt := range manifest.Receipts {
		want, err := receipt.Content()
		if err != nil {
			return found, err
		}
		name := chunkName(manifest.Run, receipt.Chunk)
		stored, _, err := contentOf(ctx, tx, d.settings.target(), hashed, "0", " WHERE "+column+" ="+literal(name))
		if err != nil {
			return found, err
		}
		if stored != want {
			found.Differences = append(found.Differences, export.Difference{
				Chunk: receipt.Chunk, Location: name,
				What: fmt.Sprintf("%s has %s where %s is %s; published were %s", d.settings.target(), stored, d.settings.RunColumn, name, want),
			})
		}
	}
	return found, nil
}

// readArrivals reads the rows of the interval by their arrival time.
func (d *Destination) readArrivals(ctx context.Context, tx pgx.Tx, manifest export.Manifest, columns, hashed []column) (destinations.PublishedRows, error) {
	i := slices.IndexFunc(columns, func(c column) bool { return c.Name == d.arrival })
	if i < 0 {
		return destinations.PublishedRows{Untold: fmt.Sprintf("its rows cannot be told from others: the arrival column %q is not exported; add it to columns, or set run_column", d.arrival)}, nil
	}
	form := "2006-01-02 15:04:05.000000"
	if strings.HasSuffix(columns[i].Postgres, "with time zone") {
		form += "-07"
	}
	bound := func(at time.Time) string { return literal(at.UTC().Format(form)) + "::" + columns[i].Postgres }
	name := quoted([]string{d.arrival})
	condition := " WHERE " + name + " >=" + bound(manifest.Run.Start) + " AND " + name + " <" + bound(manifest.Run.End)
	if team := manifest.Team; !team.All && d.team != "" && slices.ContainsFunc(columns, func(c column) bool { return c.Name == d.team }) {
		condition += fmt.Sprintf(" AND %s = %d", quoted([]string{d.team}), team.ID)
	}
	stored, _, err := contentOf(ctx, tx, d.settings.target(), hashed, "0", condition)
	want := *manifest.Proof.Source
	switch {
	case err != nil, stored == want:
		return destinations.PublishedRows{}, err
	case d.settings.Mode == modeMerge && stored.Rows < want.Rows:
		return destinations.PublishedRows{Untold: fmt.Sprintf("%s has %d of the %d rows that were published: newer ones took the place of the others, or somebody removed them, which cannot be told; values are not compared",
			d.settings.target(), stored.Rows, want.Rows)}, nil
	case stored.Rows > want.Rows:
		return whole("%s has %s with arrival times of the interval, and published were %s: rows were added or doubled; when other exports write there, too, set run_column", d.settings.target(), stored, want), nil
	}
	return whole("%s has %s with arrival times of the interval, and published were %s", d.settings.target(), stored, want), nil
}
