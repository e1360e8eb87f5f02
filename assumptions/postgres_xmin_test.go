//go:build world

package assumptions

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func lines(count int) io.Reader {
	var all strings.Builder
	for n := range count {
		fmt.Fprintf(&all, "%d\ttext\n", n)
	}
	return strings.NewReader(all.String())
}

// Whatever a statement does to a row, the version that shows afterwards is of the transaction that did it; cleaning up and
// freezing leave it. So rows that show, and are of the transaction that copied them, are as they were copied.
func TestARowCarriesTheTransactionThatWroteIt(t *testing.T) {
	for name, test := range map[string]struct {
		change string
		kept   string // rows that are of the first transaction still
	}{
		"nothing":                     {"SELECT 1", "10"},
		"VACUUM FREEZE":               {"VACUUM (FREEZE) kept", "10"},
		"VACUUM FULL":                 {"VACUUM FULL kept", "10"},
		"a lock on rows":              {"SELECT * FROM kept FOR UPDATE", "10"},
		"an update that changes none": {"UPDATE kept SET v = v WHERE n = 3", "9"},
		"an update":                   {"UPDATE kept SET v = 'other' WHERE n = 3", "9"},
		"a row more":                  {"INSERT INTO kept SELECT * FROM kept WHERE n = 3", "10"},
		"a row gone":                  {"DELETE FROM kept WHERE n = 3", "9"},
		"one gone and one more":       {"WITH gone AS (DELETE FROM kept WHERE n = 3 RETURNING *) INSERT INTO kept SELECT * FROM gone", "9"},
		"emptied and filled again":    {"CREATE TABLE other AS SELECT * FROM kept; TRUNCATE kept; INSERT INTO kept SELECT * FROM other", "0"},
		"another type":                {"ALTER TABLE kept ALTER v TYPE varchar(20)", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newSchema(t)
			p.do(t, "BEGIN", "CREATE UNLOGGED TABLE kept (n int, v text) USING heap")
			if _, err := p.PgConn().CopyFrom(t.Context(), lines(10), "COPY kept FROM STDIN (FORMAT text, FREEZE)"); err != nil {
				t.Fatal(err)
			}
			by := p.text(t, "SELECT pg_current_xact_id()::xid::text")
			p.do(t, "COMMIT", test.change)
			if got := p.text(t, "SELECT count(*) FILTER (WHERE xmin = '"+by+"'::xid)::text FROM kept"); got != test.kept {
				t.Errorf("%s rows are of the transaction that copied them, want %s", got, test.kept)
			}
		})
	}
}
