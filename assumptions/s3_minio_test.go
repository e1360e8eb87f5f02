//go:build world && minio

package assumptions

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// MinIO lists the uploads of the whole bucket, and of one whole key, and none of a folder. It ends uploads by itself when
// they are a day old (stale_uploads_expiry), so none of ours stays for long.
func TestS3MinIOListsNoUploadsByFolder(t *testing.T) {
	store := newStore(t)
	const key = "events/shop-events/one.parquet"
	if _, err := store.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: store.bucket, Key: aws.String(key)}); err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string]int{"": 1, key: 1, "events/": 0, "events/shop-events/": 0} {
		listed, err := store.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: store.bucket, Prefix: aws.String(prefix)})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(listed.Uploads); got != want {
			t.Errorf("with prefix %q it lists %d uploads, not %d", prefix, got, want)
		}
	}
}
