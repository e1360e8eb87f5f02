package eventstore

import (
	"context"
	"io"

	"github.com/millrace/millrace/export"
)

// ChunkQuery asks for the rows of a chunk as the bytes of a file.
type ChunkQuery struct {
	Interval export.Interval
	Team     export.Team
	Chunk    export.Chunk
	Encoding export.Encoding
	// QueryID names the query at the server; it must differ from every query that runs. Random when empty.
	QueryID string
	// LogComment stands in the server's query log; by custom it names run and chunk.
	LogComment string
	// Threads bounds the query's threads at the server; the server decides when 0.
	Threads int
}

// OpenChunk begins to read a chunk. The bytes are a whole file in the given encoding, encoded by ClickHouse; nothing
// here touches a row. The rows come in sort order.
//
// The reader returns io.EOF only when the stream is proved to be whole; every other end, also an exception that
// ClickHouse met after the first byte, is an error with a kind. Close may be called from another goroutine and at any
// time; it ends the query at the server when that was not read to its end.
func (s *Store) OpenChunk(ctx context.Context, query ChunkQuery) (io.ReadCloser, error) {
	return nil, errNotBuilt
}
