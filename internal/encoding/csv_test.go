package encoding_test

import (
	"bytes"
	stdcsv "encoding/csv"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/encoding"
)

// csvRows makes a header of two columns and rows as ClickHouse would: texts in quotes, numbers and \N without.
func csvRows(t *rapid.T) (file []byte, rows uint64) {
	var out bytes.Buffer
	out.WriteString("\"n\",\"text\"\n")
	texts := rapid.SliceOfN(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"a\nb", "\"", "\",\"", "\r\n\"\n", "", `\N`, "ü"})), 0, 12).Draw(t, "texts")
	for _, text := range texts {
		out.WriteString(rapid.SampledFrom([]string{"1", "-2.5", `\N`, "nan", "true"}).Draw(t, "number"))
		out.WriteString(`,"` + strings.ReplaceAll(text, `"`, `""`) + "\"\n")
	}
	return out.Bytes(), uint64(len(texts))
}

// Go's own reader of CSV is the referee.
func TestRowsOfCSVAreCountedHoweverTheBytesArrive(t *testing.T) {
	for _, form := range []export.Encoding{csvPlain, csvGzipped, csvZstded} {
		t.Run(string(form.Compression), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				text, want := csvRows(t)
				if read, err := stdcsv.NewReader(bytes.NewReader(text)).ReadAll(); err != nil || uint64(len(read)) != want+1 {
					t.Fatalf("the referee reads %d records (%v), there are %d", len(read), err, want+1)
				}
				pieces := rapid.SliceOfN(rapid.IntRange(1, 300), 1, 5).Draw(t, "pieces")
				if rows, err := count(t, form, compress(t, form, text), pieces...); err != nil || rows != want {
					t.Fatalf("counted %d rows (%v), there are %d", rows, err, want)
				}
			})
		})
	}
}

// As with JSON, a plain file cut at a record's end is one of fewer rows; every other cut is seen, also behind a newline
// that belongs to a value.
func TestTruncatedCSVIsNeverCountedAsWhole(t *testing.T) {
	for _, form := range []export.Encoding{csvPlain, csvGzipped, csvZstded} {
		t.Run(string(form.Compression), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				text, want := csvRows(t)
				file := compress(t, form, text)
				for cut := range file {
					rows, err := count(t, form, file[:cut])
					switch {
					case err == nil && form == csvPlain && rows < want && atRecordEnd(text[:cut]):
					case err == nil:
						t.Fatalf("the first %d of %d bytes count as a whole file of %d rows", cut, len(file), rows)
					case !errors.Is(err, encoding.ErrNotWhole):
						t.Fatalf("after %d bytes: %v does not wrap ErrNotWhole", cut, err)
					}
				}
			})
		})
	}
}

// atRecordEnd tells whether a text ends in a newline outside of quotes: quotes come in pairs.
func atRecordEnd(text []byte) bool {
	return bytes.HasSuffix(text, []byte("\n")) && bytes.Count(text, []byte(`"`))%2 == 0
}

func TestWhatIsNoCSVIsSaidPlainly(t *testing.T) {
	const header = "\"a\",\"b\"\n"
	for name, test := range map[string]struct{ file, want string }{
		"no byte":                    {"", "it has no header"},
		"half a header":              {"\"a\"", "record 1 has no end"},
		"a header without its end":   {"\"a\",\"b\"", "record 1 has no end"},
		"a quote that is not closed": {header + "1,\"x\n", "record 2 has no end"},
		"a field too few":            {header + "1,\"x\"\n2\n", "record 3 has 1 fields, the header has 2"},
		"a field too many":           {header + "1,\"x\",3\n", "record 2 has 3 fields, the header has 2"},
		"an empty line":              {header + "\n", "record 2 has 1 fields, the header has 2"},
		"a quote in a number":        {header + "1\",\n", `record 2 has '"' where a field ends or goes on`},
		"text behind a quote":        {header + "1,\"x\"y\n", "record 2 has 'y' where a field ends or goes on"},
		"an exception in mid-stream": {header + "1,\"x\"\n\r\n__exception__\r\n", `record 3 has '\r' where a field ends or goes on`},
		"an exception amid a row":    {header + "1,\r\n__exception__\r\n", `record 2 has '\r' where a field ends or goes on`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 3, 1 << 10} {
				if _, err := count(t, csvPlain, []byte(test.file), piece); err == nil || err.Error() != "file is not whole: "+test.want {
					t.Errorf("in pieces of %d: got %v, want %s", piece, err, test.want)
				}
			}
		})
	}
}
