package encoding_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/encoding"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	parquet = export.Encoding{Format: export.FormatParquet, Compression: export.CompressionZstd}
	plain   = export.Encoding{Format: export.FormatJSONEachRow, Compression: export.CompressionNone}
	gzipped = export.Encoding{Format: export.FormatJSONEachRow, Compression: export.CompressionGzip}
	zstded  = export.Encoding{Format: export.FormatJSONEachRow, Compression: export.CompressionZstd}

	csvPlain   = export.Encoding{Format: export.FormatCSV, Compression: export.CompressionNone}
	csvGzipped = export.Encoding{Format: export.FormatCSV, Compression: export.CompressionGzip}
	csvZstded  = export.Encoding{Format: export.FormatCSV, Compression: export.CompressionZstd}
	arrow      = export.Encoding{Format: export.FormatArrow, Compression: export.CompressionZstd}
)

// count feeds a file in pieces of the given sizes, over and over.
func count(t require, form export.Encoding, file []byte, pieces ...int) (uint64, error) {
	counter, err := encoding.NewCounter(form)
	if err != nil {
		t.Fatal(err)
	}
	defer counter.Close()
	for i, rest := 0, file; len(rest) > 0; i++ {
		n := len(rest)
		if len(pieces) > 0 {
			n = min(n, pieces[i%len(pieces)])
		}
		if _, err := counter.Write(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return counter.Rows()
}

type require interface {
	Fatal(...any)
	Fatalf(string, ...any)
}

// jsonLines makes rows as ClickHouse would: newlines and braces inside strings, unicode, nesting.
func jsonLines(t *rapid.T) (file []byte, rows uint64) {
	texts := rapid.SliceOfN(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"a\nb", "}\n{", "\x00", "ü", "PAR1"})), 0, 12).Draw(t, "texts")
	for i, text := range texts {
		line, err := json.Marshal(map[string]any{"offset": i, "properties": map[string]string{"text": text}})
		if err != nil {
			t.Fatal(err)
		}
		file = append(append(file, line...), '\n')
	}
	return file, uint64(len(texts))
}

func compress(t require, form export.Encoding, file []byte) []byte {
	var out bytes.Buffer
	switch form.Compression {
	case export.CompressionNone:
		return file
	case export.CompressionGzip:
		writer := gzip.NewWriter(&out)
		if _, err := writer.Write(file); err != nil {
			t.Fatal(err)
		}
		if err := writer.Close(); err != nil {
			t.Fatal(err)
		}
	case export.CompressionZstd:
		writer, err := zstd.NewWriter(&out, zstd.WithZeroFrames(true))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write(file); err != nil {
			t.Fatal(err)
		}
		if err := writer.Close(); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatalf("unexpected compression %s", form.Compression)
	}
	return out.Bytes()
}

func TestRowsOfJSONAreCountedHoweverTheBytesArrive(t *testing.T) {
	for _, form := range []export.Encoding{plain, gzipped, zstded} {
		t.Run(string(form.Compression), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				lines, want := jsonLines(t)
				file := compress(t, form, lines)
				pieces := rapid.SliceOfN(rapid.IntRange(1, 300), 1, 5).Draw(t, "pieces")
				rows, err := count(t, form, file, pieces...)
				if err != nil || rows != want {
					t.Fatalf("counted %d rows (%v), there are %d", rows, err, want)
				}
			})
		})
	}
}

// A plain file cut at a line's end is a file of fewer rows, and nothing in it can tell; every other cut is seen.
func TestTruncatedJSONIsNeverCountedAsWhole(t *testing.T) {
	for _, form := range []export.Encoding{plain, gzipped, zstded} {
		t.Run(string(form.Compression), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				lines, want := jsonLines(t)
				file := compress(t, form, lines)
				for cut := range file {
					rows, err := count(t, form, file[:cut])
					switch {
					case err == nil && form == plain && rows < want && (cut == 0 || file[cut-1] == '\n'):
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

// A bit that no decoder looks at, such as the padding of a stored block, changes nothing, and then the count is right.
func TestOneFlippedBitNeverChangesTheCount(t *testing.T) {
	for _, form := range []export.Encoding{gzipped, zstded} {
		t.Run(string(form.Compression), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				lines, want := jsonLines(t)
				if want == 0 {
					return
				}
				file := compress(t, form, lines)
				// Behind the header: a gzip header holds a time and an operating system that nothing checks.
				at := rapid.IntRange(10, len(file)-1).Draw(t, "at")
				file[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				if rows, err := count(t, form, file); err == nil && rows != want {
					t.Fatalf("counted %d rows with byte %d broken, there were %d", rows, at, want)
				}
			})
		})
	}
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// The files in testdata were written by ClickHouse 26.7; their recipe is in testdata/README.md.
func TestFilesOfClickHouse(t *testing.T) {
	for _, test := range []struct {
		name string
		form export.Encoding
		rows uint64
	}{
		{"thousand.parquet", parquet, 1000},
		{"empty.parquet", parquet, 0},
		{"thousand.jsonl.gz", gzipped, 1000},
		{"empty.jsonl.gz", gzipped, 0},
		{"thousand.jsonl.zst", zstded, 1000},
		{"empty.jsonl.zst", zstded, 0},
		{"thousand.csv.gz", csvGzipped, 1000},
		{"empty.csv.gz", csvGzipped, 0},
		{"thousand.csv.zst", csvZstded, 1000},
		{"empty.csv.zst", csvZstded, 0},
		{"thousand.arrow", arrow, 1000},
		{"empty.arrow", arrow, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := golden(t, test.name)
			for _, piece := range []int{1, 7, 4096, len(file)} {
				rows, err := count(t, test.form, file, piece)
				if err != nil || rows != test.rows {
					t.Errorf("in pieces of %d: counted %d rows (%v), there are %d", piece, rows, err, test.rows)
				}
			}
			for cut := range file {
				if rows, err := count(t, test.form, file[:cut]); !errors.Is(err, encoding.ErrNotWhole) {
					t.Fatalf("the first %d of %d bytes count as %d rows (%v)", cut, len(file), rows, err)
				}
			}
			if rows, err := count(t, test.form, append(file, "garbage"...)); err == nil {
				t.Errorf("with garbage after it: counted %d rows", rows)
			}
		})
	}
}

func TestWhatIsNotAFileIsSaidPlainly(t *testing.T) {
	whole := golden(t, "thousand.parquet")
	embedded := append(append([]byte("PAR1 the page of a longer file, with a row that holds: "), whole...), []byte{}...)
	for _, test := range []struct {
		name string
		form export.Encoding
		file []byte
		want string
	}{
		{"no parquet", parquet, []byte("Code: 241. DB::Exception"), `file is not whole: it begins with "Code", not with "PAR1"`},
		{"no byte", parquet, nil, `file is not whole: 0 bytes are too few for a Parquet file`},
		{"cut", parquet, whole[:len(whole)-1], `file is not whole: it ends with "\x00PAR", not with "PAR1"`},
		{"a file inside a row", parquet, embedded, fmt.Sprintf("file is not whole: its footer describes %d bytes before it, there are %d", footerStart(whole), footerStart(embedded))},
		{"an exception in mid-stream", plain, []byte("{\"a\":1}\nCode: 241. DB::Exception: memory\n"), `file is not whole: line 2 begins with 'C', not with a JSON object`},
		{"half a line", plain, []byte("{\"a\":1}\n{\"a\""), `file is not whole: line 2 has no end`},
		{"a torn line", plain, []byte("{\"a\":1\n"), `file is not whole: line 1 ends with '1', not with the end of a JSON object`},
		{"no gzip", gzipped, nil, `file is not whole: read compressed file: EOF`},
		{"no zstd", zstded, nil, `file is not whole: there is no byte of it`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := count(t, test.form, test.file)
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func footerStart(file []byte) int {
	end := file[len(file)-8:]
	return len(file) - 8 - int(uint32(end[0])|uint32(end[1])<<8|uint32(end[2])<<16|uint32(end[3])<<24)
}

func TestAnErrorOfWriteIsNotForgotten(t *testing.T) {
	for _, test := range []struct {
		form export.Encoding
		file string
	}{{plain, "exception\n"}, {gzipped, "exception, and no gzip"}, {zstded, "exception, and no zstd"}, {parquet, "exception, and no Parquet"},
		{csvPlain, "a,b\nexception\n"}, {arrow, "exception, and no Arrow"}} {
		counter, err := encoding.NewCounter(test.form)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = counter.Write([]byte(test.file))
		if rows, err := counter.Rows(); !errors.Is(err, encoding.ErrNotWhole) {
			t.Errorf("%v: %d rows (%v) were counted", test.form, rows, err)
		}
		counter.Close()
	}
}

func TestAFileLongerThanTheKeptEndIsCounted(t *testing.T) {
	file := golden(t, "thousand.parquet")
	start := footerStart(file)
	for _, filler := range []int{8<<20 - 500, 8 << 20, 20 << 20} {
		// The footer's offsets no longer fit, and saying so takes reading it out of the ring.
		long := append(append(append([]byte{}, file[:start]...), make([]byte, filler)...), file[start:]...)
		want := fmt.Sprintf("file is not whole: its footer describes %d bytes before it, there are %d", start, start+filler)
		for _, piece := range []int{64 << 10, 1<<20 + 1, len(long)} {
			if _, err := count(t, parquet, long, piece); err == nil || err.Error() != want {
				t.Errorf("filler %d in pieces of %d: got %v, want %s", filler, piece, err, want)
			}
		}
	}
}

func TestAnUnknownEncodingIsRefused(t *testing.T) {
	_, err := encoding.NewCounter(export.Encoding{Format: export.FormatParquet, Compression: "brotli"})
	if export.KindOf(err) != export.KindConfig {
		t.Errorf("got %v", err)
	}
}

// No goroutine may stay behind a count that is given up; TestMain looks.
func TestACountCanBeGivenUpHalfWay(t *testing.T) {
	for name, form := range map[string]export.Encoding{
		"thousand.jsonl.gz": gzipped, "thousand.jsonl.zst": zstded, "thousand.csv.gz": csvGzipped, "thousand.csv.zst": csvZstded, "thousand.arrow": arrow,
	} {
		counter, err := encoding.NewCounter(form)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := counter.Write(golden(t, name)[:1000]); err != nil {
			t.Fatal(err)
		}
		counter.Close()
		counter.Close()
	}
}

func FuzzParquet(f *testing.F) {
	f.Add(golden(f, "thousand.parquet"))
	f.Add(golden(f, "empty.parquet"))
	f.Fuzz(func(t *testing.T, file []byte) {
		rows, err := count(t, parquet, file)
		again, errAgain := count(t, parquet, file, 1, 13)
		if rows != again || (err == nil) != (errAgain == nil) {
			t.Errorf("%d (%v) in one piece, %d (%v) in many", rows, err, again, errAgain)
		}
		if err != nil && !errors.Is(err, encoding.ErrNotWhole) {
			t.Errorf("%v does not wrap ErrNotWhole", err)
		}
	})
}

func BenchmarkCounter(b *testing.B) {
	lines := []byte(`{"team_id":1,"uuid":"00000000-0000-0000-0000-000000000001","event":"event0","distinct_id":"0","properties":"{\"n\":0}"}` + "\n")
	row := []byte(`1,"00000000-0000-0000-0000-000000000001","event0","0","{""$browser"":""Firefox"",""n"":0}"` + "\n")
	for _, form := range []export.Encoding{plain, gzipped, zstded, csvPlain, csvGzipped, csvZstded} {
		text := bytes.Repeat(lines, 100_000)
		if form.Format == export.FormatCSV {
			text = bytes.Repeat(row, 100_001) // the first passes for a header
		}
		file := compress(b, form, text)
		b.Run(string(form.Format)+" "+string(form.Compression), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if rows, err := count(b, form, file, 128<<10); err != nil || rows != 100_000 {
					b.Fatal(rows, err)
				}
			}
		})
	}
}

// A value's own newline is escaped, so a newline is a row, and a line without one was cut.
func TestRowsOfTabSeparatedAreCountedAndACutLineIsNone(t *testing.T) {
	form := export.Encoding{Format: export.FormatTabSeparated, Compression: export.CompressionNone}
	file := []byte("1\ta\\nb\n2\t\\N\n3\t\n")
	for cut := range len(file) + 1 {
		for _, piece := range []int{1, 4, len(file)} {
			rows, err := count(t, form, file[:cut], piece)
			whole := cut == 0 || file[cut-1] == '\n'
			if want := uint64(bytes.Count(file[:cut], []byte{'\n'})); whole && (err != nil || rows != want) {
				t.Errorf("%d bytes: %d rows, %v; want %d", cut, rows, err, want)
			}
			if !whole && !errors.Is(err, encoding.ErrNotWhole) {
				t.Errorf("%d bytes: %d rows, %v; want an error", cut, rows, err)
			}
		}
	}
}
