package eventstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/millrace/millrace/export"
)

// SampleRows gives at most limit rows of a chunk as people read them: a text for each column of the query, cut by ClickHouse
// after letters, and how many were cut. They come from all over the chunk: those whose keys have the least hashes.
func (s *Store) SampleRows(ctx context.Context, query ChunkQuery, limit, letters int) (sample [][]*string, cut int, err error) {
	rows, err := query.relation()
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	answer, err := s.query(rows.bound(ctx, query.QueryID, query.LogComment, query.Settings), rows.sampleSQL(query.Chunk, limit, letters))
	const what = "sample its rows"
	if err != nil {
		return nil, 0, ofModel(query.Model, what, err)
	}
	err = eachRow(answer, func() error {
		row, into := make([]*string, len(rows.columns)), make([]any, len(rows.columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := answer.Scan(into...); err != nil {
			return err
		}
		for _, value := range row {
			if value == nil {
				continue
			}
			if text := []rune(*value); len(text) > letters {
				*value = string(text[:letters])
				cut++
			}
		}
		sample = append(sample, row)
		return nil
	})
	return sample, cut, ofModel(query.Model, what, err)
}

// sampleSQL asks for one letter more than is shown, so that what is cut is seen.
func (r relation) sampleSQL(chunk export.Chunk, limit, letters int) string {
	var texts []string
	for _, column := range r.columns {
		name := export.QuoteName(column.Name)
		text := "toString(" + name + ")"
		if _, err := export.NewScalar(column.Type); err != nil {
			text = "toJSONString(" + name + ")" // an array, a map, a tuple
		}
		texts = append(texts, fmt.Sprintf("CAST(substringUTF8(%s, 1, %d) AS Nullable(String))", text, letters+1))
	}
	return "SELECT " + strings.Join(texts, ", ") + " FROM (SELECT " + r.selected() + " FROM " + r.from() + " WHERE " + r.whereChunk(chunk) +
		fmt.Sprintf(" ORDER BY cityHash64(tuple(%s)) LIMIT %d)", quoteNames(r.model.Identity()), limit)
}
