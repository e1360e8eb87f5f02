//go:build world

package assumptions

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc64"
	"net/http"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/millrace/millrace/internal/testworld"
)

// store is a bucket of its own for one test, reached without the client's own retries.
type store struct {
	*s3.Client
	bucket *string
}

func newStore(t *testing.T) store {
	t.Helper()
	client := s3.New(s3.Options{
		BaseEndpoint:     aws.String(testworld.Env(t, "MILLRACE_S3_ENDPOINT")),
		Region:           testworld.Env(t, "AWS_REGION"),
		UsePathStyle:     true,
		RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(
			testworld.Env(t, "AWS_ACCESS_KEY_ID"), testworld.Env(t, "AWS_SECRET_ACCESS_KEY"), ""),
	})
	bucket := testworld.Name(t)
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	return store{client, &bucket}
}

// crc64NVME is the checksum that S3 calls CRC64NVME: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
func crc64NVME(data []byte) *string {
	sum := crc64.Checksum(data, crc64.MakeTable(0x9a6c9329ac4bc9b5))
	return aws.String(base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, sum)))
}

func (s store) putIfAbsent(ctx context.Context, key string, body []byte) error {
	_, err := s.PutObject(ctx, &s3.PutObjectInput{Bucket: s.bucket, Key: &key, Body: bytes.NewReader(body), IfNoneMatch: aws.String("*")})
	return err
}

// upload begins a multipart upload with metadata and puts one part.
func (s store) upload(t *testing.T, key string, body []byte, metadata map[string]string) (*string, *types.CompletedMultipartUpload) {
	t.Helper()
	created, err := s.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
		Bucket: s.bucket, Key: &key, Metadata: metadata,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject,
	})
	if err != nil {
		t.Fatal(err)
	}
	part, err := s.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: s.bucket, Key: &key, UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(body),
		ChecksumCRC64NVME: crc64NVME(body),
	})
	if err != nil {
		t.Fatal(err)
	}
	return created.UploadId, &types.CompletedMultipartUpload{Parts: []types.CompletedPart{
		{ETag: part.ETag, PartNumber: aws.Int32(1), ChecksumCRC64NVME: part.ChecksumCRC64NVME},
	}}
}

func (s store) complete(ctx context.Context, key string, id *string, parts *types.CompletedMultipartUpload, body []byte) (*s3.CompleteMultipartUploadOutput, error) {
	return s.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: s.bucket, Key: &key, UploadId: id, MultipartUpload: parts, IfNoneMatch: aws.String("*"),
		ChecksumCRC64NVME: crc64NVME(body), ChecksumType: types.ChecksumTypeFullObject,
	})
}

func (s store) head(t *testing.T, key string) *s3.HeadObjectOutput {
	t.Helper()
	head, err := s.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: s.bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func status(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// The plan and the manifest are decided by this.
func TestS3PutIfAbsentRefusesTheSecond(t *testing.T) {
	s := newStore(t)
	if err := s.putIfAbsent(t.Context(), "plan.json", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := s.putIfAbsent(t.Context(), "plan.json", []byte("second")); status(err) != http.StatusPreconditionFailed || code(err) != "PreconditionFailed" {
		t.Errorf("the second put was answered %d %s: %v", status(err), code(err), err)
	}
	if head := s.head(t, "plan.json"); *head.ContentLength != int64(len("first")) {
		t.Errorf("there are %d bytes, not the first put's", *head.ContentLength)
	}
}

func TestS3PutIfAbsentHasOneWinnerAmongMany(t *testing.T) {
	s := newStore(t)
	errs := make([]error, 16)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = s.putIfAbsent(t.Context(), "plan.json", bytes.Repeat([]byte{'a' + byte(i)}, 1+i)) })
	}
	group.Wait()
	winner, winners := 0, 0
	for i, err := range errs {
		switch {
		case err == nil:
			winner, winners = i, winners+1
		case status(err) != http.StatusPreconditionFailed && status(err) != http.StatusConflict:
			t.Errorf("put %d: %v", i, err)
		}
	}
	if size := *s.head(t, "plan.json").ContentLength; winners != 1 || size != int64(1+winner) {
		t.Errorf("%d puts won, the last of them %d, and the object has %d bytes", winners, winner, size)
	}
}

// A chunk of many parts is decided by this.
func TestS3CompletionIfAbsentRefusesTheSecond(t *testing.T) {
	s := newStore(t)
	first, second := []byte("first"), []byte("second upload")
	firstID, firstParts := s.upload(t, "chunk", first, nil)
	secondID, secondParts := s.upload(t, "chunk", second, nil)
	if _, err := s.complete(t.Context(), "chunk", firstID, firstParts, first); err != nil {
		t.Fatal(err)
	}
	if _, err := s.complete(t.Context(), "chunk", secondID, secondParts, second); status(err) != http.StatusPreconditionFailed {
		t.Errorf("the second completion was answered %d %s: %v", status(err), code(err), err)
	}
	if size := *s.head(t, "chunk").ContentLength; size != int64(len(first)) {
		t.Errorf("there are %d bytes, not the first's", size)
	}
}

func TestS3TwoCompletionsAtOnceLeaveOneWholeObject(t *testing.T) {
	s := newStore(t)
	bodies := [][]byte{bytes.Repeat([]byte("a"), 1000), bytes.Repeat([]byte("b"), 2000)}
	errs := make([]error, len(bodies))
	var group sync.WaitGroup
	for i, body := range bodies {
		id, parts := s.upload(t, "chunk", body, nil)
		group.Go(func() { _, errs[i] = s.complete(t.Context(), "chunk", id, parts, body) })
	}
	group.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Fatal("both completions were answered OK")
		case status(err) != http.StatusPreconditionFailed && status(err) != http.StatusConflict:
			t.Errorf("completion %d: %v", i, err)
		}
	}
	if winner < 0 {
		t.Fatalf("nobody won: %v", errs)
	}
	head := s.head(t, "chunk")
	if *head.ContentLength != int64(len(bodies[winner])) || aws.ToString(head.ChecksumCRC64NVME) != *crc64NVME(bodies[winner]) {
		t.Errorf("upload %d won, but there are %d bytes with checksum %s", winner, *head.ContentLength, aws.ToString(head.ChecksumCRC64NVME))
	}
}

// A completion whose answer was lost is looked up, never simply sent again: this is what the repeat would say.
func TestS3RepeatedCompletionDoesNotReplaceTheObject(t *testing.T) {
	s := newStore(t)
	body := []byte("once")
	id, parts := s.upload(t, "chunk", body, map[string]string{"millrace-plan": "p"})
	if _, err := s.complete(t.Context(), "chunk", id, parts, body); err != nil {
		t.Fatal(err)
	}
	before := s.head(t, "chunk")
	_, err := s.complete(t.Context(), "chunk", id, parts, body)
	switch { // AWS documents 200 for a while; 412 and NoSuchUpload are as good
	case err == nil, status(err) == http.StatusPreconditionFailed, code(err) == "NoSuchUpload":
		t.Logf("the repeat was answered %d %s", status(err), code(err))
	default:
		t.Errorf("the repeat was answered %d %s: %v", status(err), code(err), err)
	}
	if after := s.head(t, "chunk"); *after.ETag != *before.ETag || !after.LastModified.Equal(*before.LastModified) {
		t.Errorf("the repeat replaced the object: %s, was %s", *after.ETag, *before.ETag)
	}
}

// Identity stands in the metadata from the first moment, so that no object is ever without.
func TestS3MetadataOfAnUploadSurvivesItsCompletion(t *testing.T) {
	s := newStore(t)
	body := []byte("rows")
	id, parts := s.upload(t, "chunk", body, map[string]string{"millrace-plan": "abc", "millrace-chunk": "3"})
	if _, err := s.complete(t.Context(), "chunk", id, parts, body); err != nil {
		t.Fatal(err)
	}
	if got := s.head(t, "chunk").Metadata; got["millrace-plan"] != "abc" || got["millrace-chunk"] != "3" {
		t.Errorf("metadata is %v", got)
	}
}

// The proof of a run compares this checksum with the bytes that were counted.
func TestS3KeepsTheChecksumOfTheWholeObject(t *testing.T) {
	s := newStore(t)
	first, second := bytes.Repeat([]byte("x"), 5<<20), []byte("the end")
	whole := append(append([]byte{}, first...), second...)
	id, parts := s.upload(t, "chunk", first, nil)
	part, err := s.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: s.bucket, Key: aws.String("chunk"), UploadId: id, PartNumber: aws.Int32(2), Body: bytes.NewReader(second),
		ChecksumCRC64NVME: crc64NVME(second),
	})
	if err != nil {
		t.Fatal(err)
	}
	parts.Parts = append(parts.Parts, types.CompletedPart{ETag: part.ETag, PartNumber: aws.Int32(2), ChecksumCRC64NVME: part.ChecksumCRC64NVME})
	answer, err := s.complete(t.Context(), "chunk", id, parts, whole)
	if err != nil {
		t.Fatal(err)
	}
	head := s.head(t, "chunk")
	if aws.ToString(head.ChecksumCRC64NVME) != *crc64NVME(whole) || head.ChecksumType != types.ChecksumTypeFullObject {
		t.Errorf("the store keeps checksum %q of type %s, the bytes have %q", aws.ToString(head.ChecksumCRC64NVME), head.ChecksumType, *crc64NVME(whole))
	}
	t.Logf("the completion's answer has checksum %q, etag %s", aws.ToString(answer.ChecksumCRC64NVME), aws.ToString(answer.ETag))
}

func TestS3RefusesBytesThatDoNotMatchTheirChecksum(t *testing.T) {
	s := newStore(t)
	_, err := s.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: s.bucket, Key: aws.String("small"), Body: bytes.NewReader([]byte("sent")), ChecksumCRC64NVME: crc64NVME([]byte("meant")),
	})
	if status(err) != http.StatusBadRequest {
		t.Errorf("a put with a wrong checksum was answered %d %s: %v", status(err), code(err), err)
	}
	body := []byte("sent")
	id, parts := s.upload(t, "chunk", body, nil)
	if _, err := s.complete(t.Context(), "chunk", id, parts, []byte("meant")); err == nil {
		t.Error("a completion with a wrong checksum of the whole object was accepted")
	} else {
		t.Logf("a completion with a wrong checksum was answered %d %s", status(err), code(err))
	}
}

func TestS3CompletionAfterAbortSaysNoSuchUpload(t *testing.T) {
	s := newStore(t)
	body := []byte("rows")
	id, parts := s.upload(t, "chunk", body, nil)
	if _, err := s.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: s.bucket, Key: aws.String("chunk"), UploadId: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.complete(t.Context(), "chunk", id, parts, body); code(err) != "NoSuchUpload" {
		t.Errorf("the completion was answered %d %s: %v", status(err), code(err), err)
	}
}

// A chunk whose files appear in order is completed by somebody who has only its upload's name: parts and their checksums come from
// the store.
func TestS3CompletesWhatListPartsAnswers(t *testing.T) {
	s := newStore(t)
	body := []byte("rows")
	id, _ := s.upload(t, "chunk", body, map[string]string{"millrace-plan": "p"})
	listed, err := s.ListParts(t.Context(), &s3.ListPartsInput{Bucket: s.bucket, Key: aws.String("chunk"), UploadId: id})
	if err != nil || len(listed.Parts) != 1 {
		t.Fatalf("%d parts: %v", len(listed.Parts), err)
	}
	part := listed.Parts[0]
	parts := &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: part.PartNumber, ChecksumCRC64NVME: part.ChecksumCRC64NVME}}}
	if _, err := s.complete(t.Context(), "chunk", id, parts, body); err != nil {
		t.Fatal(err)
	}
	if head := s.head(t, "chunk"); aws.ToString(head.ChecksumCRC64NVME) != *crc64NVME(body) || head.Metadata["millrace-plan"] != "p" {
		t.Errorf("the object is %+v", head)
	}
	if _, err := s.ListParts(t.Context(), &s3.ListPartsInput{Bucket: s.bucket, Key: aws.String("chunk"), UploadId: id}); code(err) != "NoSuchUpload" {
		t.Errorf("the parts of a completed upload are answered %d %s: %v", status(err), code(err), err)
	}
}

// What is taken back of a closed revision is found under the whole keys of its chunks, and nothing of their neighbours with it.
func TestS3ListsUploadsByTheirWholeKey(t *testing.T) {
	s := newStore(t)
	for _, key := range []string{"a/chunk-1", "a/chunk-10"} {
		s.upload(t, key, []byte("rows"), nil)
	}
	listed, err := s.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: s.bucket, Prefix: aws.String("a/chunk-10")})
	if err != nil || len(listed.Uploads) != 1 || aws.ToString(listed.Uploads[0].Key) != "a/chunk-10" {
		t.Errorf("listed %+v: %v", listed, err)
	}
}

// Looking back over marks begins in the middle of a folder.
func TestS3ListsAfterAKeyThatIsNotThere(t *testing.T) {
	s := newStore(t)
	for _, key := range []string{"m/1/plan", "m/2/plan", "m/3/plan"} {
		if err := s.putIfAbsent(t.Context(), key, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	listed, err := s.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: s.bucket, Prefix: aws.String("m/"), StartAfter: aws.String("m/20")})
	if err != nil || len(listed.Contents) != 1 || aws.ToString(listed.Contents[0].Key) != "m/3/plan" {
		t.Errorf("listed %d: %v", len(listed.Contents), err)
	}
}
