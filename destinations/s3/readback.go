package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

var _ destinations.ReadsBack = (*Destination)(nil)

// ReadBack streams the object from the store to the reader; see destinations.ReadsBack. The store is asked for the object
// of the receipt's entity tag alone, and the checksum of what comes is held against the receipt's: a byte that was
// changed below a store that does not notice shows here, whether or not a value changed with it.
func (d *Destination) ReadBack(ctx context.Context, run export.Run, receipt export.Receipt, reader destinations.Reader) error {
	key := d.below(receipt.Location)
	act := "read back " + key
	if err := failpoint.Hit(ctx, "s3.readback"); err != nil {
		return d.explain(ctx, act, err)
	}
	quoted := `"` + receipt.ETag + `"`
	answer, err := d.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &d.place.bucket, Key: &key, IfMatch: &quoted})
	switch {
	case refused(err):
		return d.otherwise(run, receipt, "another object stands in its place")
	case codeOf(err) == "NoSuchKey":
		return export.Gone(d.otherwise(run, receipt, "it is gone"))
	case err != nil:
		return d.explain(ctx, act, err)
	}
	defer answer.Body.Close()
	file := &checked{from: answer.Body}
	holds, why := true, ""
	if receipt.Hash != "" {
		holds, why, err = d.holds(ctx, receipt, file, reader)
	}
	if file.err == nil {
		// The rest, which the reader may have had no need of any more.
		_, _ = io.Copy(io.Discard, file)
	}
	switch {
	case file.err != nil:
		return d.explain(ctx, act, file.err)
	case file.bytes != receipt.Bytes || checksumPrefix+checksumText(file.sum) != receipt.Checksum:
		return d.otherwise(run, receipt, "it has %d bytes with checksum %s, and was written with %d and %s",
			file.bytes, checksumPrefix+checksumText(file.sum), receipt.Bytes, receipt.Checksum)
	case err != nil:
		return d.explain(ctx, act, err)
	case !holds:
		return d.otherwise(run, receipt, "%s", why)
	}
	return d.explain(ctx, act, failpoint.Hit(ctx, "s3.readback.done"))
}

func (d *Destination) holds(ctx context.Context, receipt export.Receipt, file io.Reader, reader destinations.Reader) (bool, string, error) {
	want, err := receipt.Content()
	if err != nil {
		return false, "", err
	}
	holds, why, err := reader.Holds(ctx, d.encodingOf(receipt), file, want)
	return holds, fmt.Sprintf("%s, where the source has %s", why, want), err
}

// otherwise is the error of an object that is not what was written, or not the rows that were read. Its kind is `data`:
// no repetition mends it, and somebody must find out who changes files there.
func (d *Destination) otherwise(run export.Run, receipt export.Receipt, format string, args ...any) error {
	return export.Unworkable(export.Errorf(export.KindData, "%s, chunk %d: %s %s is not what was written: %s: find out who changes files there",
		run, receipt.Chunk, d.place, d.below(receipt.Location), fmt.Sprintf(format, args...)))
}

// checked computes the checksum of what is read through it, and keeps the error that ended it.
type checked struct {
	from  io.Reader
	bytes uint64
	sum   uint64
	err   error
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.bytes += uint64(n)
	c.sum = addChecksum(c.sum, p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
