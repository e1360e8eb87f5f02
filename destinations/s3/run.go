package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// Published looks for the manifest of the highest published revision; see destinations.Destination.
func (d *Destination) Published(ctx context.Context, run export.Run) (*export.Manifest, error) {
	published, _, err := d.committed(ctx, run)
	return published, err
}

// committed reads the commit marks of a run from the highest revision down: the first manifest, and the first mark of a
// closed revision above it.
func (d *Destination) committed(ctx context.Context, run export.Run) (*export.Manifest, *export.Closed, error) {
	folder := d.marksFolder(run)
	var revisions []int
	err := d.list(ctx, folder, func(key string) error {
		if revision := manifestRevision(folder, key); revision > 0 {
			revisions = append(revisions, revision)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(revisions)
	var highest *export.Closed
	for _, revision := range slices.Backward(revisions) {
		run.Revision = revision
		content, err := d.read(ctx, d.manifestKey(run))
		if err != nil {
			return nil, nil, err
		}
		if content == nil {
			continue
		}
		published, closed, err := d.readCommitMark(run, content)
		if err != nil || published != nil {
			return published, highest, err
		}
		if highest == nil {
			highest = closed
		}
	}
	return nil, highest, nil
}

// Prepare writes plan.json unless it is there; see destinations.Destination.
func (d *Destination) Prepare(ctx context.Context, plan export.Plan) (destinations.Prepared, error) {
	published, closed, err := d.committed(ctx, plan.Run)
	if err != nil {
		return destinations.Prepared{}, err
	}
	if err := failpoint.Hit(ctx, "s3.looked"); err != nil {
		return destinations.Prepared{}, d.explain(ctx, "prepare "+plan.Run.String(), err)
	}
	if published != nil && !plan.TakesPlaceOf(published.Run) {
		return d.preparedAs(ctx, plan, published)
	}
	if closed != nil && closed.Run.Revision >= plan.Run.Revision {
		return destinations.Prepared{Plan: plan, Closed: closed}, nil
	}
	if err := d.encoding.Format.Keeps(d.columns); err != nil {
		return destinations.Prepared{}, fmt.Errorf("prepare %s: %w", plan.Run, err)
	}
	content, err := mark(plan)
	if err != nil {
		return destinations.Prepared{}, err
	}
	if plan.Run.Revision > export.FirstRevision && published == nil && closed == nil {
		if holder, err := d.Holder(ctx, plan.Run); err != nil || holder.Claim != nil {
			return destinations.Prepared{Plan: plan, Covered: holder.Claim}, err
		}
	}
	found, err := d.settle(ctx, d.planKey(plan.Run), content, "s3.plan")
	if err != nil {
		return destinations.Prepared{}, err
	}
	holds, claim, err := d.readPlan(plan.Run, found)
	if err != nil || claim != nil {
		return destinations.Prepared{Plan: plan, Covered: claim}, err
	}
	if d.inOrder(holds.Run) {
		published, closed, err := d.closeWhenLate(ctx, holds)
		switch {
		case err != nil:
			return destinations.Prepared{}, err
		case published != nil:
			return d.preparedAs(ctx, plan, published)
		case closed != nil:
			return destinations.Prepared{Plan: holds, Closed: closed}, nil
		}
	}
	d.sweep(ctx, holds)
	return destinations.Prepared{Plan: holds}, nil
}

// preparedAs answers with the plan that the published run was worked by. Should somebody have removed it, the given
// plan stands in its place: nobody works a published run.
func (d *Destination) preparedAs(ctx context.Context, plan export.Plan, published *export.Manifest) (destinations.Prepared, error) {
	content, err := d.read(ctx, d.planKey(published.Run))
	if err != nil {
		return destinations.Prepared{}, err
	}
	if content != nil {
		holds, claim, err := d.readPlan(published.Run, content)
		if err != nil {
			return destinations.Prepared{}, err
		}
		if claim == nil {
			plan = holds
		}
	}
	return destinations.Prepared{Plan: plan, Published: published}, nil
}

// Publish writes manifest.json unless it is there; see destinations.Destination.
func (d *Destination) Publish(ctx context.Context, manifest export.Manifest) (export.Manifest, error) {
	if err := d.allShow(ctx, manifest); err != nil {
		return export.Manifest{}, err
	}
	published, closed, err := d.commit(ctx, manifest.Run, manifest, "s3.manifest")
	switch {
	case err != nil:
		return export.Manifest{}, err
	case closed != nil:
		return export.Manifest{}, export.Errorf(export.KindInternal, "publish %s: %w", manifest.Run, &export.ClosedError{Closed: *closed})
	}
	if d.inOrder(manifest.Run) {
		d.takeBackStrays(ctx, *published)
	}
	return *published, nil
}

// Close writes the mark of a closed revision where its manifest would be; see destinations.Destination. What a revision whose
// files appear in order has open is taken back with it.
func (d *Destination) Close(ctx context.Context, mark export.Closed) (destinations.Ending, error) {
	published, closed, err := d.commit(ctx, mark.Run, mark, "s3.closed")
	if err == nil && closed != nil && mark.Run.Revision == export.FirstRevision {
		err = d.fenceRun(ctx, mark.Run)
	}
	return destinations.Ending{Published: published, Closed: closed}, err
}

// commit writes a revision's commit mark unless it has one, and gives the one that holds.
func (d *Destination) commit(ctx context.Context, run export.Run, wanted any, point string) (*export.Manifest, *export.Closed, error) {
	content, err := mark(wanted)
	if err != nil {
		return nil, nil, err
	}
	found, err := d.settle(ctx, d.manifestKey(run), content, point)
	if err != nil {
		return nil, nil, err
	}
	return d.readCommitMark(run, found)
}

// mark is a plan or commit mark as it lies in the bucket, where people read it too.
func mark(content any) ([]byte, error) {
	encoded, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return nil, export.Errorf(export.KindInternal, "encode a plan or commit mark: %w", err)
	}
	return append(encoded, '\n'), nil
}

// readPlan reads what stands in the place of a plan: the plan, or else the claim of a longer run.
func (d *Destination) readPlan(run export.Run, content []byte) (export.Plan, *export.Claim, error) {
	plan, claim, err := export.ReadPlan(content)
	var classified *export.Error
	switch {
	case errors.As(err, &classified):
		return export.Plan{}, nil, err
	case err != nil:
		return export.Plan{}, nil, d.notOurs(d.planKey(run), "is not a plan that this program can read: %v", err)
	case claim != nil && runName(claim.Run) != runName(run):
		return export.Plan{}, nil, d.notOurs(d.planKey(run), "is the claim of another interval (%s)", claim.Run)
	case claim != nil:
		return export.Plan{}, claim, nil
	case runName(plan.Run) != runName(run):
		return export.Plan{}, nil, d.notOurs(d.planKey(run), "is the plan of another run (%s)", plan.Run)
	}
	return *plan, nil, nil
}

func (d *Destination) readCommitMark(run export.Run, content []byte) (*export.Manifest, *export.Closed, error) {
	key := d.manifestKey(run)
	published, closed, err := export.ReadCommitMark(content)
	var classified *export.Error
	switch {
	case errors.As(err, &classified):
		return nil, nil, export.Errorf(export.KindOf(err), "%s: %w", key, err)
	case err != nil:
		return nil, nil, d.notOurs(key, "is not a manifest that this program can read: %v", err)
	case closed != nil && runName(closed.Run) != runName(run):
		return nil, nil, d.notOurs(key, "closes another run (%s)", closed.Run)
	case published != nil && runName(published.Run) != runName(run):
		return nil, nil, d.notOurs(key, "is the manifest of another run (%s)", published.Run)
	case published != nil:
		published.Location = "s3://" + d.place.bucket + "/" + key
	}
	return published, closed, nil
}

// notOurs is the error of an object that somebody else put where ours belongs.
func (d *Destination) notOurs(key, format string, args ...any) error {
	return export.Errorf(export.KindConfig, "%s: %s %w: nothing is overwritten; find out who writes there, remove it, or give the export another prefix",
		d.place, key, export.Errorf(export.KindConfig, format, args...))
}
