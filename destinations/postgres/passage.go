package postgres

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	internalencoding "github.com/millrace/millrace/internal/encoding"
)

// passage is a chunk on its way into COPY: it counts what passes, and gives io.EOF only for a whole file. Its own error
// outlives COPY's, which would only say that the client ended it.
type passage struct {
	from     io.ReadCloser
	counter  *internalencoding.Counter
	progress func(uint64)
	passed   atomic.Uint64
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
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.from.Read(buffer)
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

func (p *passage) close() {
	p.counter.Close()
	p.from.Close() // ends the query
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
