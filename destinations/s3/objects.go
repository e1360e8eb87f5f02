package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// object is what the store says of an object.
type object struct {
	etag     string // as the store gives it, with quotes
	size     uint64
	checksum string // CRC64NVME of the whole object in base64, or "" when the store keeps none
	metadata map[string]string
	// age is how long ago it was written, by the store's clock; 0 of a store that does not tell its time.
	age time.Duration
	// upload is set where the object is not made yet, and then alone.
	upload string
	// encrypted is by which algorithm the store says that it encrypted it, or "".
	encrypted types.ServerSideEncryption
}

// look asks for an object without its bytes; nil when it is not there.
func (d *Destination) look(ctx context.Context, key string) (*object, error) {
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	head, err := d.client.HeadObject(request, &s3.HeadObjectInput{
		Bucket: &d.place.bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled,
	})
	switch {
	case statusOf(err) == http.StatusNotFound:
		return nil, nil
	case err != nil && statusOf(err) >= 400 && statusOf(err) < 500:
		// An answer to HEAD has no body, hence no code: ask again so that it does.
		return nil, d.explain(ctx, "look for "+key, d.askWithBody(request, key, err))
	case err != nil:
		return nil, d.explain(ctx, "look for "+key, err)
	}
	now, told := awsmiddleware.GetServerTime(head.ResultMetadata)
	age := time.Duration(0)
	if told && head.LastModified != nil {
		age = now.Sub(*head.LastModified)
	}
	return &object{
		age:  age,
		etag: aws.ToString(head.ETag), size: uint64(aws.ToInt64(head.ContentLength)),
		checksum: aws.ToString(head.ChecksumCRC64NVME), metadata: head.Metadata,
		encrypted: head.ServerSideEncryption,
	}, nil
}

// askWithBody gives the error of reading one byte of an object, or else the one that is at hand.
func (d *Destination) askWithBody(ctx context.Context, key string, atHand error) error {
	answer, err := d.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &d.place.bucket, Key: &key, Range: aws.String("bytes=0-0")})
	if err != nil {
		return err
	}
	answer.Body.Close()
	return atHand
}

// maxMark bounds a plan or manifest that is read: 1,000 chunks are some 500 KB.
const maxMark = 16 << 20

// read gives a small object's bytes; nil when it is not there.
func (d *Destination) read(ctx context.Context, key string) ([]byte, error) {
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := d.client.GetObject(request, &s3.GetObjectInput{Bucket: &d.place.bucket, Key: &key})
	if codeOf(err) == "NoSuchKey" {
		return nil, nil
	}
	if err != nil {
		return nil, d.explain(ctx, "read "+key, err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxMark+1))
	switch {
	case err != nil:
		return nil, d.explain(ctx, "read "+key, err)
	case len(content) > maxMark:
		return nil, export.Errorf(export.KindConfig, "read %s: %s: it is larger than %d bytes, so it is not ours: remove it", key, d.place, maxMark)
	}
	return content, nil
}

// rounds bounds the repeats of a conditional write that collides, or whose outcome is unknown: each is one look and
// one write. The workflow goes on from there.
const rounds = 3

// settle writes a small object unless its key is taken, and gives the bytes that hold: ours, or those that were there.
// An unknown outcome is read back before it is written again. The point is the name of the write's failpoints.
func (d *Destination) settle(ctx context.Context, key string, content []byte, point string) ([]byte, error) {
	var last error
	for round := range rounds {
		if err := pause(ctx, round); err != nil {
			return nil, d.explain(ctx, "write "+key, err)
		}
		last = d.putMark(ctx, key, content, point)
		if last == nil {
			return content, nil
		}
		if !refused(last) && !collided(last) && !unsure(last) {
			break
		}
		found, err := d.read(ctx, key)
		if err != nil || found != nil {
			return found, err
		}
	}
	return nil, d.explain(ctx, "write "+key, last)
}

func (d *Destination) putMark(ctx context.Context, key string, content []byte, point string) error {
	if err := failpoint.Hit(ctx, point+".put"); err != nil {
		return err
	}
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := d.client.PutObject(request, d.encryption.put(&s3.PutObjectInput{
		Bucket: &d.place.bucket, Key: &key, Body: bytes.NewReader(content), IfNoneMatch: aws.String("*"),
		ContentType: aws.String("application/json"), ChecksumCRC64NVME: aws.String(checksumOf(content)),
	}))
	if err != nil {
		return err
	}
	return failpoint.Hit(ctx, point+".answered")
}

// pause waits before a repeat, not at all before the first round.
func pause(ctx context.Context, round int) error {
	timer := time.NewTimer(time.Duration(round) * 200 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// list calls each with every key below a folder, in order of names, until it returns an error, which list returns.
func (d *Destination) list(ctx context.Context, folder string, each func(key string) error) error {
	pages := s3.NewListObjectsV2Paginator(d.client, &s3.ListObjectsV2Input{Bucket: &d.place.bucket, Prefix: &folder})
	for pages.HasMorePages() {
		request, cancel := context.WithTimeout(ctx, requestTimeout)
		page, err := pages.NextPage(request)
		cancel()
		if err != nil {
			return d.explain(ctx, fmt.Sprintf("list %s", folder), err)
		}
		for _, entry := range page.Contents {
			if err := each(aws.ToString(entry.Key)); err != nil {
				return err
			}
		}
	}
	return nil
}
