//go:build world

package s3

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/destinationtest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// formats are the ones that the suite has files in, each below a prefix of its own.
var formats = []export.Encoding{
	{Format: export.FormatParquet, Compression: export.CompressionZstd},
	{Format: export.FormatJSONEachRow, Compression: export.CompressionZstd},
	{Format: export.FormatCSV, Compression: export.CompressionGzip},
	{Format: export.FormatArrow, Compression: export.CompressionLZ4},
}

// worldClickHouse makes the rows of files, and reads the files with its own s3().
func worldClickHouse(t testing.TB) destinationtest.ClickHouse {
	t.Helper()
	return destinationtest.ClickHouse{URL: testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL")}
}

// forms are the ways in which a bucket holds rows.
func (b bucket) forms(t testing.TB) []destinationtest.Form {
	t.Helper()
	server := worldClickHouse(t)
	var all []destinationtest.Form
	for _, encoding := range formats {
		settings := fmt.Sprintf(`{"prefix": %q, "format": %[1]q, "compression": %q}`, encoding.Format, encoding.Compression)
		all = append(all, destinationtest.Form{
			Name: string(encoding.Format), Settings: json.RawMessage(settings),
			Open: func(t testing.TB, _ destinations.Shape) destinations.Destination { return b.open(t, settings) },
			Unsure: func(t testing.TB, _ destinations.Shape, arrives bool) destinations.Destination {
				return b.deafTo(t, "/manifest.json", arrives).open(t, settings)
			},
			Read: func(t testing.TB, manifest export.Manifest, columns []export.Column) (rows [][]*string) {
				for _, receipt := range manifest.Receipts {
					rows = append(rows, server.Texts(t, "SELECT "+texts(columns)+" FROM "+b.read(string(encoding.Format)+"/"+receipt.Location, encoding, columns))...)
				}
				return rows
			},
		})
	}
	return all
}

// read is a file as a table of ClickHouse's, by the model's declared columns.
func (b bucket) read(key string, encoding export.Encoding, columns []export.Column) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace
	return fmt.Sprintf("s3('%s/%s/%s', '%s', '%s', '%s', '%s')", b.connection.Endpoint, b.connection.Bucket, key,
		b.connection.AccessKeyID, b.connection.SecretAccessKey, destinationtest.FormatNames[encoding.Format], quote(export.Structure(columns)))
}

func texts(columns []export.Column) string {
	var all []string
	for _, column := range columns {
		all = append(all, "toString("+export.QuoteName(column.Name)+")")
	}
	return strings.Join(all, ", ")
}

// deafTo is a way to the bucket that hears nothing any more from the first write on to a key with this end: the write arrives
// or does not, and neither its answer nor a later one comes back.
func (b bucket) deafTo(t testing.TB, end string, arrives bool) bucket {
	var deaf atomic.Bool
	return b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, end) && !deaf.Swap(true) && arrives {
			pass.ServeHTTP(httptest.NewRecorder(), r)
		}
		if deaf.Load() {
			panic(http.ErrAbortHandler)
		}
		pass.ServeHTTP(w, r)
	})
}

// full is a way to the bucket where every write is answered as a store without room does. It is not the store itself: none of
// those that the tests have can be filled.
func (b bucket) full(t testing.TB) bucket {
	return b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Method == http.MethodPut || r.Method == http.MethodPost {
			refuse(w, http.StatusForbidden, "QuotaExceeded")
			return
		}
		pass.ServeHTTP(w, r)
	})
}
