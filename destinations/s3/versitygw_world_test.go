//go:build world && !minio

package s3

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// storeName is the store that this build is tested on.
const storeName = "versitygw"

// versitygw takes the headers of encryption and does nothing: what was to be encrypted lies there open, and a check says so.
func TestAStoreThatDoesNotEncryptIsRefused(t *testing.T) {
	b := newBucket(t)
	b.connection.encryption, b.connection.Encryption = nil, []byte(`{"type": "sse-s3"}`)
	var failed []string
	err := b.open(t, jsonSettings).Check(t.Context(), func(step destinations.Step) {
		if step.Error != "" {
			failed = append(failed, step.Name)
		}
	})
	if export.KindOf(err) != export.KindConfig || !strings.HasSuffix(err.Error(), "the store took the object and did not encrypt it as encryption in the connection says (sse-s3): leave encryption out, or use a store that does") {
		t.Errorf("got %v (%s)", err, export.KindOf(err))
	}
	if len(failed) != 1 || failed[0] != "read it back with its checksum" {
		t.Errorf("the failed steps are %q", failed)
	}
}

// admin sends the store a request about its accounts.
func (b bucket) admin(t testing.TB, request, body string) {
	t.Helper()
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, b.connection.Endpoint+"/"+request, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	ask.Header.Set("X-Amz-Content-Sha256", hash)
	key := aws.Credentials{AccessKeyID: b.connection.AccessKeyID, SecretAccessKey: b.connection.SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(t.Context(), key, ask, hash, "s3", b.connection.Region, time.Now()); err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(answer.Body)
		t.Fatalf("%s: %s: %s", request, answer.Status, text)
	}
}

// asReader is the bucket as an account of its own has it, whom the bucket's policy lets read and nothing else.
func (b bucket) asReader(t testing.TB) bucket {
	t.Helper()
	name := testworld.Name(t)
	b.admin(t, "create-user", "<Account><Access>"+name+"</Access><Secret>"+testSecret+"</Secret><Role>user</Role></Account>")
	policy := strings.NewReplacer("NAME", name, "BUCKET", b.connection.Bucket).Replace(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["NAME"]},
		"Action": ["s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads"], "Resource": ["arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"]}]}`)
	if _, err := b.client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &b.connection.Bucket, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	b.connection.AccessKeyID, b.connection.SecretAccessKey = name, testSecret
	return b
}

// asExpired is the bucket as an account has it that was let in, and then taken away.
func (b bucket) asExpired(t testing.TB) bucket {
	t.Helper()
	reader := b.asReader(t)
	if _, err := reader.open(t, jsonSettings).Published(t.Context(), planOf(t, 1).Run); err != nil {
		t.Fatalf("before it expires: %v", err)
	}
	b.admin(t, "delete-user?access="+reader.connection.AccessKeyID, "")
	return reader
}
