//go:build world && minio

package s3

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/destinationtest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// storeName is the store that this build is tested on.
const storeName = "MinIO"

func (b bucket) encrypting(t testing.TB, block map[string]any) bucket {
	t.Helper()
	b.connection.Encryption = encoded(t, block)
	return b
}

// Every object of a run is encrypted as the connection says, from the plan to the manifest, written at once or in parts.
func TestEveryObjectIsEncryptedAsTheConnectionSays(t *testing.T) {
	key := testworld.Env(t, "MILLRACE_S3_KMS_KEY")
	for _, test := range []struct {
		block map[string]any
		want  types.ServerSideEncryption
	}{
		{map[string]any{"type": "sse-s3"}, types.ServerSideEncryptionAes256},
		{map[string]any{"type": "sse-kms"}, types.ServerSideEncryptionAwsKms},
		{map[string]any{"type": "sse-kms", "key": key, "bucket_key": true}, types.ServerSideEncryptionAwsKms},
	} {
		for _, rows := range []int{10, bigRows} {
			t.Run(fmt.Sprint(test.block, rows), func(t *testing.T) {
				b := newBucket(t).encrypting(t, test.block)
				if _, err := runOnce(t.Context(), b.open(t, jsonSettings), planOf(t, rows)); err != nil {
					t.Fatal(err)
				}
				if err := b.open(t, jsonSettings).Check(t.Context(), func(destinations.Step) {}); err != nil {
					t.Error(err)
				}
				b.wantRun(t, 0)
				objects, err := b.client.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: &b.connection.Bucket})
				if err != nil {
					t.Fatal(err)
				}
				for _, object := range objects.Contents {
					head, err := b.client.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: &b.connection.Bucket, Key: object.Key})
					if err != nil {
						t.Fatal(err)
					}
					if head.ServerSideEncryption != test.want || test.block["key"] != nil && !strings.HasSuffix(aws.ToString(head.SSEKMSKeyId), key) {
						t.Errorf("%s is encrypted by %q with key %q", *object.Key, head.ServerSideEncryption, aws.ToString(head.SSEKMSKeyId))
					}
				}
			})
		}
	}
}

// The entity tag of an object that a key service encrypts is no MD5 of its bytes, not even of one that was written in one
// request. Nothing here takes it for more than a name; the whole suite holds on such a bucket.
func TestPromisesHoldOnAnEncryptedBucket(t *testing.T) {
	settings := jsonSettings
	subject := func(t *testing.T) destinationtest.Subject {
		b := newBucket(t).encrypting(t, map[string]any{"type": "sse-kms", "key": testworld.Env(t, "MILLRACE_S3_KMS_KEY")})
		return destinationtest.Subject{
			Kind: "s3", Settings: json.RawMessage(settings), BigChunk: 2*smallPart + smallPart/2,
			Open:     func(t testing.TB) destinations.Destination { return b.open(t, settings) },
			Contents: b.contents,
		}
	}
	b := newBucket(t).encrypting(t, map[string]any{"type": "sse-kms"})
	plan := planOf(t, 10)
	manifest, err := runOnce(t.Context(), b.open(t, settings), plan)
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum([]byte(strings.Repeat(fmt.Sprintf("{\"padding\":%q}\n", strings.Repeat("x", 1000)), 10)))
	if manifest.Receipts[0].ETag == hex.EncodeToString(sum[:]) {
		t.Error("the entity tag is the MD5 of the file: this store does not show what the test is for")
	}
	destinationtest.Run(t, subject)
}

func TestAKeyThatIsNotThereIsNamed(t *testing.T) {
	b := newBucket(t).encrypting(t, map[string]any{"type": "sse-kms", "key": "no-such-key"})
	_, err := runOnce(t.Context(), b.open(t, jsonSettings), planOf(t, 10))
	wantError(t, err, export.KindPermission, fmt.Sprintf("prepare: write %s: %s: %s (kms:KeyNotFound)",
		"events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/r0001/plan.json", b.connection.place(b.connection.Region), unknownKMSKey.Text))
}

// asReader is the bucket as a role has it that may read and nothing else.
func (b bucket) asReader(t testing.TB) bucket {
	t.Helper()
	keys := credentials.NewStaticCredentialsProvider(b.connection.AccessKeyID, b.connection.SecretAccessKey, "")
	service := sts.New(sts.Options{BaseEndpoint: &b.connection.Endpoint, Region: b.connection.Region, Credentials: keys})
	policy := strings.ReplaceAll(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
		"Action": ["s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads"], "Resource": ["arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"]}]}`, "BUCKET", b.connection.Bucket)
	taken, err := service.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(anyRole), RoleSessionName: aws.String("reader"), Policy: &policy})
	if err != nil {
		t.Fatal(err)
	}
	b.connection.AccessKeyID, b.connection.SecretAccessKey = *taken.Credentials.AccessKeyId, *taken.Credentials.SecretAccessKey
	b.connection.SessionToken = *taken.Credentials.SessionToken
	return b
}

// asExpired is the bucket with a token that MinIO takes for none: it gives out none that ends within a quarter of an hour.
func (b bucket) asExpired(testing.TB) bucket {
	b.connection.SessionToken = testSecret
	return b
}
