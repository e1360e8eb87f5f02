package postgres

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/export"
)

// Compared are the columns whose values the target keeps as they were given: all but those of type jsonb; see
// destinations.HoldsRows.
func (d *Destination) Compared(ctx context.Context) ([]export.Column, error) {
	var columns []column
	err := d.within(ctx, anybody, func(tx pgx.Tx) (err error) {
		columns, err = d.target(ctx, tx)
		return err
	})
	if err != nil {
		return nil, d.explain(ctx, "look at the table's columns", err)
	}
	columns, _ = compared(columns)
	return ofModel(columns), nil
}

// ReadRows reads a staging table whole and computes its content from the values; see destinations.HoldsRows. All of its
// rows must be of the transaction that copied them, which the receipt names. No statement can change a row and leave it
// the transaction that wrote it, so Publish, which looks at that again while nobody else can write, moves what was read
// here.
func (d *Destination) ReadRows(ctx context.Context, run export.Run, receipt export.Receipt, columns []export.Column) (export.Content, error) {
	var content export.Content
	err := d.within(ctx, anybody, func(tx pgx.Tx) error {
		if err := d.lock(ctx, tx, "ACCESS SHARE", run, receipt); err != nil {
			return err
		}
		staged, err := d.stagedColumns(ctx, tx, run, receipt)
		if err != nil {
			return err
		}
		staged, _ = compared(staged)
		if !slices.Equal(ofModel(staged), columns) {
			return d.changed(run, receipt, "has other columns than the source was read by")
		}
		found, written, err := contentOf(ctx, tx, d.settings.in(receipt.Location), staged, writerOf(receipt), "")
		if err != nil {
			return err
		}
		content = found
		return d.untouched(run, receipt, found.Rows, written)
	})
	return content, d.explain(ctx, "read back "+run.String(), err)
}

// stagedColumns are a staging table's columns, as those of the target were when it was made.
func (d *Destination) stagedColumns(ctx context.Context, tx pgx.Tx, run export.Run, receipt export.Receipt) ([]column, error) {
	there, err := d.columnsOf(ctx, tx, d.settings.in(receipt.Location))
	if err != nil {
		return nil, err
	}
	columns, wrong := d.match(there)
	if len(wrong) > 0 {
		return nil, d.changed(run, receipt, "does not fit the model any more: %s", strings.Join(wrong, "; "))
	}
	return columns, nil
}

// writer is the receipt's mark of the transaction that wrote a staging table's rows, as xmin has it.
const writer = "xmin:"

// writerOf is that transaction. A receipt of a program that wrote another mark names none, and no row is of it.
func writerOf(receipt export.Receipt) string {
	if number, found := strings.CutPrefix(receipt.ETag, writer); found {
		return number
	}
	return "0"
}

// untouched compares the rows that a staging table has, and those of them that the copy has written, with its receipt.
func (d *Destination) untouched(run export.Run, receipt export.Receipt, rows, written uint64) error {
	if rows != receipt.Rows || written != receipt.Rows {
		return d.changed(run, receipt, "has %d rows, %d of them as they were copied, and %d were copied", rows, written, receipt.Rows)
	}
	return nil
}

// countStaged holds the rows of a staging table against its receipt, without reading their values.
func (d *Destination) countStaged(ctx context.Context, tx pgx.Tx, run export.Run, receipt export.Receipt) error {
	var rows, written int64
	err := tx.QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE xmin = $1::text::xid) FROM "+d.settings.in(receipt.Location), writerOf(receipt)).Scan(&rows, &written)
	if err != nil {
		return err
	}
	return d.untouched(run, receipt, uint64(rows), uint64(written))
}
