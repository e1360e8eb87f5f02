package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// WriteChunk copies a chunk into a staging table of its own; see destinations.Destination. Nothing is adopted: called
// twice it leaves two staging tables, of which a run takes the one that its receipt names, and the other is swept.
func (d *Destination) WriteChunk(ctx context.Context, task destinations.ChunkTask) (export.Receipt, error) {
	act := fmt.Sprintf("copy chunk %d of %s", task.Chunk.Index, task.Run)
	name := newStaging()
	var receipt export.Receipt
	err := d.within(ctx, d.applicationOf(task.Run, task.Execution), func(tx pgx.Tx) error {
		l, err := d.copyChunk(ctx, tx, task, name)
		if err != nil {
			return err
		}
		receipt = export.Receipt{Chunk: l.Chunk, Location: name, ETag: l.Writer, Rows: l.Rows, Bytes: l.Bytes}
		return failpoint.Hit(ctx, "postgres.staging.commit")
	})
	if err == nil {
		err = failpoint.Hit(ctx, "postgres.staging.committed")
	}
	if err != nil {
		return export.Receipt{}, d.explain(ctx, act, err)
	}
	return receipt, nil
}

// copyChunk makes and fills the staging table. COPY's own count, the newlines that passed and the plan must agree.
func (d *Destination) copyChunk(ctx context.Context, tx pgx.Tx, task destinations.ChunkTask, name string) (label, error) {
	if err := failpoint.Hit(ctx, "postgres.chunk.begun"); err != nil {
		return label{}, err
	}
	if err := d.makeTables(ctx, tx); err != nil {
		return label{}, err
	}
	columns, err := d.target(ctx, tx)
	if err != nil {
		return label{}, err
	}
	if same, _ := compared(columns); task.Compared != nil && !slices.Equal(ofModel(same), task.Compared) {
		return label{}, export.Errorf(export.KindDestinationUnavailable, "the columns of %s were changed while the run was at work: it is tried again by itself", d.settings.target())
	}
	if err := d.createStaging(ctx, tx, name, columns); err != nil {
		return label{}, err
	}
	if err := failpoint.Hit(ctx, "postgres.staging.created"); err != nil {
		return label{}, err
	}
	passage, err := openPassage(ctx, task)
	if err != nil {
		return label{}, err
	}
	defer passage.close()
	// FREEZE: the table is of this transaction, so its rows need no second writing when they are read.
	tag, err := tx.Conn().PgConn().CopyFrom(ctx, passage, "COPY "+d.settings.in(name)+" ("+namesOfColumns(columns)+") FROM STDIN (FORMAT text, ENCODING 'UTF8', FREEZE)")
	rows, broken := passage.outcome()
	switch {
	case broken != nil:
		return label{}, broken
	case err != nil:
		return label{}, d.refusedRow(ctx, task, err)
	}
	if err := failpoint.Hit(ctx, "postgres.copied"); err != nil {
		return label{}, err
	}
	if copied := uint64(tag.RowsAffected()); copied != rows {
		return label{}, export.Errorf(export.KindInternal, "COPY took %d rows, %d lines were sent", copied, rows)
	}
	if rows != task.Chunk.Rows {
		return label{}, export.Errorf(export.KindInternal, "ClickHouse sent %d rows, planned were %d", rows, task.Chunk.Rows)
	}
	return d.mark(ctx, tx, name, label{
		Export: task.Run.Export, Run: runName(task.Run), Plan: task.PlanHash, Chunk: task.Chunk.Index, Rows: rows, Bytes: passage.bytes(),
	})
}
