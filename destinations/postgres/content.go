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

// contentQuery reads rows whole and answers with their number, the number of those that one transaction has written, and
// the sum of the low 64 bits of the MD5 of each row's canonical text (docs/proof.md): each field as its length in bytes, a
// colon and its text, - for NULL. The text of a field is made once in a row, in the inner query, which OFFSET 0 keeps the
// planner from dissolving; the hash stands once in the outer one, for one that is named twice is computed twice.
func contentQuery(table string, columns []column, condition string) string {
	texts, fields := []string{"xmin AS written"}, []string{}
	for i, c := range columns {
		f, _ := fitOf(c.Column, c.Postgres)
		texts = append(texts, fmt.Sprintf(f.text+" AS c%[2]d", quoted([]string{c.Name}), i))
		fields = append(fields, fmt.Sprintf("coalesce(octet_length(c%[1]d) || ':' || c%[1]d, '-')", i))
	}
	return "SELECT count(*), count(*) FILTER (WHERE written = $1::text::xid), coalesce(sum(('x' || substr(md5(" + strings.Join(fields, " || ") +
		"), 17, 16))::bit(64)::bigint), 0)::text FROM (SELECT " + strings.Join(texts, ", ") + " FROM " + table + condition + " OFFSET 0) AS texts"
}

// contentOf reads a table whole, or the part of it that condition says. by is the transaction whose rows are counted apart.
func contentOf(ctx context.Context, tx pgx.Tx, table string, columns []column, by, condition string) (content export.Content, written uint64, err error) {
	var rows, own int64
	var sum string
	if err := tx.QueryRow(ctx, contentQuery(table, columns, condition), by).Scan(&rows, &own, &sum); err != nil {
		return export.Content{}, 0, err
	}
	hash, err := modulo(sum)
	return export.Content{Rows: uint64(rows), Hash: hash}, uint64(own), err
}

// modulo is a sum of signed numbers modulo 2^64.
func modulo(sum string) (uint64, error) {
	total, ok := new(big.Int).SetString(sum, 10)
	if !ok {
		return 0, export.Errorf(export.KindInternal, "the sum of hashes is %q, which is no number", sum)
	}
	return total.And(total, new(big.Int).SetUint64(math.MaxUint64)).Uint64(), nil
}

// compared are the columns whose values are compared, and notCompared the names of those that keep another text than they
// were given.
func compared(columns []column) (yes []column, not []string) {
	for _, c := range columns {
		if f, _ := fitOf(c.Column, c.Postgres); f.text == notHashed {
			not = append(not, c.Name)
			continue
		}
		yes = append(yes, c)
	}
	return yes, not
}

// ofModel are columns as the model has them.
func ofModel(columns []column) []export.Column {
	var all []export.Column
	for _, c := range columns {
		all = append(all, c.Column)
	}
	return all
}
