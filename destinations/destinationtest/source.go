package destinationtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/export"
)

// source is a chunk's rows as the suite makes them. It behaves like ClickHouse's stream: io.EOF comes only after the
// whole file, and everything stops when the context of Open ends. Its errors in mid-stream have no kind, as those of a
// connection do.
type source struct {
	rows  uint64
	salt  string // makes the bytes of two sources of the same rows differ
	width int    // about how many bytes a row has; 0 is small
	// breakAt, when not 0, makes a read fail after so many bytes.
	breakAt int
	// endAt, when not 0, ends the file after so many bytes, as if that were all.
	endAt int
	// openFails makes Open fail.
	openFails bool
	// blockAt, when not 0, makes a read wait after so many bytes until the context ends.
	blockAt int
	// reached is closed when blockAt is reached.
	reached chan struct{}
	opened  atomic.Int64
	// asked is the encoding that it was opened in last.
	asked atomic.Pointer[export.Encoding]
}

var errBroken = errors.New("connection reset by peer")

func rows(count uint64) *source { return &source{rows: count} }

// wide makes the rows so long that count of them have about so many bytes.
func wide(count uint64, size int) *source { return &source{rows: count, width: size / int(count)} }

// file makes the whole file.
func (s *source) file(encoding export.Encoding) ([]byte, error) {
	var lines bytes.Buffer
	padding := strings.Repeat("x", s.width)
	switch encoding.Format {
	case export.FormatJSONEachRow:
	case export.FormatTabSeparated:
		for row := range s.rows {
			fmt.Fprintf(&lines, "1\t0192d3f1-0000-7000-8000-%012x\tevent %[1]d\t%s\t2026-11-23T10:00:00.000001Z\t{\"padding\":%q}\t2026-11-23T10:00:00Z\t2026-11-23T10:00:01Z\n", row, s.salt, padding)
		}
		return lines.Bytes(), nil
	default:
		return nil, export.Errorf(export.KindInternal, "the suite cannot make %s: let the settings ask for jsoneachrow", encoding.Format)
	}
	for row := range s.rows {
		fmt.Fprintf(&lines, "{\"row\":%d,\"salt\":%q,\"padding\":%q}\n", row, s.salt, padding)
	}
	var out bytes.Buffer
	var packer io.WriteCloser
	switch encoding.Compression {
	case export.CompressionGzip:
		packer = gzip.NewWriter(&out)
	case export.CompressionZstd:
		encoder, err := zstd.NewWriter(&out, zstd.WithZeroFrames(true))
		if err != nil {
			return nil, err
		}
		packer = encoder
	default:
		return lines.Bytes(), nil
	}
	if _, err := packer.Write(lines.Bytes()); err != nil {
		return nil, err
	}
	if err := packer.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Open begins to read; see destinations.Source.
func (s *source) Open(ctx context.Context, encoding export.Encoding) (io.ReadCloser, error) {
	s.opened.Add(1)
	s.asked.Store(&encoding)
	if s.openFails {
		return nil, export.Errorf(export.KindSourceUnavailable, "open chunk: %w", errBroken)
	}
	file, err := s.file(encoding)
	if err != nil {
		return nil, err
	}
	if s.endAt != 0 {
		file = file[:min(s.endAt, len(file))]
	}
	return &stream{ctx: ctx, source: s, rest: file}, nil
}

type stream struct {
	ctx    context.Context
	source *source
	rest   []byte
	read   int
}

// Read gives at most 64 KiB at a time, as a network would.
func (s *stream) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n := min(len(p), len(s.rest), 64<<10)
	for _, stop := range []int{s.source.breakAt, s.source.blockAt} {
		if stop > s.read {
			n = min(n, stop-s.read)
		}
	}
	switch {
	case s.source.breakAt != 0 && s.read == s.source.breakAt:
		return 0, errBroken
	case s.source.blockAt != 0 && s.read == s.source.blockAt:
		close(s.source.reached)
		<-s.ctx.Done()
		return 0, s.ctx.Err()
	case len(s.rest) == 0:
		return 0, io.EOF
	}
	copy(p, s.rest[:n])
	s.rest = s.rest[n:]
	s.read += n
	return n, nil
}

// Close ends the query.
func (s *stream) Close() error { return nil }
