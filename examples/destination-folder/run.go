package folder

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// look finds the highest revision that is published, and the highest that is closed.
func (d *Destination) look(run export.Run) (manifest *export.Manifest, closed *export.Closed, err error) {
	paths, err := filepath.Glob(filepath.Join(d.root, interval(run), "r*", "commit.json")) // sorted
	if err != nil {
		return nil, nil, err
	}
	for _, path := range paths {
		m, c, err := readMark(path)
		if err != nil {
			return nil, nil, err
		}
		manifest, closed = cmp.Or(m, manifest), cmp.Or(c, closed)
	}
	return manifest, closed, nil
}

// readMark reads what stands at a commit mark: one of the two.
func readMark(path string) (*export.Manifest, *export.Closed, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	manifest, closed, err := export.ReadCommitMark(text)
	if manifest != nil {
		manifest.Location = path
	}
	return manifest, closed, err
}

// Published reads the commit marks; see destinations.Destination.
func (d *Destination) Published(ctx context.Context, run export.Run) (*export.Manifest, error) {
	manifest, _, err := d.look(run)
	return manifest, d.explain(ctx, "look for a published run", err)
}

// Prepare links plan.json; see destinations.Destination. Who comes second finds the name taken, and reads.
func (d *Destination) Prepare(ctx context.Context, plan export.Plan) (_ destinations.Prepared, err error) {
	defer func() { err = d.explain(ctx, "prepare "+plan.Run.String(), err) }()
	manifest, closed, err := d.look(plan.Run)
	if err != nil {
		return destinations.Prepared{}, err
	}
	run, prepared := plan.Run, destinations.Prepared{Plan: plan}
	switch {
	case manifest != nil && !plan.TakesPlaceOf(manifest.Run):
		run, prepared.Published = manifest.Run, manifest
	case closed != nil && closed.Run.Revision >= run.Revision:
		return destinations.Prepared{Closed: closed}, nil
	default:
		first, err := d.Holder(ctx, run)
		if err != nil || manifest == nil && closed == nil && first.Claim != nil {
			return destinations.Prepared{Covered: first.Claim}, err
		}
		if _, err := writeOnce(d.planFile(run), plan); err != nil {
			return destinations.Prepared{}, err
		}
	}
	holds, claim, err := d.readPlan(run)
	if holds != nil {
		prepared.Plan = *holds
	}
	prepared.Covered = claim
	return prepared, err
}

func (d *Destination) planFile(run export.Run) string {
	return filepath.Join(d.revision(run), "plan.json")
}

// readPlan reads what stands in a plan's place: one of the two.
func (d *Destination) readPlan(run export.Run) (*export.Plan, *export.Claim, error) {
	text, err := os.ReadFile(d.planFile(run))
	if err != nil {
		return nil, nil, err
	}
	return export.ReadPlan(text)
}

// Claim links plan.json of the cell's first revision; see destinations.Destination.
func (d *Destination) Claim(ctx context.Context, claim export.Claim) (export.Holder, error) {
	if _, err := writeOnce(d.planFile(claim.Run), claim); err != nil {
		return export.Holder{}, d.explain(ctx, "claim "+claim.Run.String(), err)
	}
	return d.Holder(ctx, claim.Run)
}

// Holder reads plan.json of the cell's first revision; see destinations.Destination.
func (d *Destination) Holder(ctx context.Context, cell export.Run) (export.Holder, error) {
	cell.Revision = export.FirstRevision
	_, claim, err := d.readPlan(cell)
	if errors.Is(err, os.ErrNotExist) {
		return export.Holder{}, nil
	}
	return export.Holder{Own: err == nil && claim == nil, Claim: claim}, d.explain(ctx, "look whose "+cell.String()+" is", err)
}

// Publish links commit.json; see destinations.Destination. A lost answer needs no care: the next attempt finds the mark.
func (d *Destination) Publish(ctx context.Context, manifest export.Manifest) (export.Manifest, error) {
	holds, closed, err := d.mark(manifest.Run, manifest)
	switch {
	case err != nil:
		return export.Manifest{}, d.explain(ctx, "publish "+manifest.Run.String(), err)
	case closed != nil:
		return export.Manifest{}, export.Errorf(export.KindInternal, "publish %s: %w", manifest.Run, &export.ClosedError{Closed: *closed})
	}
	return *holds, nil
}

// Close links the same name; see destinations.Destination. So of closing and publishing one wins for all.
func (d *Destination) Close(ctx context.Context, mark export.Closed) (destinations.Ending, error) {
	manifest, closed, err := d.mark(mark.Run, mark)
	if err != nil {
		return destinations.Ending{}, d.explain(ctx, "close "+mark.Run.String(), err)
	}
	return destinations.Ending{Published: manifest, Closed: closed}, nil
}

// mark writes the commit mark of a revision, and gives the one that holds.
func (d *Destination) mark(run export.Run, content any) (*export.Manifest, *export.Closed, error) {
	path := filepath.Join(d.revision(run), "commit.json")
	if _, err := writeOnce(path, content); err != nil {
		return nil, nil, err
	}
	return readMark(path)
}

// Abort removes what an execution has not finished; see destinations.Destination. Finished chunks have names of their own.
func (d *Destination) Abort(ctx context.Context, run export.Run, execution string) error {
	paths, err := filepath.Glob(filepath.Join(d.revision(run), unfinished+execution+"-*"))
	for _, path := range paths {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return d.explain(ctx, "take back what is unfinished", err)
}
