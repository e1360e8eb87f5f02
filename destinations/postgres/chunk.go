package postgres

import (
	"context"
	"fmt"
	"time"

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
		receipt = export.Receipt{Chunk: l.Chunk, Location: name, ETag: l.Hash, Rows: l.Rows, Bytes: l.Bytes}
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
	defer keepTelling(passage)()
	stored, err := contentOf(ctx, tx, d.settings.in(name), columns)
	if err != nil {
		return label{}, err
	}
	if stored.rows != rows {
		return label{}, export.Errorf(export.KindData, "%d rows are there, %d were sent", stored.rows, rows)
	}
	l := label{
		Export: task.Run.Export, Run: runName(task.Run), Plan: task.PlanHash, Chunk: task.Chunk.Index,
		Rows: rows, Bytes: passage.bytes(), Hash: stored.text(),
	}
	return l, d.mark(ctx, tx, name, l)
}

// tellEvery is how often progress is told while the server reads a staging table, which tells nothing by itself; for at
// most tellFor, so that a server that hangs is given up.
const (
	tellEvery = 5 * time.Second
	tellFor   = 10 * time.Minute
)

// keepTelling repeats the last progress until the answer is called.
func keepTelling(rows *passage) (stop func()) {
	done, silent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(silent)
		tick, end := time.NewTicker(tellEvery), time.After(tellFor)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				rows.progress(rows.passed.Load())
			case <-end:
				return
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-silent
	}
}
