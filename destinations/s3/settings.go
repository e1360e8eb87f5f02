package s3

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// settings is an export's block:
//
//	{"prefix": "events", "format": "parquet", "compression": "zstd"}
type settings struct {
	// Prefix is where in the bucket the export's files are, without a slash at either end; "" is the bucket's root.
	Prefix string `json:"prefix"`
	// Format is "parquet" (the default), "jsoneachrow", "csv" or "arrow".
	Format export.Format `json:"format"`
	// Compression is "zstd" (the default) or "none"; also "gzip", except for Arrow, "lz4" for Parquet and Arrow, and "snappy"
	// for Parquet.
	Compression export.Compression `json:"compression"`
	// Key makes the keys of data files; left out, and normalised to nothing, it is defaultKey.
	Key keyTemplate `json:"key,omitempty"`
	// MaxFileSize bounds a file; 0, when left out, does not.
	MaxFileSize size `json:"max_file_size,omitempty"`
}

var settingsFields = []string{"prefix", "format", "compression", "key", "max_file_size"}

// maxPrefix leaves room in S3's 1,024 bytes of a key for the rest of a run's longest name, about 200 bytes.
const maxPrefix = 512

// marksName is the folder of plans and manifests.
const marksName = "_millrace"

func (s settings) encoding() export.Encoding {
	return export.Encoding{Format: s.Format, Compression: s.Compression}
}

// readSettings reads an export's block, with its defaults. A prefix may be written with slashes around it.
func readSettings(block json.RawMessage) (settings, error) {
	read := settings{Format: export.FormatParquet, Compression: export.CompressionZstd}
	if err := destinations.DecodeBlock(block, &read, settingsFields...); err != nil {
		return settings{}, err
	}
	read.Prefix = strings.Trim(read.Prefix, "/")
	if err := checkPrefix(read.Prefix); err != nil {
		return settings{}, err
	}
	if read.Key = keyTemplate(strings.Trim(string(read.Key), "/")); read.Key == defaultKey {
		read.Key = ""
	}
	if read.Key != "" {
		if err := read.Key.validate(read.Prefix); err != nil {
			return settings{}, err
		}
	}
	if read.Format == export.FormatTabSeparated {
		return settings{}, export.Errorf(export.KindConfig, "format: %q is for databases: use %s", read.Format, export.FileFormats())
	}
	return read, read.encoding().Validate()
}

func normalizeSettings(block json.RawMessage) (json.RawMessage, error) {
	read, err := readSettings(block)
	if err != nil {
		return nil, err
	}
	return destinations.EncodeBlock(read)
}

func unfitForKeys(r rune) bool {
	return r < ' ' || r == 0x7f || r == '\\' || r == utf8.RuneError
}

func checkPrefix(prefix string) error {
	if len(prefix) > maxPrefix {
		return export.Errorf(export.KindConfig, "prefix: is %d bytes long: use at most %d", len(prefix), maxPrefix)
	}
	if strings.ContainsFunc(prefix, unfitForKeys) {
		return export.Errorf(export.KindConfig, "prefix: %q has a backslash, a control character or broken UTF-8: use plain names, separated by /", prefix)
	}
	if prefix == "" {
		return nil
	}
	for _, name := range strings.Split(prefix, "/") {
		switch name {
		case "", ".", "..":
			return export.Errorf(export.KindConfig, "prefix: %q has %q between slashes: use plain names, separated by single slashes", prefix, name)
		case marksName:
			return export.Errorf(export.KindConfig, "prefix: %q has %q in it, where plans and manifests are kept: use another name", prefix, marksName)
		}
	}
	return nil
}
