package s3

import (
	"context"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// proveAtOnce is how many objects are asked for at a time.
const proveAtOnce = 16

// Prove asks for each object; see destinations.Destination. What must agree: the receipts with the plan, and the
// store's size, entity tag, checksum of the whole object and metadata with the receipts.
func (d *Destination) Prove(ctx context.Context, plan export.Plan, receipts []export.Receipt) (export.Proof, error) {
	if err := export.CheckReceipts(plan, receipts); err != nil {
		return export.Proof{}, err
	}
	if err := failpoint.Hit(ctx, "s3.prove"); err != nil {
		return export.Proof{}, d.explain(ctx, "prove "+plan.Run.String(), err)
	}
	var stored atomic.Uint64
	planHash := plan.Hash()
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(proveAtOnce)
	for _, receipt := range receipts {
		group.Go(func() error {
			found, err := d.look(working, d.below(receipt.Location))
			if err != nil {
				return err
			}
			if err := d.compare(plan.Run, planHash, receipt, found); err != nil {
				return err
			}
			stored.Add(found.size)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return export.Proof{}, err
	}
	proof := export.Proof{Level: export.ProofStream, PlannedRows: plan.Rows, StoredBytes: stored.Load()}
	for _, receipt := range receipts {
		proof.WrittenRows += receipt.Rows
	}
	return proof, d.explain(ctx, "prove "+plan.Run.String(), failpoint.Hit(ctx, "s3.proved"))
}

// compare holds what the store says against a receipt.
func (d *Destination) compare(run export.Run, planHash string, receipt export.Receipt, found *object) error {
	if want := d.location(run, receipt.Chunk); receipt.Location != want {
		return export.Errorf(export.KindInternal, "%s: the receipt of chunk %d names %s, its place is %s", run, receipt.Chunk, receipt.Location, want)
	}
	if found == nil {
		return d.otherwise(run, receipt, "it is gone")
	}
	identity := identity{plan: planHash, run: run, chunk: receipt.Chunk}
	if !identity.owns(found) {
		return d.otherwise(run, receipt, "it belongs to another plan")
	}
	for _, pair := range []struct {
		what          string
		written, read any
	}{
		{"size", receipt.Bytes, found.size},
		{"entity tag", receipt.ETag, bare(found.etag)},
		{"checksum", receipt.Checksum, checksumPrefix + found.checksum},
	} {
		if pair.written != pair.read {
			return d.otherwise(run, receipt, "it has %s %v, and was written with %v", pair.what, pair.read, pair.written)
		}
	}
	return nil
}

// bare is an entity tag without its quotes.
func bare(etag string) string { return strings.Trim(etag, `"`) }
