package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/export"
)

// Prove looks at the label of each staging table and that it has the rows that were copied, all of them and no other; see
// destinations.Destination. Publish does so again, inside the transaction that moves them.
func (d *Destination) Prove(ctx context.Context, plan export.Plan, receipts []export.Receipt) (export.Proof, error) {
	if err := export.CheckReceipts(plan, receipts); err != nil {
		return export.Proof{}, err
	}
	proof := export.Proof{Level: export.ProofStream, PlannedRows: plan.Rows}
	err := d.within(ctx, anybody, func(tx pgx.Tx) error {
		for i, receipt := range receipts {
			if err := d.hold(ctx, tx, "ACCESS SHARE", plan.Run, plan.Hash(), receipt); err != nil {
				return err
			}
			if err := d.countStaged(ctx, tx, plan.Run, receipt); err != nil {
				return err
			}
			columns, err := d.stagedColumns(ctx, tx, plan.Run, receipt)
			if err != nil {
				return err
			}
			_, not := compared(columns)
			if i > 0 && !slices.Equal(not, proof.NotCompared) {
				return d.changed(plan.Run, receipt, "has columns of other types than that of chunk 0")
			}
			proof.NotCompared = not
			proof.WrittenRows += receipt.Rows
			proof.StoredBytes += receipt.Bytes
		}
		return nil
	})
	if err != nil {
		return export.Proof{}, d.explain(ctx, "prove "+plan.Run.String(), err)
	}
	return proof, nil
}

// lock takes a lock on the staging table that a receipt names, until the transaction's end.
func (d *Destination) lock(ctx context.Context, tx pgx.Tx, lock string, run export.Run, receipt export.Receipt) error {
	if !isStaging(receipt.Location) {
		return export.Errorf(export.KindInternal, "the receipt of chunk %d names %q, which is no staging table", receipt.Chunk, receipt.Location)
	}
	_, err := tx.Exec(ctx, "LOCK TABLE "+d.settings.in(receipt.Location)+" IN "+lock+" MODE")
	if sqlState(err) == codeUndefinedTable {
		return export.Unworkable(export.Errorf(export.KindNotFound, "%s: chunk %d was copied into %s, which is gone: find out who removes tables there", run, receipt.Chunk, d.settings.in(receipt.Location)))
	}
	return err
}

// hold takes a lock on the staging table that a receipt names, and compares its label with the receipt.
func (d *Destination) hold(ctx context.Context, tx pgx.Tx, lock string, run export.Run, planHash string, receipt export.Receipt) error {
	if err := d.lock(ctx, tx, lock, run, receipt); err != nil {
		return err
	}
	found, err := d.labelOf(ctx, tx, receipt.Location)
	if err != nil {
		return err
	}
	if found == nil {
		return d.changed(run, receipt, "has lost its label")
	}
	want := label{
		Export: run.Export, Run: runName(run), Plan: planHash, Chunk: receipt.Chunk,
		Rows: receipt.Rows, Bytes: receipt.Bytes, Writer: receipt.ETag, At: found.At,
	}
	if *found != want || receipt.Checksum != "" {
		return d.changed(run, receipt, "is labelled as another's, or with another content, than its receipt says")
	}
	return nil
}

// changed is the error of a staging table that is not as it was left: by a crash of the server, which empties unlogged
// tables, or by somebody's hand. The chunks have to be copied again, for another revision.
func (d *Destination) changed(run export.Run, receipt export.Receipt, format string, args ...any) error {
	return export.Unworkable(export.Errorf(export.KindData, "%s: staging table %s of chunk %d %w: was the server restarted after a crash?",
		run, d.settings.in(receipt.Location), receipt.Chunk, export.Errorf(export.KindData, format, args...)))
}

// now is the server's time.
func (d *Destination) now(ctx context.Context) (now time.Time, err error) {
	connection, err := d.connect(ctx)
	if err != nil {
		return now, err
	}
	defer hangUp(ctx, connection)
	return now, connection.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
}
