package s3

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// abortTimeout is how long taking back an upload may take, after everything else was cancelled.
const abortTimeout = 30 * time.Second

// openUpload is a multipart upload that this process has begun and not ended.
type openUpload struct {
	place          place
	run, execution string
	key, id        string
}

// unfinished are the open uploads of this process. A store lists uploads by key alone, and not by who began them, so
// what another process of this execution left behind when it was killed cannot be told from a successor's work: that
// is left to the sweep by age, or to the bucket's lifecycle rule.
var unfinished = uploads{open: map[openUpload]struct{}{}}

type uploads struct {
	sync.Mutex
	open map[openUpload]struct{}
}

func (u *uploads) add(one openUpload) {
	u.Lock()
	defer u.Unlock()
	u.open[one] = struct{}{}
}

func (u *uploads) remove(one openUpload) {
	u.Lock()
	defer u.Unlock()
	delete(u.open, one)
}

func (u *uploads) of(at place, run, execution string) []openUpload {
	u.Lock()
	defer u.Unlock()
	var found []openUpload
	for one := range u.open {
		if one.place == at && one.run == run && one.execution == execution {
			found = append(found, one)
		}
	}
	return found
}

// Abort takes back the uploads that this execution has open in this process; every call of WriteChunk takes its own
// back on every path but a kill, so these belong to zombies, which then fail at their next part. Finished objects stay:
// a successor may have adopted them. Called twice it does nothing the second time.
func (d *Destination) Abort(ctx context.Context, run export.Run, execution string) error {
	if err := failpoint.Hit(ctx, "s3.abort"); err != nil {
		return d.explain(ctx, "abort "+run.String(), err)
	}
	var failed []error
	for _, one := range unfinished.of(d.place, runName(run), execution) {
		if err := d.abort(ctx, one); err != nil {
			failed = append(failed, err)
			continue
		}
		unfinished.remove(one)
	}
	if len(failed) == 0 {
		return d.explain(ctx, "abort "+run.String(), failpoint.Hit(ctx, "s3.aborted"))
	}
	return errors.Join(failed...)
}

// abort takes back one upload, and again when a part that was still on its way has brought it back: Amazon, too, asks
// that one looks for parts after an abort.
func (d *Destination) abort(ctx context.Context, one openUpload) error {
	act := "take back the upload of " + one.key
	request, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	for round := range rounds {
		if err := pause(request, round); err != nil {
			return d.explain(ctx, act, err)
		}
		_, err := d.client.AbortMultipartUpload(request, &s3.AbortMultipartUploadInput{Bucket: &d.place.bucket, Key: &one.key, UploadId: &one.id})
		if err != nil && codeOf(err) != "NoSuchUpload" {
			return d.explain(ctx, act, err)
		}
		_, err = d.client.ListParts(request, &s3.ListPartsInput{Bucket: &d.place.bucket, Key: &one.key, UploadId: &one.id, MaxParts: aws.Int32(1)})
		if codeOf(err) == "NoSuchUpload" || statusOf(err) == http.StatusForbidden { // who may not list parts trusts the abort
			return nil
		}
		if err != nil {
			return d.explain(ctx, act, err)
		}
	}
	return export.Errorf(export.KindDestinationUnavailable, "%s: %s: the store brings it back each time: end it by hand, upload %s", act, d.place, one.id)
}

// takeBack aborts an upload on the way out, also when everything was cancelled. An upload that stays is invisible to
// readers and only costs room, so its error is told and does not take the place of the one that led here.
func (d *Destination) takeBack(ctx context.Context, one openUpload) {
	if err := d.abort(context.WithoutCancel(ctx), one); err != nil {
		slog.Warn("an unfinished upload stays in the bucket", "bucket", d.place.bucket, "key", one.key, "upload", one.id, "error", err)
	}
}
