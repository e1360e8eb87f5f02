package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/encoding"
	"github.com/millrace/millrace/internal/failpoint"
)

// content is what is known of a file whose every byte has passed.
type content struct {
	rows, bytes uint64
	checksum    string // CRC64NVME in base64
}

// switchSwallow makes a build that is broken on purpose: the pipe takes an error of the source for its end, and completes
// what has come.
const switchSwallow = "s3.swallow.error"

// passage reads a file and counts it as it passes.
type passage struct {
	from     io.ReadCloser
	counter  *encoding.Counter
	sum      uint64
	ended    bool // io.EOF has come
	passed   atomic.Uint64
	progress func(uint64)
	// limit bounds the file, and tooLarge words the error of one that is larger. A limit of 0 does not.
	limit    uint64
	tooLarge func(bytes uint64) error
}

func (w chunkWork) openSource(ctx context.Context) (*passage, error) {
	source, err := w.Source.Open(ctx, w.encoding)
	if err != nil {
		return nil, sourceError(err)
	}
	rows, err := w.newPassage(source)
	if err == nil {
		rows.limit, rows.tooLarge = w.maxFile, w.tooLarge
	}
	return rows, err
}

func (w chunkWork) newPassage(from io.ReadCloser) (*passage, error) {
	counter, err := encoding.NewCounter(w.encoding)
	if err != nil {
		from.Close()
		return nil, err
	}
	progress := w.Progress
	if progress == nil {
		progress = func(uint64) {}
	}
	return &passage{from: from, counter: counter, progress: progress}, nil
}

// fill reads until the buffer is full or the file ends. Only io.EOF is an end: every other error is one of the source.
func (p *passage) fill(buffer []byte) (int, error) {
	filled := 0
	for filled < len(buffer) && !p.ended {
		n, err := p.from.Read(buffer[filled:])
		piece := buffer[filled : filled+n]
		filled += n
		p.sum = addChecksum(p.sum, piece)
		if _, broken := p.counter.Write(piece); broken != nil {
			return filled, export.Errorf(export.KindSourceUnavailable, "what ClickHouse sent is not a file: %w", broken)
		}
		p.passed.Add(uint64(n))
		p.tell()
		if p.limit > 0 && p.passed.Load() > p.limit {
			return filled, p.measure(err)
		}
		switch {
		case err == io.EOF: // a wrapped EOF is an error that somebody explains, not the end
			p.ended = true
		case err != nil && failpoint.On(switchSwallow):
			p.ended = true
		case err != nil:
			return filled, sourceError(err)
		}
	}
	return filled, nil
}

// measured is how many times its limit of a file is read to learn its size.
const measured = 16

// measure reads on, once a file is larger than it may be, to learn by how much.
func (p *passage) measure(err error) error {
	piece := make([]byte, 256<<10)
	for err == nil && p.passed.Load() < measured*p.limit {
		var n int
		n, err = p.from.Read(piece)
		p.passed.Add(uint64(n))
		p.tell()
	}
	if err != nil && err != io.EOF {
		return sourceError(err)
	}
	return p.tooLarge(p.passed.Load())
}

// tell reports the progress so far, from any goroutine.
func (p *passage) tell() { p.progress(p.passed.Load()) }

// telling is a body of a request that reports progress whenever more of it is asked for, so that a link is slow, and does
// not hang, as long as it takes anything. What the kernel holds of it, some hundred KiB on a slow link, counts as taken.
// It can be sent again from its beginning.
func (p *passage) telling(body []byte) io.ReadSeeker { return &telling{*bytes.NewReader(body), p.tell} }

// telling has no WriteTo, which would give the whole body as one piece.
type telling struct {
	body bytes.Reader
	tell func()
}

func (t *telling) Read(piece []byte) (int, error) {
	t.tell()
	return t.body.Read(piece)
}

// Seek goes to where it is to be sent from; see io.Seeker.
func (t *telling) Seek(offset int64, whence int) (int64, error) { return t.body.Seek(offset, whence) }

// content ends the count.
func (p *passage) content() (content, error) {
	rows, err := p.counter.Rows()
	return content{rows: rows, bytes: p.counter.Bytes(), checksum: checksumText(p.sum)}, err
}

func (p *passage) close() {
	p.counter.Close()
	p.from.Close() // ends the query; a file that ended well has nothing more to say
}

// sourceError keeps the kind that the source gave its error.
func sourceError(err error) error {
	var classified *export.Error
	if errors.As(err, &classified) {
		return err
	}
	return export.Errorf(export.KindSourceUnavailable, "the stream broke off: %w", err)
}

// readBack reads an object whole and counts it, as long as it stays the one that was looked at.
func (w chunkWork) readBack(ctx context.Context, found *object) (content, error) {
	answer, err := w.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &w.place.bucket, Key: &w.key, IfMatch: &found.etag})
	if err != nil {
		return content{}, w.explain(ctx, "read back "+w.key, err)
	}
	rows, err := w.newPassage(answer.Body)
	if err != nil {
		return content{}, err
	}
	defer rows.close()
	buffer := make([]byte, 256<<10)
	for !rows.ended {
		if _, err := rows.fill(buffer); err != nil {
			return content{}, w.readBackError(ctx, err)
		}
	}
	read, err := rows.content()
	if err != nil {
		return content{}, export.Unworkable(w.notOurs(w.key, "is under our plan, and %v", err))
	}
	return read, nil
}

// readBackError words what fill takes for an error of the source.
func (w chunkWork) readBackError(ctx context.Context, err error) error {
	if errors.Is(err, encoding.ErrNotWhole) {
		return export.Unworkable(w.notOurs(w.key, "is under our plan, and is not a file of this export"))
	}
	var classified *export.Error
	if errors.As(err, &classified) {
		err = classified.Unwrap()
	}
	return w.explain(ctx, "read back "+w.key, err)
}
