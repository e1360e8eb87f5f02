// Package encoding looks at the bytes of a file as they pass, and tells how many rows the file has and whether it is
// whole, without keeping it. It is the worker's own witness beside ClickHouse's count: a stream that breaks off, or
// that ClickHouse ends with an exception after the first byte of a 200, must never pass for a file.
package encoding

import (
	"errors"
	"fmt"

	"github.com/millrace/millrace/export"
)

// ErrNotWhole is wrapped by every error that says that the bytes so far are not a whole file of the encoding.
var ErrNotWhole = errors.New("file is not whole")

// notWhole is an ErrNotWhole that says why.
func notWhole(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrNotWhole, fmt.Errorf(format, args...))
}

// Counter counts the rows of one file. Feed it every byte through Write, then ask Rows once. Close it on every path.
// It belongs to one goroutine.
//
// What makes a file whole:
//
//   - Parquet: the magic PAR1 at both ends, a footer that can be read, whose row count is the sum of its row groups', and
//     whose regions (pages, indexes, bloom filters) end exactly where the footer begins. The last point tells a broken
//     file from one that ends, by chance or by intent, in a row that itself holds a Parquet file.
//   - JSONEachRow: every line begins with { and ends with }, and the last one ends with a newline. Nothing in the plain
//     format tells a file cut at a line's end from a shorter one; the expected row count does.
//   - CSV: every record has as many fields as the header, quotes stand where RFC 4180 has them, and the last record ends with
//     a newline. A file cut at a record's end is a shorter one, as with JSONEachRow.
//   - Arrow: the magic ARROW1 at both ends, messages that follow each other from the first byte to the mark of their end, and
//     behind it a footer that names exactly the record batches that passed, by place and length.
//   - TabSeparated: the last line ends with a newline. ClickHouse escapes newlines inside values.
//   - with gzip or zstd around it: every frame is complete and its checksum is right, and nothing follows.
//
// A file without rows is whole when ClickHouse could have written it: no byte for plain lines, an empty frame for
// gzip and zstd, a header for CSV, a footer without row groups or record batches for Parquet and Arrow.
type Counter struct {
	file   file
	bytes  uint64
	broken error
}

// file is one form of file that is being counted.
type file interface {
	Write(p []byte) (int, error)
	// finish is called once, after the last byte.
	finish() (uint64, error)
	// close releases what the count holds; it may be called at any time and more than once.
	close()
}

// NewCounter begins the count of a file. It refuses an encoding that Millrace does not write.
func NewCounter(encoding export.Encoding) (*Counter, error) {
	if err := encoding.Validate(); err != nil {
		return nil, err
	}
	var inside file
	switch encoding.Format {
	case export.FormatParquet:
		inside = &parquetFile{}
	case export.FormatArrow:
		inside = &arrowFile{}
	case export.FormatCSV:
		inside = &records{}
	case export.FormatTabSeparated:
		inside = &newlines{}
	default:
		inside = &lines{}
	}
	switch {
	case encoding.Wrapped() && encoding.Compression == export.CompressionGzip:
		inside = newCompressed(inside, openGzip)
	case encoding.Wrapped():
		inside = newCompressed(inside, openZstd)
	}
	return &Counter{file: inside}, nil
}

// Write takes the next bytes. It may tell early that the file can no longer become whole; the error wraps ErrNotWhole.
func (c *Counter) Write(p []byte) (int, error) {
	n, err := c.file.Write(p)
	c.bytes += uint64(n)
	if err != nil && c.broken == nil {
		c.broken = err
	}
	return n, err
}

// Bytes is how many bytes have passed.
func (c *Counter) Bytes() uint64 { return c.bytes }

// Rows ends the file and gives its number of rows, or an error that wraps ErrNotWhole. Call it once, after the last
// byte; nothing may be written after it.
func (c *Counter) Rows() (uint64, error) {
	rows, err := c.file.finish()
	if c.broken != nil { // also when Write's error was not looked at
		return 0, c.broken
	}
	return rows, err
}

// Close releases what the count holds. A count that is given up half-way needs it; after Rows it does nothing.
func (c *Counter) Close() { c.file.close() }
