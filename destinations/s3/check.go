package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// trial is one Check: its steps, and what it must take away again.
type trial struct {
	*Destination
	report func(destinations.Step)
	first  error
	// key is of the object that is written whole, partsKey of the one in parts.
	key, partsKey string
	versions      map[string]*string // of keys that were written; the version where the bucket keeps versions
}

var trialBody = []byte("Written by millrace check, and removed by it.\n")

// Check tries everything that a run needs of the store, below the export's prefix, and takes away what it wrote, also
// when ctx ends; see destinations.Destination.
func (d *Destination) Check(ctx context.Context, report func(destinations.Step)) error {
	t := &trial{Destination: d, report: report, versions: map[string]*string{}}
	t.key = d.below(marksName, "check", rand.Text())
	t.partsKey = t.key + "-parts"
	t.step("keep the model's columns", string(d.encoding.Format), d.encoding.Format.Keeps(d.columns))
	if t.step("reach the endpoint", d.place.String(), t.reach(ctx)) {
		listed := t.step("list objects", "", t.listObjects(ctx))
		if t.step("write an object", "", t.explain(ctx, "write an object", t.put(ctx))) {
			t.step("refuse a second write of it", "", t.mustBeRefused(ctx, "write an object again", t.put(ctx)))
			t.step("read it back with its checksum", "", t.readBack(ctx))
		} else if !listed {
			// The bucket is not there, or the keys are wrong: the rest would say the same. The write may have had its
			// effect all the same.
			_ = t.clean(ctx)
			return t.first
		}
		if t.step("write an object in parts", "", t.explain(ctx, "write an object in parts", t.putInParts(ctx))) {
			t.step("refuse a second write in parts", "", t.mustBeRefused(ctx, "write an object in parts again", t.putInParts(ctx)))
		}
		t.step("delete what was written", "", t.clean(ctx))
		detail, err := t.listUploads(ctx)
		t.step("list unfinished uploads", detail, err)
	}
	return t.first
}

func (t *trial) step(name, detail string, err error) bool {
	step := destinations.Step{Name: name, Detail: detail}
	if err != nil {
		step.Error = err.Error()
		if t.first == nil {
			t.first = err
		}
	}
	t.report(step)
	return err == nil
}

// reach is satisfied by any answer.
func (t *trial) reach(ctx context.Context) error {
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := t.client.HeadBucket(request, &s3.HeadBucketInput{Bucket: &t.place.bucket})
	if status := statusOf(err); err == nil || status >= 300 && status < 500 {
		return nil
	}
	return t.explain(ctx, "reach the endpoint", err)
}

func (t *trial) listObjects(ctx context.Context) error {
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := t.client.ListObjectsV2(request, &s3.ListObjectsV2Input{
		Bucket: &t.place.bucket, Prefix: aws.String(t.below(marksName) + "/"), MaxKeys: aws.Int32(1),
	})
	return t.explain(ctx, "list objects", err)
}

// listUploads tells whether left-over uploads can be swept. A run does without.
func (t *trial) listUploads(ctx context.Context) (detail string, err error) {
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err = t.client.ListMultipartUploads(request, &s3.ListMultipartUploadsInput{
		Bucket: &t.place.bucket, Prefix: aws.String(t.below(marksName) + "/"), MaxUploads: aws.Int32(1),
	})
	if ctx.Err() == nil && statusOf(err) == http.StatusForbidden && t.strict {
		return "", export.Errorf(export.KindPermission, "list unfinished uploads: %s: access is denied: allow s3:ListBucketMultipartUploads, without which no order of files holds (order: strict)", t.place)
	}
	if ctx.Err() == nil && statusOf(err) == http.StatusForbidden {
		return "denied: what killed workers leave is then for the bucket's lifecycle rule alone", nil
	}
	return "", t.explain(ctx, "list unfinished uploads", err)
}

func (t *trial) put(ctx context.Context) error {
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := t.client.PutObject(request, t.encryption.put(&s3.PutObjectInput{
		Bucket: &t.place.bucket, Key: &t.key, Body: bytes.NewReader(trialBody), IfNoneMatch: aws.String("*"),
		ChecksumCRC64NVME: aws.String(checksumOf(trialBody)), Metadata: map[string]string{metadataPlan: "check"},
	}), sendOnce)
	if err == nil {
		t.versions[t.key] = answer.VersionId
	}
	return err
}

// mustBeRefused holds the store to its conditional writes: without them two runs of one interval could both win.
func (t *trial) mustBeRefused(ctx context.Context, act string, err error) error {
	switch {
	case refused(err):
		return nil
	case err == nil:
		return export.Errorf(export.KindConfig, "%s: %s: the store overwrote an object although it was told not to (If-None-Match: *), so two runs of one interval could damage each other: use a store with conditional writes", act, t.place)
	}
	return t.explain(ctx, act, err)
}

func (t *trial) readBack(ctx context.Context) error {
	const act = "read an object"
	found, err := t.look(ctx, t.key)
	switch {
	case err != nil:
		return err
	case found == nil:
		return export.Errorf(export.KindDestinationUnavailable, "%s: %s: what was just written is not there: the store must show a write at once", act, t.place)
	case found.checksum != checksumOf(trialBody):
		return export.Errorf(export.KindConfig, "%s: %s: the store does not keep CRC64NVME checksums, so nothing that it holds could be proved: use a store that does", act, t.place)
	case t.encryption != nil && found.encrypted != t.encryption.algorithm():
		return export.Errorf(export.KindConfig, "%s: %s: the store took the object and did not encrypt it as encryption in the connection says (%s): leave encryption out, or use a store that does", act, t.place, t.encryption.Type)
	case found.metadata[metadataPlan] != "check":
		return export.Errorf(export.KindConfig, "%s: %s: the store does not keep metadata, so files of different runs could not be told apart: use a store that does", act, t.place)
	}
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := t.client.GetObject(request, &s3.GetObjectInput{Bucket: &t.place.bucket, Key: &t.key})
	if err != nil {
		return t.explain(ctx, act, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxMark))
	if err != nil {
		return t.explain(ctx, act, err)
	}
	if !bytes.Equal(body, trialBody) {
		return export.Errorf(export.KindDestinationUnavailable, "%s: %s: it is not what was written", act, t.place)
	}
	return nil
}

// putInParts writes an object of one part, with its condition and checksum at the completion.
func (t *trial) putInParts(ctx context.Context) (err error) {
	request, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	created, err := t.client.CreateMultipartUpload(request, t.encryption.create(&s3.CreateMultipartUploadInput{
		Bucket: &t.place.bucket, Key: &t.partsKey,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject,
	}), sendOnce)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			t.takeBack(ctx, openUpload{key: t.partsKey, id: aws.ToString(created.UploadId)})
		}
	}()
	sum := aws.String(checksumOf(trialBody))
	part, err := t.client.UploadPart(request, &s3.UploadPartInput{
		Bucket: &t.place.bucket, Key: &t.partsKey, UploadId: created.UploadId, PartNumber: aws.Int32(1),
		Body: bytes.NewReader(trialBody), ChecksumCRC64NVME: sum,
	})
	if err != nil {
		return err
	}
	answer, err := t.client.CompleteMultipartUpload(request, &s3.CompleteMultipartUploadInput{
		Bucket: &t.place.bucket, Key: &t.partsKey, UploadId: created.UploadId, IfNoneMatch: aws.String("*"),
		MultipartUpload:   &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(1), ChecksumCRC64NVME: sum}}},
		ChecksumCRC64NVME: sum, ChecksumType: types.ChecksumTypeFullObject,
	}, sendOnce)
	if err == nil {
		t.versions[t.partsKey] = answer.VersionId
	}
	return err
}

// clean removes both objects whether or not their writes were answered. Where versions are kept it names the version,
// so that not even a delete marker stays.
func (t *trial) clean(ctx context.Context) error {
	request, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	var failed []error
	for _, key := range []string{t.key, t.partsKey} {
		_, err := t.client.DeleteObject(request, &s3.DeleteObjectInput{Bucket: &t.place.bucket, Key: &key, VersionId: t.versions[key]})
		switch {
		case err == nil, statusOf(err) == http.StatusNotFound:
		case statusOf(err) == http.StatusForbidden:
			failed = append(failed, export.Errorf(export.KindPermission, "delete %s: %s: access is denied: allow s3:DeleteObject on the prefix, which nothing but a check needs, or remove the object by hand", key, t.place))
		default:
			failed = append(failed, t.explain(context.WithoutCancel(ctx), "delete "+key, err))
		}
	}
	return errors.Join(failed...)
}
