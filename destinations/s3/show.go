package s3

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// Show completes the uploads that the receipts name, in the order of chunks; see destinations.ShowsInOrder. Parts come from the
// store's own list, so it does not matter who sent them.
func (d *Destination) Show(ctx context.Context, plan export.Plan, receipts []export.Receipt) (destinations.Shown, error) {
	act := "show " + plan.Run.String()
	if len(receipts) != len(plan.Chunks) {
		return destinations.Shown{}, export.Errorf(export.KindInternal, "%s: %d receipts for %d chunks", act, len(receipts), len(plan.Chunks))
	}
	if err := d.stillOpen(ctx, plan.Run); err != nil {
		return destinations.Shown{}, err // no turn for what shows nothing
	}
	waits, err := d.turn(ctx, plan)
	if err != nil || waits != "" {
		return destinations.Shown{Waits: waits}, err
	}
	uploads, lost, err := d.openParts(ctx, plan, receipts)
	if err != nil || len(lost) > 0 {
		return destinations.Shown{Lost: lost}, err
	}
	if err := failpoint.Hit(ctx, "s3.show"); err != nil {
		return destinations.Shown{}, d.explain(ctx, act, err)
	}
	shown := make([]export.Receipt, len(receipts))
	for i, one := range uploads {
		var there bool
		if shown[i], there, err = one.show(ctx, receipts[i]); err != nil {
			return destinations.Shown{}, err
		}
		if !there {
			return destinations.Shown{Lost: []int{i}}, nil
		}
	}
	return destinations.Shown{Receipts: shown}, d.explain(ctx, act, failpoint.Hit(ctx, "s3.shown"))
}

// openParts finds the parts of all uploads, and the chunks whose uploads are gone while no object is there.
func (d *Destination) openParts(ctx context.Context, plan export.Plan, receipts []export.Receipt) ([]*upload, []int, error) {
	uploads := make([]*upload, len(receipts))
	var chunks []int
	planHash := plan.Hash()
	for i := range receipts {
		work := d.work(destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[i], PlanHash: planHash, Execution: plan.By.RunID})
		uploads[i] = &upload{chunkWork: work, id: receipts[i].Upload}
		chunks = append(chunks, i)
	}
	var mutex sync.Mutex
	var lost []int
	err := each(ctx, chunks, func(ctx context.Context, i int) error {
		u := uploads[i]
		if u.id != "" {
			open, err := u.listParts(ctx)
			if err != nil || open {
				return err
			}
		}
		found, err := d.look(ctx, u.key)
		if err == nil && found == nil {
			if u.id == "" {
				return d.otherwise(plan.Run, receipts[i], "it is gone") // written again it would come after others
			}
			mutex.Lock()
			defer mutex.Unlock()
			lost = append(lost, i)
		}
		return err
	})
	return uploads, lost, err
}

// listParts fills in the parts; it answers false when the store does not know the upload any more.
func (u *upload) listParts(ctx context.Context) (bool, error) {
	u.parts = nil
	pages := s3.NewListPartsPaginator(u.client, &s3.ListPartsInput{Bucket: &u.place.bucket, Key: &u.key, UploadId: &u.id})
	for pages.HasMorePages() {
		request, cancel := context.WithTimeout(ctx, requestTimeout)
		page, err := pages.NextPage(request)
		cancel()
		if codeOf(err) == "NoSuchUpload" {
			return false, nil
		}
		if err != nil {
			return false, u.explain(ctx, "list the parts of "+u.key, err)
		}
		for _, part := range page.Parts {
			u.parts = append(u.parts, &types.CompletedPart{ETag: part.ETag, PartNumber: part.PartNumber, ChecksumCRC64NVME: part.ChecksumCRC64NVME})
		}
	}
	return true, nil
}

// show completes one chunk's object, and gives the receipt of the one that is there. It answers false when there is neither an
// object nor an upload.
func (u *upload) show(ctx context.Context, receipt export.Receipt) (export.Receipt, bool, error) {
	sent := content{rows: receipt.Rows, bytes: receipt.Bytes, checksum: strings.TrimPrefix(receipt.Checksum, checksumPrefix)}
	for round := 0; ; round++ {
		if err := pause(ctx, round); err != nil {
			return receipt, false, u.explain(ctx, "show "+u.key, err)
		}
		found, err := u.look(ctx, u.key)
		if err != nil {
			return receipt, false, err
		}
		if found != nil {
			shown, err := u.adopt(ctx, found, sent)
			shown.Hash, shown.Attempt = receipt.Hash, receipt.Attempt
			shown.ReadBack = receipt.ReadBack && shown.ETag == receipt.ETag
			return shown, err == nil, err
		}
		if len(u.parts) == 0 {
			return receipt, false, nil
		}
		if err := u.stillOpen(ctx, u.Run); err != nil {
			return receipt, false, err
		}
		stored, err := u.complete(ctx, sent)
		if err == nil {
			receipt.ETag, receipt.Upload = bare(stored.etag), ""
			return receipt, true, nil
		}
		var open *undecided
		if !errors.As(err, &open) {
			return receipt, false, err
		}
		if codeOf(open.cause) == "NoSuchUpload" {
			u.parts = nil // it was completed, or taken back: the look at the key tells
		} else if round+1 >= rounds {
			return receipt, false, u.explain(ctx, "show "+u.key, open.cause)
		}
	}
}

// switchShowClosed makes a build that is broken on purpose: it completes objects of a revision that was closed.
const switchShowClosed = "s3.show.closed"

// stillOpen refuses to complete an object of a closed revision. It is asked after the upload was begun, and before each
// completion; see order.go.
func (d *Destination) stillOpen(ctx context.Context, run export.Run) error {
	content, err := d.read(ctx, d.manifestKey(run))
	if err != nil || content == nil || failpoint.On(switchShowClosed) {
		return err
	}
	_, closed, err := d.readCommitMark(run, content)
	if err == nil && closed != nil {
		err = export.Errorf(export.KindInternal, "show %s: %w", run, &export.ClosedError{Closed: *closed})
	}
	return err
}

// allShow refuses to publish a manifest that names uploads. Where the revision is closed it says so.
func (d *Destination) allShow(ctx context.Context, manifest export.Manifest) error {
	for _, receipt := range manifest.Receipts {
		if receipt.Upload == "" {
			continue
		}
		if err := d.stillOpen(ctx, manifest.Run); err != nil {
			return err
		}
		return export.Errorf(export.KindInternal, "publish %s: chunk %d does not show yet", manifest.Run, receipt.Chunk)
	}
	return nil
}

// TakeBack ends the uploads that receipts name; see destinations.ShowsInOrder.
func (d *Destination) TakeBack(ctx context.Context, run export.Run, receipts []export.Receipt) error {
	if err := failpoint.Hit(ctx, "s3.takeback"); err != nil {
		return d.explain(ctx, "take back "+run.String(), err)
	}
	return each(ctx, receipts, func(ctx context.Context, receipt export.Receipt) error {
		if receipt.Upload == "" {
			return nil
		}
		return d.abort(ctx, openUpload{key: d.below(receipt.Location), id: receipt.Upload})
	})
}

// takeBackStrays ends what other executions, and attempts that were lost, have open under the keys of a published run, where
// nothing can be completed any more. What stays costs room and nothing else.
func (d *Destination) takeBackStrays(ctx context.Context, published export.Manifest) {
	sweeping, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	var keys []string
	for _, receipt := range published.Receipts {
		keys = append(keys, d.below(receipt.Location))
	}
	if err := d.takeBackAll(sweeping, keys); err != nil {
		slog.Warn("uploads of a published run stay in the bucket", "run", published.Run.String(), "bucket", d.place.bucket, "error", err)
	}
}

// each does something for several items, proveAtOnce at a time, until one fails.
func each[T any](ctx context.Context, items []T, do func(context.Context, T) error) error {
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(proveAtOnce)
	for _, item := range items {
		group.Go(func() error { return do(working, item) })
	}
	return group.Wait()
}
