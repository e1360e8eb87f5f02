package eventstore

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/canonical"
)

// CanonicalContent computes the content of a chunk's rows in the source by the hash of some columns that a database
// computes, too; see canonical.Hash and ChunkContent.
func (s *Store) CanonicalContent(ctx context.Context, query ChunkQuery, columns []export.Column) (export.Content, error) {
	hash, err := canonical.Hash(columns)
	if err != nil {
		return export.Content{}, err
	}
	rows, err := query.relation()
	if err != nil {
		return export.Content{}, err
	}
	ctx, cancel := bounded(ctx, planTimeout)
	defer cancel()
	var content export.Content
	sql := "SELECT count(), sum(" + hash + ") FROM " + rows.from() + " WHERE " + rows.whereChunk(query.Chunk)
	err = s.ask(rows.bound(ctx, query.QueryID, query.LogComment, query.Settings), sql, nil, &content.Rows, &content.Hash)
	return content, wrap(fmt.Sprintf("hash the rows of %s", query.Interval), err)
}
