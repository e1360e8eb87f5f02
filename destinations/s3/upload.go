package s3

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// Sizes of an upload. S3 takes 10,000 parts, each of at least 5 MiB but the last. Most parts are of one size, for some
// stores want all of them equal; only a file beyond 39 GiB gets larger ones, and none may be beyond 117 GiB. A chunk
// holds partsInFlight parts on their way and one that fills: 24 MiB, or 48 for such a giant.
const (
	smallPart     = 8 << 20
	largePart     = 16 << 20
	smallParts    = 5_000
	mostParts     = 10_000
	partsInFlight = 2
)

// partSize is the size of a part by its number, from 1.
func partSize(number int) int {
	if number <= smallParts {
		return smallPart
	}
	return largePart
}

// writeAtOnce writes a small object in one conditional request.
func (w chunkWork) writeAtOnce(ctx context.Context, rows *passage, body []byte, sent content) (*object, error) {
	err := failpoint.Hit(ctx, "s3.object.put")
	var answer *s3.PutObjectOutput
	if err == nil {
		request, cancel := context.WithTimeout(ctx, transferTimeout)
		defer cancel()
		answer, err = w.client.PutObject(request, w.encryption.put(&s3.PutObjectInput{
			Bucket: &w.place.bucket, Key: &w.key, Body: rows.telling(body), IfNoneMatch: aws.String("*"),
			ChecksumCRC64NVME: &sent.checksum, ContentType: aws.String(w.contentType()), Metadata: w.metadata(w.Execution),
		}))
	}
	if err == nil {
		err = failpoint.Hit(ctx, "s3.object.answered")
	}
	if err != nil {
		return nil, w.outcome(ctx, err)
	}
	return w.confirm(ctx, sent, aws.ToString(answer.ETag), aws.ToString(answer.ChecksumCRC64NVME))
}

// outcome makes an undecided of an error after which the key must be looked at, and words every other.
func (w chunkWork) outcome(ctx context.Context, err error) error {
	if ctx.Err() == nil && (refused(err) || collided(err) || unsure(err) || codeOf(err) == "NoSuchUpload") {
		return &undecided{err}
	}
	return w.explain(ctx, "write "+w.key, err)
}

// upload is one multipart upload of a chunk.
type upload struct {
	chunkWork
	id    string
	parts []*types.CompletedPart // by number; each is filled in by the goroutine that sends it
}

// writeInParts writes a large object in parts, of which the first was read already, and completes it conditionally. On every
// path that does not end in a success the upload is taken back first, so that a completion still on its way finds
// nothing, and a later look at the key is final. stop ends the reading of the source.
func (w chunkWork) writeInParts(ctx context.Context, stop context.CancelFunc, rows *passage, first []byte, sent *content) (stored *object, err error) {
	created, err := w.create(ctx)
	if err != nil {
		return nil, err
	}
	u := &upload{chunkWork: w, id: created}
	mine := openUpload{place: w.place, run: runName(w.Run), execution: w.Execution, key: w.key, id: u.id}
	unfinished.add(mine)
	defer unfinished.remove(mine)
	defer func() {
		if err != nil {
			w.takeBack(ctx, mine)
		}
	}()
	if err := u.relay(ctx, stop, rows, first); err != nil {
		return nil, err
	}
	if *sent, err = w.whole(rows); err != nil {
		return nil, err
	}
	if w.later {
		return &object{upload: u.id}, nil
	}
	return u.complete(ctx, *sent)
}

func (w chunkWork) create(ctx context.Context) (string, error) {
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	created, err := w.client.CreateMultipartUpload(request, w.encryption.create(&s3.CreateMultipartUploadInput{
		Bucket: &w.place.bucket, Key: &w.key, ContentType: aws.String(w.contentType()), Metadata: w.metadata(w.Execution),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject,
	}), sendOnce) // a repeat after a lost answer would leave an upload that nobody knows
	if err == nil {
		err = failpoint.Hit(ctx, "s3.upload.created")
	}
	if err != nil {
		return "", w.explain(ctx, "start the upload of "+w.key, err)
	}
	return aws.ToString(created.UploadId), nil
}

// relay passes the source on part by part, reading one while others are on their way. It returns when no part is.
func (u *upload) relay(ctx context.Context, stop context.CancelFunc, rows *passage, first []byte) error {
	group, sending := errgroup.WithContext(ctx)
	group.SetLimit(partsInFlight)
	// A part that fails ends the source at once, which may be slow to give the next.
	defer context.AfterFunc(sending, stop)()

	shelf := newShelf()
	failed := u.readParts(ctx, sending, rows, shelf, first, func(number int, part []byte) {
		completed := &types.CompletedPart{PartNumber: aws.Int32(int32(number))}
		u.parts = append(u.parts, completed)
		group.Go(func() error {
			defer shelf.putBack(part)
			err := u.send(sending, completed, rows, part)
			rows.tell()
			return err
		})
	})
	if failed != nil {
		stop()
	}
	err := group.Wait()
	shelf.clear()
	if failed != nil { // it came first: what a part on its way met with after it is no news
		return failed
	}
	return err
}

// readParts reads part after part and gives each to send, until the source ends. When sending has ended it returns nil, also
// where the source was ended by that: the group has the reason.
func (u *upload) readParts(ctx, sending context.Context, rows *passage, shelf *shelf, part []byte, send func(int, []byte)) error {
	for number := 1; ; number++ {
		send(number, part)
		if rows.ended {
			return nil
		}
		if number == mostParts {
			return export.Errorf(export.KindConfig, "write %s: the chunk is larger than 117 GiB: make chunk_rows smaller", u.key)
		}
		buffer, ok := shelf.take(sending, partSize(number+1))
		if !ok {
			return u.explain(ctx, "write "+u.key, ctx.Err())
		}
		n, err := rows.fill(buffer)
		if err != nil && sending.Err() != nil {
			return u.explain(ctx, "write "+u.key, ctx.Err())
		}
		if err != nil {
			return u.explain(ctx, "read the source of "+u.key, err)
		}
		if n == 0 {
			return nil
		}
		part = buffer[:n]
	}
}

// grace is how long a part that is on its way may go on when everything else has ended. A store that is cut off in the
// middle of a part may still be storing it when the upload is taken back, and then keeps it.
const grace = 5 * time.Second

func withGrace(ctx context.Context) (context.Context, context.CancelFunc) {
	request, cancel := context.WithTimeout(context.WithoutCancel(ctx), transferTimeout)
	ended := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return request, func() { ended(); cancel() }
}

func (u *upload) send(ctx context.Context, completed *types.CompletedPart, rows *passage, part []byte) error {
	act := fmt.Sprintf("write part %d of %s", *completed.PartNumber, u.key)
	if err := failpoint.Hit(ctx, "s3.part.sent"); err != nil {
		return u.explain(ctx, act, err)
	}
	request, cancel := withGrace(ctx)
	defer cancel()
	completed.ChecksumCRC64NVME = aws.String(checksumOf(part))
	answer, err := u.client.UploadPart(request, &s3.UploadPartInput{
		Bucket: &u.place.bucket, Key: &u.key, UploadId: &u.id, PartNumber: completed.PartNumber,
		Body: rows.telling(part), ChecksumCRC64NVME: completed.ChecksumCRC64NVME,
	})
	if err == nil {
		err = failpoint.Hit(ctx, "s3.part.answered")
	}
	if err != nil {
		return u.explain(ctx, act, err)
	}
	completed.ETag = answer.ETag
	return nil
}

// complete makes the object visible, unless its key is taken. It is sent once: a repeat after a lost answer may be
// answered OK although the object was removed in between.
func (u *upload) complete(ctx context.Context, sent content) (*object, error) {
	parts := make([]types.CompletedPart, len(u.parts))
	for i, part := range u.parts {
		parts[i] = *part
	}
	err := failpoint.Hit(ctx, "s3.complete.sent")
	var answer *s3.CompleteMultipartUploadOutput
	if err == nil {
		request, cancel := context.WithTimeout(ctx, transferTimeout)
		defer cancel()
		defer u.patient(sent.bytes)()
		answer, err = u.client.CompleteMultipartUpload(request, &s3.CompleteMultipartUploadInput{
			Bucket: &u.place.bucket, Key: &u.key, UploadId: &u.id, IfNoneMatch: aws.String("*"),
			MultipartUpload:   &types.CompletedMultipartUpload{Parts: parts},
			ChecksumCRC64NVME: &sent.checksum, ChecksumType: types.ChecksumTypeFullObject,
			MpuObjectSize: aws.Int64(int64(sent.bytes)),
		}, sendOnce)
	}
	if err == nil {
		err = failpoint.Hit(ctx, "s3.complete.answered")
	}
	if err != nil {
		return nil, u.outcome(ctx, err)
	}
	return u.confirm(ctx, sent, aws.ToString(answer.ETag), aws.ToString(answer.ChecksumCRC64NVME))
}
