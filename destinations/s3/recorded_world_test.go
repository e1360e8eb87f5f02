//go:build world

package s3

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/millrace/millrace/internal/recorded"
	"github.com/millrace/millrace/internal/testworld"
)

// late signs requests as a machine does whose clock is off.
type late struct {
	*v4.Signer
	by time.Duration
}

func (l late) SignHTTP(ctx context.Context, credentials aws.Credentials, r *http.Request, hash, service, region string, at time.Time, options ...func(*v4.SignerOptions)) error {
	return l.Signer.SignHTTP(ctx, credentials, r, hash, service, region, at.Add(l.by), options...)
}

// Each situation is brought about at a real store, whose answers are in testdata/answers. Throttling, a full store and
// most of what AWS alone says cannot be had here: docs/runbooks marks those codes as taken from the documentation.
func TestRecordedAnswersAreThoseOfARealStore(t *testing.T) {
	b := newBucket(t)
	name, reader := &b.connection.Bucket, b.asReader(t)
	var got recorded.Server
	got.Name = storeName
	mask := strings.NewReplacer(b.connection.Bucket, "BUCKET", testworld.Env(t, "AWS_ACCESS_KEY_ID"), "KEY", reader.connection.AccessKeyID, "READER")
	note := func(situation string, err error) {
		t.Helper()
		var api smithy.APIError
		if !errors.As(err, &api) {
			t.Errorf("%s: the store refuses nothing (%v)", situation, err)
			return
		}
		got.Answers = append(got.Answers, recorded.Answer{
			Situation: situation, Code: api.ErrorCode(), Status: statusOf(err), Message: mask.Replace(api.ErrorMessage()), Kind: judge(err).Kind,
		})
	}
	list := func(client *s3.Client, bucket *string) error {
		_, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: bucket})
		return err
	}
	put := func(key string, change func(*s3.PutObjectInput)) error {
		input := &s3.PutObjectInput{Bucket: name, Key: &key, Body: strings.NewReader("hello")}
		if change != nil {
			change(input)
		}
		_, err := b.client.PutObject(t.Context(), input)
		return err
	}
	with := func(change func(*s3.Options)) *s3.Client { return s3.New(b.client.Options(), change) }
	changed := func(change func(*connection)) *s3.Client {
		reach := b.connection
		change(&reach)
		client, err := newClient(t.Context(), reach)
		if err != nil {
			t.Fatal(err)
		}
		return client
	}

	note("a bucket that is not there", list(b.client, aws.String(*name+"-not")))
	note("an access key that is not known", list(changed(func(c *connection) { c.AccessKeyID = "AKIDNOBODY" }), name))
	note("a wrong secret", list(changed(func(c *connection) { c.SecretAccessKey = testSecret }), name))
	note("another region", list(changed(func(c *connection) { c.Region = "eu-north-1" }), name))
	note("a clock that is an hour off", list(with(func(o *s3.Options) { o.HTTPSignerV4, o.AuthSchemes = late{v4.NewSigner(), -time.Hour}, nil }), name))
	note("an account that may only read", func() error {
		_, err := changed(func(c *connection) { *c = reader.connection }).PutObject(t.Context(), &s3.PutObjectInput{Bucket: name, Key: aws.String("written"), Body: strings.NewReader("hello")})
		return err
	}())
	note("no credentials at all", list(with(func(o *s3.Options) { o.Credentials = aws.AnonymousCredentials{} }), name))

	note("an object that is not there", func() error {
		_, err := b.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: name, Key: aws.String("nowhere")})
		return err
	}())
	note("a key that is too long", put(strings.Repeat("x", 1100), nil))
	if err := put("taken", nil); err != nil {
		t.Fatal(err)
	}
	if storeName == "MinIO" {
		note("an encryption key that is not there", put("encrypted", func(in *s3.PutObjectInput) {
			in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, aws.String("nowhere")
		}))
	} else { // its objects are files in folders
		note("a folder where a file is", put("taken/below", nil))
	}
	note("a checksum that does not fit", put("damaged", func(in *s3.PutObjectInput) {
		in.ChecksumCRC64NVME = aws.String("AAAAAAAAAAA=")
	}))
	note("an MD5 that does not fit", put("damaged", func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String("1B2M2Y8AsgTpgAmY7PhCfg==") }))
	note("an MD5 that is none", put("damaged", func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String("hello") }))

	upload, err := b.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: name, Key: aws.String("parts")})
	if err != nil {
		t.Fatal(err)
	}
	complete := func(id *string, parts ...types.CompletedPart) error {
		_, err := b.client.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
			Bucket: name, Key: aws.String("parts"), UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		return err
	}
	part := types.CompletedPart{PartNumber: aws.Int32(1), ETag: aws.String(`"5d41402abc4b2a76b9719d911017c592"`)}
	note("a part that was never sent", complete(upload.UploadId, part))
	note("an upload that is not there", complete(aws.String("00000000-0000-0000-0000-000000000000"), part))
	if _, err := b.client.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: name, Key: aws.String("parts"), UploadId: upload.UploadId}); err != nil {
		t.Fatal(err)
	}
	recorded.Hold(t, strings.ToLower(storeName), got)
}
