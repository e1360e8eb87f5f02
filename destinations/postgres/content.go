package postgres

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/export"
)

// content is what a staging table holds: its rows, and the sum modulo 2^64 of the low 64 bits of the MD5 of each row's
// canonical text (docs/exactly-once.md and assumptions/postgres_hash_test.go). Columns of jsonb are left out, for they keep
// another text than they were given.
type content struct {
	rows uint64
	hash uint64
}

func (c content) text() string { return fmt.Sprintf("%016x", c.hash) }

// canonicalText is the SQL expression of a row's text: each field as its length in bytes, a colon and its text, - for NULL.
func canonicalText(columns []column) string {
	var fields []string
	for _, c := range columns {
		for _, f := range fitsOf(c.Column) {
			if f.postgres == c.Postgres && f.text != notHashed {
				text := fmt.Sprintf(f.text, quoted([]string{c.Name}))
				fields = append(fields, fmt.Sprintf("coalesce(octet_length(%[1]s) || ':' || %[1]s, '-')", text))
			}
		}
	}
	return strings.Join(fields, " || ")
}

// contentOf reads a table whole. The hash stands once in the query: one that is named twice is computed twice.
func contentOf(ctx context.Context, tx pgx.Tx, table string, columns []column) (content, error) {
	var rows int64
	var sum string
	err := tx.QueryRow(ctx, "SELECT count(*), coalesce(sum(('x' || substr(md5("+canonicalText(columns)+"), 17, 16))::bit(64)::bigint), 0)::text FROM "+table).Scan(&rows, &sum)
	if err != nil {
		return content{}, err
	}
	total, ok := new(big.Int).SetString(sum, 10)
	if !ok {
		return content{}, export.Errorf(export.KindInternal, "the sum of hashes is %q, which is no number", sum)
	}
	return content{rows: uint64(rows), hash: total.And(total, new(big.Int).SetUint64(math.MaxUint64)).Uint64()}, nil
}
