package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

// VerifyProgress is what the heartbeat of a verification tells.
type VerifyProgress struct {
	Files int `json:"files"`
	Of    int `json:"of"`
}

// verifyAtOnce is how many files of an interval are read at a time.
const verifyAtOnce = 2

// VerifyTask is one interval of a range that is verified.
type VerifyTask struct {
	RunTask
	// Within is the range; zero when the interval is all of it.
	Within export.Interval `json:"within,omitzero"`
}

// first tells whether the interval is the first of the range that a run covers.
func (t VerifyTask) first(manifest export.Manifest) bool {
	return t.Run.Start.Equal(manifest.Run.Start) || t.Within.Start.IsZero() || t.Run.Start.Equal(t.Within.Start)
}

// VerifyRun reads every file of a published run again, and holds it against the manifest: size, checksum, entity tag, rows
// and hash; or its rows in a table, number and hash. What differs is part of the answer and no error. It changes nothing.
// A longer run is read for the first of the intervals that it covers; the answer for the others has no result.
func (s *Steps) VerifyRun(ctx context.Context, task VerifyTask) (export.Verification, error) {
	destination, definition, err := s.open(ctx, task.Definition)
	if err != nil {
		return export.Verification{}, failure(ctx, err)
	}
	files, can := destination.(destinations.ReadsBack)
	rows, inTable := destination.(destinations.ReadsPublished)
	if !can && !inTable {
		return export.Verification{}, failure(ctx, export.Errorf(export.KindConfig, "what lies at a destination of kind %q cannot be read back", task.Definition.Destination))
	}
	cells, err := cellsOf(destination, definition)
	if err != nil {
		return export.Verification{}, failure(ctx, err)
	}
	manifest, err := cells.covering(ctx, task.Run.Interval)
	if err != nil {
		return export.Verification{}, failure(ctx, err)
	}
	found := export.Verification{Run: task.Run, Result: export.VerifiedMissing}
	if manifest == nil || manifest.Run.Revision < task.Run.Revision {
		return found, nil // of the revision that was asked for
	}
	if !task.first(*manifest) {
		return export.Verification{}, nil
	}
	found.Run, found.Rows, found.Bytes, found.Files = manifest.Run, manifest.Rows, manifest.Bytes, len(manifest.Receipts)
	found.Manifest, found.Content, found.Result = manifest.Location, manifest.Proof.Source, export.VerifiedWhole
	var differences []export.Difference
	var untold string
	if can {
		differences, err = s.verifyFiles(ctx, files, *manifest)
	} else {
		differences, untold, err = verifyRows(ctx, rows, *manifest)
	}
	if errors.Is(err, errHangs) {
		err = export.Errorf(export.KindDestinationUnavailable, "verify %s: no byte has moved for too long: %w", manifest.Run, err)
	}
	if err != nil {
		return found, failure(ctx, err)
	}
	differs, err := s.disagrees(ctx, *manifest)
	if err != nil {
		return found, failure(ctx, err)
	}
	if differs != "" {
		differences = append(differences, export.Difference{Chunk: -1, What: differs})
	}
	if len(differences) > 0 {
		// The next revision may have taken its place in the meantime.
		again, err := destination.Published(ctx, task.Run)
		switch {
		case err != nil:
			return found, failure(ctx, err)
		case again != nil && again.Run.Revision > manifest.Run.Revision:
			return s.VerifyRun(ctx, task)
		}
	}
	switch {
	case len(differences) > 0:
		found.Result = export.VerifiedDiffers
		slices.SortFunc(differences, func(a, b export.Difference) int { return cmp.Compare(a.Chunk, b.Chunk) })
		found.Differences = differences[:min(len(differences), export.MaxDifferences)]
		found.MoreDifferences = len(differences) - len(found.Differences)
	case untold != "":
		found.Result, found.Differences = export.VerifiedUntold, []export.Difference{{Chunk: -1, What: untold}}
	case found.Content == nil:
		found.Result = export.VerifiedUnproved
	}
	return found, nil
}

// verifyRows reads the rows of a run in a table. What hangs is ended by the bound of its attempt.
func verifyRows(ctx context.Context, rows destinations.ReadsPublished, manifest export.Manifest) ([]export.Difference, string, error) {
	defer alive(ctx)()
	found, err := rows.ReadPublished(ctx, manifest)
	return found.Differences, found.Untold, err
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
			reader := reader{events: s.Events, columns: manifest.Exported(), comment: "millrace verify " + manifest.Run.String(), settings: s.reads(ctx), progress: progress}
			err := files.ReadBack(working, manifest.Run, receipt, reader)
			if err != nil && !export.IsUnworkable(err) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			if err != nil {
				differences = append(differences, export.Difference{Chunk: receipt.Chunk, Location: receipt.Location, Gone: export.IsGone(err), What: err.Error()})
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

// disagrees says in which way a manifest does not agree with itself or with the ledger, if it does not: its receipts add up
// to what it proves, and that is what the ledger keeps, out of reach of who can write to the destination.
func (s *Steps) disagrees(ctx context.Context, manifest export.Manifest) (string, error) {
	says := manifest.Proof.Source
	if says != nil {
		proof, err := export.Proof{}.WithContents(manifest.Proof.Level, manifest.Receipts)
		if err != nil {
			return err.Error(), nil
		}
		if *proof.Source != *says {
			return fmt.Sprintf("the manifest's receipts have %s together, its proof says %s", proof.Source, says), nil
		}
	}
	rows, err := s.Events.Runs(ctx, eventstore.RunFilter{Export: manifest.Run.Export, Interval: manifest.Run.Interval})
	if err != nil {
		return "", err
	}
	for _, row := range rows {
		switch {
		case row.Run.Revision > manifest.Run.Revision && row.Status == eventstore.StatusPublished:
			return fmt.Sprintf("the ledger has revision %d as published, and readers find revision %d", row.Run.Revision, manifest.Run.Revision), nil
		case row.Run.Revision != manifest.Run.Revision || row.Status != eventstore.StatusPublished || row.Source == nil:
		case says == nil:
			return fmt.Sprintf("the manifest proves nothing, the ledger says %s", row.Source), nil
		case *row.Source != *says:
			return fmt.Sprintf("the manifest says %s, the ledger %s", says, row.Source), nil
		}
	}
	return "", nil
}
