package s3

import (
	"context"

	"github.com/millrace/millrace/export"
)

// Claim writes plan.json of the cell's first revision unless it is there; see destinations.Destination.
func (d *Destination) Claim(ctx context.Context, claim export.Claim) (export.Holder, error) {
	holder, err := d.Holder(ctx, claim.Run)
	if err != nil || holder != (export.Holder{}) {
		return holder, err
	}
	content, err := mark(claim)
	if err != nil {
		return export.Holder{}, err
	}
	found, err := d.settle(ctx, d.planKey(claim.Run), content, "s3.claim")
	if err != nil {
		return export.Holder{}, err
	}
	return d.holderBy(claim.Run, found)
}

// Holder reads plan.json of the cell's first revision; see destinations.Destination. A cell that has ended without it, since
// somebody removed it, is its own.
func (d *Destination) Holder(ctx context.Context, cell export.Run) (export.Holder, error) {
	cell.Revision = export.FirstRevision
	content, err := d.read(ctx, d.planKey(cell))
	if err != nil {
		return export.Holder{}, err
	}
	if content != nil {
		return d.holderBy(cell, content)
	}
	published, closed, err := d.committed(ctx, cell)
	return export.Holder{Own: published != nil || closed != nil}, err
}

func (d *Destination) holderBy(cell export.Run, content []byte) (export.Holder, error) {
	_, claim, err := d.readPlan(cell, content)
	return export.Holder{Own: err == nil && claim == nil, Claim: claim}, err
}
