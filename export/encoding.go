package export

import (
	"slices"
	"strings"
)

// Format is a file format in which ClickHouse encodes rows.
type Format string

// The formats.
const (
	FormatParquet     Format = "parquet"
	FormatJSONEachRow Format = "jsoneachrow" // one JSON object a line
	FormatCSV         Format = "csv"         // one row a record, after a record of the columns' names; RFC 4180 with \n, and NULL as \N without quotes
	FormatArrow       Format = "arrow"       // Arrow's IPC file, which is Feather version 2

	// FormatTabSeparated is one row a line with a tab between fields, escaped as Postgres's COPY reads it. For databases;
	// files are not written in it.
	FormatTabSeparated Format = "tabseparated"
)

// Compression is how a file is compressed: inside for Parquet and Arrow, around it for JSONEachRow and CSV.
type Compression string

// The compressions. Which of them a format takes is in FileEncodings.
const (
	CompressionNone   Compression = "none"
	CompressionSnappy Compression = "snappy"
	CompressionLZ4    Compression = "lz4"
	CompressionZstd   Compression = "zstd"
	CompressionGzip   Compression = "gzip"
)

// Encoding is the form of a file's bytes.
type Encoding struct {
	Format      Format      `json:"format"`
	Compression Compression `json:"compression"`
}

// fileFormats are the formats of files, each with the compressions that ClickHouse writes and readers expect.
var fileFormats = []struct {
	format       Format
	compressions []Compression
}{
	{FormatParquet, []Compression{CompressionNone, CompressionSnappy, CompressionLZ4, CompressionZstd, CompressionGzip}},
	{FormatJSONEachRow, []Compression{CompressionNone, CompressionGzip, CompressionZstd}},
	{FormatCSV, []Compression{CompressionNone, CompressionGzip, CompressionZstd}},
	{FormatArrow, []Compression{CompressionNone, CompressionLZ4, CompressionZstd}},
}

// FileEncodings are all encodings that files are written in, format by format.
func FileEncodings() []Encoding {
	var all []Encoding
	for _, file := range fileFormats {
		for _, compression := range file.compressions {
			all = append(all, Encoding{file.format, compression})
		}
	}
	return all
}

// FileFormats names the formats of files, as a sentence does: "parquet, jsoneachrow, csv or arrow".
func FileFormats() string {
	var names []string
	for _, file := range fileFormats {
		names = append(names, string(file.format))
	}
	return oneOf(names)
}

// oneOf joins names as a sentence does; there are at least two.
func oneOf[T ~string](names []T) string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = string(name)
	}
	last := len(texts) - 1
	return strings.Join(texts[:last], ", ") + " or " + texts[last]
}

// Wrapped tells whether the compression is around the file, as by gzip(1), and not said inside it.
func (e Encoding) Wrapped() bool {
	return e.Format != FormatParquet && e.Format != FormatArrow && e.Compression != CompressionNone
}

// Extension is the end of a file's name: "parquet", "arrow", "jsonl", "jsonl.gz", "jsonl.zst", "csv", "csv.gz", "csv.zst".
func (e Encoding) Extension() string {
	extension := map[Format]string{FormatJSONEachRow: "jsonl", FormatTabSeparated: "tsv"}[e.Format]
	if extension == "" {
		extension = string(e.Format)
	}
	if e.Wrapped() {
		extension += map[Compression]string{CompressionGzip: ".gz", CompressionZstd: ".zst"}[e.Compression]
	}
	return extension
}

// Validate refuses a pair that ClickHouse does not write or that readers do not expect.
func (e Encoding) Validate() error {
	for _, file := range fileFormats {
		switch {
		case file.format != e.Format:
		case slices.Contains(file.compressions, e.Compression):
			return nil
		default:
			return Errorf(KindConfig, "compression: %q is unknown for %s: use %s", e.Compression, e.Format, oneOf(file.compressions))
		}
	}
	if e == (Encoding{Format: FormatTabSeparated, Compression: CompressionNone}) {
		return nil
	}
	return Errorf(KindConfig, "format: %q is unknown: use %s", e.Format, FileFormats())
}
