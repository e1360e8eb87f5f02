//go:build world

package s3

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/destinationtest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// bucket is a bucket of the outside world, for one test alone.
type bucket struct {
	connection connection
	client     *s3.Client
	order      string // of the definition that it is opened for
}

func newBucket(t testing.TB) bucket {
	t.Helper()
	reach := worldConnection(t)
	client, err := newClient(t.Context(), reach)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &reach.Bucket}); err != nil {
		t.Fatal(err)
	}
	return bucket{connection: reach, client: client}
}

// worldConnection names a bucket that nobody has made yet.
func worldConnection(t testing.TB) connection {
	t.Helper()
	block := encoded(t, map[string]any{
		"bucket": testworld.Name(t), "endpoint": testworld.Env(t, "MILLRACE_S3_ENDPOINT"), "region": testworld.Env(t, "AWS_REGION"),
		"access_key_id": testworld.Env(t, "AWS_ACCESS_KEY_ID"), "secret_access_key": testworld.Env(t, "AWS_SECRET_ACCESS_KEY"),
	})
	reach, err := readConnection(block)
	if err != nil {
		t.Fatal(err)
	}
	return reach
}

func encoded(t testing.TB, value any) json.RawMessage {
	t.Helper()
	block, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// open opens the bucket as a worker does.
func (b bucket) open(t testing.TB, settings string) destinations.Destination {
	t.Helper()
	kind, err := destinations.Lookup("s3")
	if err != nil {
		t.Fatal(err)
	}
	normal, err := kind.Normalize(json.RawMessage(settings))
	if err != nil {
		t.Fatal(err)
	}
	destination, err := kind.Open(t.Context(), encoded(t, b.connection), normal, destinations.ShapeOf(export.Definition{Order: b.order}.WithDefaults()))
	if err != nil {
		t.Fatal(err)
	}
	return destination
}

// contents lists everything in the bucket: objects with size, tag and time, and open uploads.
func (b bucket) contents(t testing.TB) []string {
	t.Helper()
	var lines []string
	objects := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.connection.Bucket})
	for objects.HasMorePages() {
		page, err := objects.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range page.Contents {
			lines = append(lines, fmt.Sprintf("object %s: %d bytes, %s, %s", *object.Key, *object.Size, aws.ToString(object.ETag), object.LastModified))
		}
	}
	uploads, err := b.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &b.connection.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToBool(uploads.IsTruncated) {
		t.Fatal("more uploads than one page of 1,000")
	}
	for _, upload := range uploads.Uploads {
		lines = append(lines, fmt.Sprintf("unfinished upload %s: %s", *upload.Key, *upload.UploadId))
	}
	return lines
}

// openInOrder opens the bucket for `order: strict`.
func (b bucket) openInOrder(t testing.TB, settings string) destinations.Destination {
	t.Helper()
	b.order = export.OrderStrict
	return b.open(t, settings)
}

// The suite's rows are too alike to make a big file when they are compressed, so the whole suite runs on plain JSON.
func TestPromises(t *testing.T) { holdsPromises(t, "", "S3") }

// The same promises hold where files appear in order, and those about the order.
func TestPromisesInOrder(t *testing.T) { holdsPromises(t, export.OrderStrict, "S3, order: strict") }

func holdsPromises(t *testing.T, order, title string) {
	const settings = `{"prefix": "events", "format": "jsoneachrow", "compression": "none"}`
	found := destinationtest.Run(t, func(t *testing.T) destinationtest.Subject {
		b := newBucket(t)
		b.order = order
		return destinationtest.Subject{
			Kind: "s3", Settings: json.RawMessage(settings), BigChunk: 2*smallPart + smallPart/2, Order: order,
			Open:       func(t testing.TB) destinations.Destination { return b.open(t, settings) },
			Contents:   b.contents,
			Expired:    func(t testing.TB) destinations.Destination { return b.asExpired(t).open(t, settings) },
			ReadOnly:   func(t testing.TB) destinations.Destination { return b.asReader(t).open(t, settings) },
			Full:       func(t testing.TB) destinations.Destination { return b.full(t).open(t, settings) },
			ClickHouse: worldClickHouse(t), Forms: b.forms(t),
		}
	})
	found.Hold(t, "../../docs/guarantees.md", title)
}
