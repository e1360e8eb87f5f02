package eventstore

import (
	"context"
	"io"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/millrace/millrace/export"
)

// What the tests outside of the package need to see of its inside.

// Conn is the native connection.
func (s *Store) Conn() driver.Conn { return s.conn }

// OpenQuery streams any query, so that tests can break it off.
func (s *Store) OpenQuery(ctx context.Context, sql string, encoding export.Encoding, id string) (io.ReadCloser, error) {
	return s.openStream(ctx, sql+" FORMAT "+formatNames[encoding.Format], ChunkQuery{Encoding: encoding, QueryID: id})
}

// Command runs a query over HTTP.
func (s *Store) Command(ctx context.Context, query string) error {
	return s.command(ctx, s.Database(), query)
}

// RangeOfChunk is the condition for the rows of a chunk.
var RangeOfChunk = rangeOfChunk

// SortOrder is the order of chunks and rows.
const SortOrder = sortOrder

// ChunkSQL is the query of a chunk.
func ChunkSQL(query ChunkQuery) string {
	rows, err := query.relation()
	if err != nil {
		panic(err)
	}
	return rows.chunkSQL(query.Chunk, query.Encoding)
}

// FormatName is ClickHouse's name of an encoding's format.
func FormatName(encoding export.Encoding) string { return formatNames[encoding.Format] }

// NewException makes an exception out of an answer over HTTP.
var NewException = newException
