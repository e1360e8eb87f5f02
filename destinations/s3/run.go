package s3

import (
	"context"
	"encoding/json"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// Published looks for the manifest of the highest revision; see destinations.Destination.
func (d *Destination) Published(ctx context.Context, run export.Run) (*export.Manifest, error) {
	folder := d.marksFolder(run)
	highest := 0
	err := d.list(ctx, folder, func(key string) error {
		highest = max(highest, manifestRevision(folder, key))
		return nil
	})
	if err != nil || highest == 0 {
		return nil, err
	}
	run.Revision = highest
	content, err := d.read(ctx, d.manifestKey(run))
	if err != nil || content == nil {
		return nil, err
	}
	manifest, err := d.readManifest(run, content)
	if err != nil {
		return nil, err
	}
	return &manifest, nil
}

// Prepare writes plan.json unless it is there; see destinations.Destination.
func (d *Destination) Prepare(ctx context.Context, plan export.Plan) (destinations.Prepared, error) {
	published, err := d.Published(ctx, plan.Run)
	if err != nil {
		return destinations.Prepared{}, err
	}
	if err := failpoint.Hit(ctx, "s3.looked"); err != nil {
		return destinations.Prepared{}, d.explain(ctx, "prepare "+plan.Run.String(), err)
	}
	if published != nil {
		return d.preparedAs(ctx, plan, published)
	}
	content, err := mark(plan)
	if err != nil {
		return destinations.Prepared{}, err
	}
	found, err := d.settle(ctx, d.planKey(plan.Run), content, "s3.plan")
	if err != nil {
		return destinations.Prepared{}, err
	}
	holds, err := d.readPlan(plan.Run, found)
	return destinations.Prepared{Plan: holds}, err
}

// preparedAs answers with the plan that the published run was worked by. Should somebody have removed it, the given
// plan stands in its place: nobody works a published run.
func (d *Destination) preparedAs(ctx context.Context, plan export.Plan, published *export.Manifest) (destinations.Prepared, error) {
	content, err := d.read(ctx, d.planKey(published.Run))
	if err != nil {
		return destinations.Prepared{}, err
	}
	if content != nil {
		if plan, err = d.readPlan(published.Run, content); err != nil {
			return destinations.Prepared{}, err
		}
	}
	return destinations.Prepared{Plan: plan, Published: published}, nil
}

// Publish writes manifest.json unless it is there; see destinations.Destination.
func (d *Destination) Publish(ctx context.Context, manifest export.Manifest) (export.Manifest, error) {
	content, err := mark(manifest)
	if err != nil {
		return export.Manifest{}, err
	}
	found, err := d.settle(ctx, d.manifestKey(manifest.Run), content, "s3.manifest")
	if err != nil {
		return export.Manifest{}, err
	}
	return d.readManifest(manifest.Run, found)
}

// mark is a plan or manifest as it lies in the bucket, where people read it too.
func mark(content any) ([]byte, error) {
	encoded, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return nil, export.Errorf(export.KindInternal, "encode plan or manifest: %w", err)
	}
	return append(encoded, '\n'), nil
}

func (d *Destination) readPlan(run export.Run, content []byte) (export.Plan, error) {
	var plan export.Plan
	if err := json.Unmarshal(content, &plan); err != nil {
		return export.Plan{}, d.notOurs(d.planKey(run), "is not a plan that this program can read: %v", err)
	}
	if err := plan.Validate(); err != nil {
		return export.Plan{}, err
	}
	if runName(plan.Run) != runName(run) {
		return export.Plan{}, d.notOurs(d.planKey(run), "is the plan of another run (%s)", plan.Run)
	}
	return plan, nil
}

func (d *Destination) readManifest(run export.Run, content []byte) (export.Manifest, error) {
	var manifest export.Manifest
	key := d.manifestKey(run)
	if err := json.Unmarshal(content, &manifest); err != nil {
		return export.Manifest{}, d.notOurs(key, "is not a manifest that this program can read: %v", err)
	}
	if manifest.Version != export.ManifestVersion {
		return export.Manifest{}, export.Errorf(export.KindInternal, "%s has version %d, this program knows %d: run the version that wrote it", key, manifest.Version, export.ManifestVersion)
	}
	if runName(manifest.Run) != runName(run) {
		return export.Manifest{}, d.notOurs(key, "is the manifest of another run (%s)", manifest.Run)
	}
	manifest.Location = "s3://" + d.place.bucket + "/" + key
	return manifest, nil
}

// notOurs is the error of an object that somebody else put where ours belongs.
func (d *Destination) notOurs(key, format string, args ...any) error {
	return export.Errorf(export.KindConfig, "%s: %s %w: nothing is overwritten; find out who writes there, remove it, or give the export another prefix",
		d.place, key, export.Errorf(export.KindConfig, format, args...))
}
