// Package s3 writes runs as files into a bucket of S3 or of a store that speaks like it.
//
// A run is a folder of data files and a folder of marks (keys.go). Its plan is the first conditional write, its
// manifest the last; readers who go by manifests see a run wholly or not at all. Everything between is decided by
// conditional writes too: a chunk's key says run and chunk and nothing of the attempt, its object says in its metadata
// which plan it belongs to, and whoever finds the key taken looks, and adopts what belongs to his plan.
//
// What the store must do is tried by Check, and by the tests in assumptions: If-None-Match on PutObject and on
// CompleteMultipartUpload, and CRC64NVME checksums of whole objects, kept and given back.
//
// The credentials need s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:AbortMultipartUpload below the
// prefix; a check and the removal of leftovers need s3:DeleteObject too, and the sweep of what killed processes left s3:ListBucketMultipartUploads.
// What is left is an unfinished upload, which no reader sees: an export's next run takes it back after give_up_after, and
// where there is none any more, a lifecycle rule of the bucket.
package s3

import (
	"context"
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

func init() {
	destinations.Register(destinations.Kind{
		Name:                "s3",
		Normalize:           normalizeSettings,
		NormalizeConnection: normalizeConnection,
		InOrder:             templateInOrder,
		Open:                open,
		Codes:               codes,
	})
}

// Destination is a bucket as one export sees it. It is safe for concurrent use.
type Destination struct {
	client   *s3.Client
	place    place
	prefix   string
	key      keyTemplate // "" for defaultKey
	encoding export.Encoding
	// columns are the files'; see destinations.Shape.
	columns []export.Column
	// strict has files appear in order; see order.go.
	strict bool
	// maxFile bounds a file in bytes; 0 does not.
	maxFile uint64
	// encryption is nil where the bucket's own holds.
	encryption *encryption
}

var (
	_ destinations.Destination  = (*Destination)(nil)
	_ destinations.ShowsInOrder = (*Destination)(nil)
	_ destinations.Foretells    = (*Destination)(nil)

	_ destinations.RemovesLeftovers = (*Destination)(nil)
)

// open makes the destination. It reads no more than the process's own configuration; nothing is sent yet.
func open(ctx context.Context, connectionBlock, settingsBlock json.RawMessage, shape destinations.Shape) (destinations.Destination, error) {
	reach, err := readConnection(connectionBlock)
	if err != nil {
		return nil, err
	}
	form, err := readSettings(settingsBlock)
	if err != nil {
		return nil, err
	}
	client, err := clientFor(ctx, reach)
	if err != nil {
		return nil, err
	}
	return &Destination{
		client:     client,
		place:      reach.place(client.Options().Region),
		prefix:     form.Prefix,
		key:        form.Key,
		encoding:   form.encoding(),
		columns:    shape.Columns,
		strict:     shape.Order == export.OrderStrict,
		maxFile:    uint64(form.MaxFileSize),
		encryption: reach.encryption,
	}, nil
}
