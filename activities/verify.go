package activities

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// VerifyProgress is what the heartbeat of a verification tells.
type VerifyProgress struct {
	Files int `json:"files"`
	Of    int `json:"of"`
}

// verifyAtOnce is how many files of an interval are read at a time.
const verifyAtOnce = 2

// VerifyRun reads every file of a published run again, and holds it against the manifest: size, checksum, entity tag, rows
// and hash. What differs is part of the answer and no error. It changes nothing.
func (s *Steps) VerifyRun(ctx context.Context, task RunTask) (export.Verification, error) {
	destination, _, err := s.open(ctx, task.Definition)
	if err != nil {
		return export.Verification{}, failure(ctx, err)
	}
	files, can := destination.(destinations.ReadsBack)
	if !can {
		return export.Verification{}, failure(ctx, export.Errorf(export.KindConfig, "what lies at a destination of kind %q cannot be read back", task.Definition.Destination))
	}
	manifest, err := destination.Published(ctx, task.Run)
	if err != nil {
		return export.Verification{}, failure(ctx, err)
	}
	found := export.Verification{Run: task.Run, Result: export.VerifiedMissing}
	if manifest == nil {
		return found, nil
	}
	found.Run, found.Rows, found.Bytes, found.Files = manifest.Run, manifest.Rows, manifest.Bytes, len(manifest.Receipts)
	found.Manifest, found.Content, found.Result = manifest.Location, manifest.Proof.Source, export.VerifiedWhole
	differences, err := s.verifyFiles(ctx, files, *manifest)
	if errors.Is(err, errHangs) {
		err = export.Errorf(export.KindDestinationUnavailable, "verify %s: no byte has moved for too long: %w", manifest.Run, err)
	}
	if err != nil {
		return found, failure(ctx, err)
	}
	if differs := disagrees(*manifest); differs != "" {
		differences = append(differences, export.Difference{Chunk: -1, What: differs})
	}
	switch {
	case len(differences) > 0:
		found.Result = export.VerifiedDiffers
		slices.SortFunc(differences, func(a, b export.Difference) int { return cmp.Compare(a.Chunk, b.Chunk) })
		found.Differences = differences[:min(len(differences), export.MaxDifferences)]
		found.MoreDifferences = len(differences) - len(found.Differences)
	case found.Content == nil:
		found.Result = export.VerifiedUnproved
	}
	return found, nil
}

// verifyFiles reads all files of a manifest. One that hangs ends by itself after a heartbeat timeout, as a chunk does.
func (s *Steps) verifyFiles(ctx context.Context, files destinations.ReadsBack, manifest export.Manifest) ([]export.Difference, error) {
	bounded, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	hangs := endWhenItHangs(activity.GetInfo(ctx).HeartbeatTimeout, stop)
	defer hangs.Stop()
	var mu sync.Mutex
	var differences []export.Difference
	done := 0
	progress := func() {
		mu.Lock()
		defer mu.Unlock()
		hangs.progressed()
		activity.RecordHeartbeat(ctx, VerifyProgress{Files: done, Of: len(manifest.Receipts)})
	}
	group, working := errgroup.WithContext(bounded)
	group.SetLimit(verifyAtOnce)
	for _, receipt := range manifest.Receipts {
		group.Go(func() error {
			reader := reader{events: s.Events, comment: "millrace verify " + manifest.Run.String(), progress: progress}
			err := files.ReadBack(working, manifest.Run, receipt, reader)
			if err != nil && !export.IsUnworkable(err) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			if err != nil {
				differences = append(differences, export.Difference{Chunk: receipt.Chunk, Location: receipt.Location, What: err.Error()})
			}
			return nil
		})
	}
	err := group.Wait()
	if err != nil && errors.Is(context.Cause(bounded), errHangs) {
		err = errHangs
	}
	return differences, err
}

// disagrees says in which way a manifest does not agree with itself, if it does not: its receipts add up to what it proves.
func disagrees(manifest export.Manifest) string {
	if manifest.Proof.Source == nil {
		return ""
	}
	proof, err := export.Proof{}.WithContents(manifest.Proof.Level, manifest.Receipts)
	switch {
	case err != nil:
		return err.Error()
	case *proof.Source != *manifest.Proof.Source:
		return "the manifest's receipts have " + proof.Source.String() + " together, its proof says " + manifest.Proof.Source.String()
	}
	return ""
}
