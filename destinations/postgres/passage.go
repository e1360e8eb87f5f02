package postgres

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	internalencoding "github.com/millrace/millrace/internal/encoding"
)

// passage is a chunk on its way into COPY: it counts what passes, and gives io.EOF only for a whole file. Its own error
// outlives COPY's, which would only say that the client ended it. COPY reads in a goroutine of its own, which may still do
// so when COPY has failed or was cancelled.
type passage struct {
	from     io.ReadCloser
	progress func(uint64)
	passed   atomic.Uint64

	mu       sync.Mutex // not held while the source is read, which may block
	counter  *internalencoding.Counter
	isClosed bool
	rows     uint64
	err      error
}

func openPassage(ctx context.Context, task destinations.ChunkTask) (*passage, error) {
	source, err := task.Source.Open(ctx, encoding)
	if err != nil {
		return nil, sourceError(err)
	}
	counter, err := internalencoding.NewCounter(encoding)
	if err != nil {
		source.Close()
		return nil, err
	}
	progress := task.Progress
	if progress == nil {
		progress = func(uint64) {}
	}
	return &passage{from: source, counter: counter, progress: progress}, nil
}

// Read gives the next bytes to COPY.
func (p *passage) Read(buffer []byte) (int, error) {
	if _, err := p.outcome(); err != nil {
		return 0, err
	}
	n, err := p.from.Read(buffer)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed {
		return 0, io.ErrClosedPipe
	}
	if _, broken := p.counter.Write(buffer[:n]); broken != nil {
		p.err = notWhole(broken)
		return 0, p.err
	}
	p.progress(p.passed.Add(uint64(n)))
	switch {
	case err == io.EOF: // a wrapped EOF is an error that somebody explains, not the end
		rows, broken := p.counter.Rows()
		if broken != nil {
			p.err = notWhole(broken)
			return 0, p.err
		}
		p.rows = rows
		return n, io.EOF
	case err != nil:
		p.err = sourceError(err)
		return 0, p.err
	}
	return n, nil
}

// outcome is how many rows have passed, once all have, or why the source broke off.
func (p *passage) outcome() (rows uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rows, p.err
}

// bytes is how much has passed.
func (p *passage) bytes() uint64 { return p.passed.Load() }

func (p *passage) close() {
	p.from.Close() // ends the query, and a read that waits for it
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isClosed = true
	p.counter.Close()
}

func notWhole(err error) error {
	return export.Errorf(export.KindSourceUnavailable, "what ClickHouse sent is not whole: %w", err)
}

// sourceError keeps the kind that the source gave its error.
func sourceError(err error) error {
	var classified *export.Error
	if errors.As(err, &classified) {
		return err
	}
	return export.Errorf(export.KindSourceUnavailable, "the stream broke off: %w", err)
}
