package export

// Format is a file format in which ClickHouse encodes rows.
type Format string

// The formats.
const (
	FormatParquet     Format = "parquet"
	FormatJSONEachRow Format = "jsoneachrow" // one JSON object a line

	// FormatTabSeparated is one row a line with a tab between fields, escaped as Postgres's COPY reads it. For databases;
	// files are not written in it.
	FormatTabSeparated Format = "tabseparated"
)

// Compression is how a file is compressed: inside for Parquet, around it for JSONEachRow.
type Compression string

// The compressions. Parquet takes none, snappy, lz4, zstd and gzip; JSONEachRow none, gzip and zstd.
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

// Extension is the end of a file's name: "parquet", "jsonl", "jsonl.gz", "jsonl.zst".
func (e Encoding) Extension() string {
	switch e.Format {
	case FormatParquet:
		return "parquet"
	case FormatTabSeparated:
		return "tsv"
	}
	switch e.Compression {
	case CompressionGzip:
		return "jsonl.gz"
	case CompressionZstd:
		return "jsonl.zst"
	}
	return "jsonl"
}

// Validate refuses a pair that ClickHouse does not write or that readers do not expect.
func (e Encoding) Validate() error {
	switch e.Format {
	case FormatParquet:
		switch e.Compression {
		case CompressionNone, CompressionSnappy, CompressionLZ4, CompressionZstd, CompressionGzip:
			return nil
		}
		return Errorf(KindConfig, "compression: %q is unknown for parquet: use none, snappy, lz4, zstd or gzip", e.Compression)
	case FormatJSONEachRow:
		switch e.Compression {
		case CompressionNone, CompressionGzip, CompressionZstd:
			return nil
		}
		return Errorf(KindConfig, "compression: %q is unknown for jsoneachrow: use none, gzip or zstd", e.Compression)
	}
	if e == (Encoding{Format: FormatTabSeparated, Compression: CompressionNone}) {
		return nil
	}
	return Errorf(KindConfig, "format: %q is unknown: use parquet or jsoneachrow", e.Format)
}
