package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/export"
)

// EventsHash is the expression that hashes one row of the model `events`, for readers who compare; its sum over rows is
// their hash. The tuple matters: with plain arguments one NULL makes the hash NULL, and the sum leaves the row out. Its
// first element is the salt, the names and types of the columns.
func EventsHash() string { return rowHash(export.EventColumns()) }

func rowHash(columns []export.Column) string {
	return "cityHash64(tuple(cityHash64(" + quoteText(export.Structure(columns)) + "), " + selectOf(columns) + "))"
}

// ChunkContent computes the content of a chunk's rows in the source; the zero Chunk is the whole interval. It
// reads and never writes, and its query ends with ctx.
func (s *Store) ChunkContent(ctx context.Context, query ChunkQuery) (export.Content, error) {
	rows, err := query.relation()
	if err != nil {
		return export.Content{}, err
	}
	ctx, cancel := bounded(ctx, planTimeout)
	defer cancel()
	var content export.Content
	sql := "SELECT count(), sum(" + rowHash(rows.columns) + ") FROM " + rows.from() + " WHERE " + rows.whereChunk(query.Chunk)
	err = s.ask(rows.bound(ctx, query.QueryID, query.LogComment, query.Settings), sql, nil, &content.Rows, &content.Hash)
	return content, wrap(fmt.Sprintf("hash the rows of %s", query.Interval), err)
}

// FileQuery names a comparison at the server.
type FileQuery struct {
	Encoding export.Encoding
	// Columns are those of the file; the usual ones of `events` when nil.
	Columns []export.Column
	// QueryID names the query at the server; it must differ from every query that runs. Random when empty.
	QueryID string
	// LogComment stands in the server's query log.
	LogComment string
	// Settings are ClickHouse's for this query, beyond those that the reading itself needs.
	Settings map[string]string
}

// answerToFile bounds the wait for the server's answer once it has the whole file, which it reads only then when that is
// Parquet or Arrow.
const answerToFile = 10 * time.Minute

// ErrOtherContent says that a file was read, and that its rows are not those that were expected.
var ErrOtherContent = errors.New("the file has other rows")

// ErrUnreadable says that ClickHouse cannot read a file as what it should be.
var ErrUnreadable = errors.New("ClickHouse cannot read the file")

// HoldsContent has ClickHouse read a file of exported events, with the declared structure, and compute its content from
// the values; nil means that it is the content that is expected. It ends in ErrOtherContent or ErrUnreadable when the file
// is at fault; every other error says nothing about it. An error of file itself is returned as it is.
//
// The file goes to the server as the body of an insert into nothing, by way of input(): the server needs no way to where
// the file lies, and no key of it. It computes count and sum as the bytes come, Parquet and Arrow excepted, which it keeps whole in
// memory; no table is left behind. An insert gives no rows back, so the comparison is made at the server: throwIf ends
// the insert when the two differ, and its code tells.
func (s *Store) HoldsContent(ctx context.Context, query FileQuery, file io.Reader, want export.Content) error {
	if err := query.Encoding.Validate(); err != nil {
		return err
	}
	if query.QueryID == "" {
		query.QueryID = uuid.NewString()
	}
	if len(query.Columns) == 0 {
		query.Columns = export.EventColumns()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body := &fileBody{file: file, patience: time.AfterFunc(answerToFile, func() { cancel(errNoAnswer) }), closed: make(chan struct{})}
	defer body.patience.Stop()
	body.patience.Stop() // until the file has ended
	answered, err := s.compareFile(ctx, query, body, want)
	<-body.closed // net/http may read the body for a moment after the answer
	switch {
	case err == nil, errors.Is(err, ErrOtherContent), errors.Is(err, ErrUnreadable):
		// A verdict on what came, which says nothing when not all of it could be read.
	case answered:
		err = wrap("compare a file", err)
	default:
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		err = errors.Join(wrap("compare a file", err), s.kill(query.QueryID))
	}
	if body.err != nil {
		return body.err
	}
	return err
}

var errNoAnswer = export.Errorf(export.KindSourceUnavailable, "ClickHouse has the whole file, and does not answer within %s", answerToFile)

// compareSQL compares the content of an insert's rows, and inserts nothing.
func compareSQL(encoding export.Encoding, columns []export.Column, want export.Content) string {
	return fmt.Sprintf("INSERT INTO FUNCTION null('rows UInt8, hash UInt8') SELECT throwIf(count() != %d), throwIf(sum(%s) != %d) FROM input(%s) FORMAT %s",
		want.Rows, rowHash(columns), want.Hash, quoteText(export.Structure(columns)), formatNames[encoding.Format])
}

// compareFile tells also whether the server has answered, after which nothing is left to kill.
func (s *Store) compareFile(ctx context.Context, query FileQuery, body *fileBody, want export.Content) (answered bool, err error) {
	settings := maps.Clone(query.Settings)
	if settings == nil {
		settings = map[string]string{}
	}
	maps.Copy(settings, readSettings)
	settings["database"], settings["query_id"], settings["log_comment"] = s.Database(), query.QueryID, query.LogComment
	settings["query"] = compareSQL(query.Encoding, query.Columns, want)
	request, err := s.endpoint.send(ctx, settings, body)
	if err != nil {
		_ = body.Close()
		return true, err
	}
	if encoding := contentEncoding(query.Encoding); encoding != "" {
		request.Header.Set("Content-Encoding", encoding)
	}
	response, err := s.http.Do(request)
	if err != nil {
		return false, connectionError(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		refused := refusal(response)
		if exceptionCode(refused) == codeMemory && s.hasMemoryToSpare(ctx) {
			return true, fmt.Errorf("%w (it says that it has more than the server's memory holds)", ErrUnreadable)
		}
		return true, verdictOn(refused, summary(response).read)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return false, connectionError(err)
	}
	if written := summary(response).written; written != 1 {
		return true, export.Errorf(export.KindSourceUnavailable, "its answer says that %d rows were inserted where 1 says that it compared: is there a proxy on the way that takes the header %s off?", written, headerSummary)
	}
	return true, nil
}

// readSettings are those of reading files. They do not follow the server's profile, and what is missing in a file, or too
// much, is an error rather than a default.
var readSettings = map[string]string{
	"async_insert":         "0",
	"wait_end_of_query":    "1",
	"max_execution_time":   "0",
	"http_receive_timeout": strconv.Itoa(int(sendTimeout / time.Second)),
	// With the defaults, a million rows and 10 MiB of text, the server holds ten times as much of a file of JSON.
	"max_insert_block_size":                "65536",
	"min_chunk_bytes_for_parallel_parsing": "1048576",

	"date_time_input_format":                                "best_effort",
	"input_format_skip_unknown_fields":                      "0",
	"input_format_defaults_for_omitted_fields":              "0",
	"input_format_null_as_default":                          "0",
	"input_format_allow_errors_num":                         "0",
	"input_format_allow_errors_ratio":                       "0",
	"input_format_parquet_allow_missing_columns":            "0",
	"input_format_parquet_case_insensitive_column_matching": "0",
	"input_format_arrow_allow_missing_columns":              "0",
	"input_format_arrow_case_insensitive_column_matching":   "0",

	"input_format_with_names_use_header":                       "1",
	"format_csv_delimiter":                                     ",",
	"format_csv_null_representation":                           `\N`,
	"format_csv_allow_single_quotes":                           "0",
	"input_format_csv_empty_as_default":                        "0",
	"input_format_csv_trim_whitespaces":                        "0",
	"input_format_csv_use_default_on_bad_values":               "0",
	"input_format_csv_allow_variable_number_of_columns":        "0",
	"input_format_csv_deserialize_separate_columns_into_tuple": "0",
}

const headerSummary = "X-ClickHouse-Summary"

// summary is how many rows an insert has read and written, by its answer; 0 where it does not say.
func summary(response *http.Response) (rows struct{ read, written uint64 }) {
	var told struct {
		ReadRows    string `json:"read_rows"`
		WrittenRows string `json:"written_rows"`
	}
	if json.Unmarshal([]byte(response.Header.Get(headerSummary)), &told) != nil {
		return rows
	}
	rows.read, _ = strconv.ParseUint(told.ReadRows, 10, 64)
	rows.written, _ = strconv.ParseUint(told.WrittenRows, 10, 64)
	return rows
}

const (
	codeThrown = 395 // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
	codeMemory = 241 // MEMORY_LIMIT_EXCEEDED
)

// hasMemoryToSpare tells a file that asks for absurd lengths from a server that is short of memory: more than half of it is
// free. One whose own answer fails has none.
func (s *Store) hasMemoryToSpare(ctx context.Context) bool {
	found, err := s.Strain(ctx)
	return err == nil && found.MemoryMost > 0 && found.Memory < found.MemoryMost/2
}

// unreadableCodes are what ClickHouse says of a file that is none, or not of these columns. All others are of the server's
// own state, or of the query.
var unreadableCodes = []int32{
	6, 25, 26, 27, 38, 41, 72, 376, // CANNOT_PARSE_…: TEXT, ESCAPE_SEQUENCE, QUOTED_STRING, INPUT_ASSERTION_FAILED, DATE, DATETIME, NUMBER, UUID
	130, 407, 467, 632, 675, 676, 691, // CANNOT_READ_ARRAY_FROM_TEXT, DECIMAL_OVERFLOW, CANNOT_PARSE_BOOL, UNEXPECTED_DATA_AFTER_PARSED_VALUE, CANNOT_PARSE_IPV4, …_IPV6, UNKNOWN_ELEMENT_OF_ENUM
	8, 10, 16, // THERE_IS_NO_COLUMN, NOT_FOUND_COLUMN_IN_BLOCK, NO_SUCH_COLUMN_IN_TABLE
	32, 33, 117, // ATTEMPT_TO_READ_AFTER_EOF, CANNOT_READ_ALL_DATA, INCORRECT_DATA
	53, 70, 349, // TYPE_MISMATCH, CANNOT_CONVERT_TYPE, CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
	69, 128, 131, // ARGUMENT_OUT_OF_BOUND, TOO_LARGE_ARRAY_SIZE, TOO_LARGE_STRING_SIZE
	271, 354, 561, // CANNOT_DECOMPRESS, ZLIB_INFLATE_FAILED, ZSTD_DECODER_FAILED
	36, 1001, // BAD_ARGUMENTS, STD_EXCEPTION: of the libraries that read Parquet
}

// verdictOn tells what the server found in the file from its other troubles. The text of the exception stays out of a
// verdict, for it shows pieces of rows.
func verdictOn(err error, read uint64) error {
	switch code := exceptionCode(err); {
	case code == codeThrown:
		return fmt.Errorf("%w (it has %d)", ErrOtherContent, read)
	case slices.Contains(unreadableCodes, code):
		return fmt.Errorf("%w (its code is %d)", ErrUnreadable, code)
	}
	return err
}

// fileBody is a file as the body of a request. It has no WriteTo, with which the file would go as one chunk of HTTP, and the
// server takes a chunk into memory whole. It keeps the file's own error, and knows when the client has let go of it.
type fileBody struct {
	patience *time.Timer // runs from the end of the file
	closed   chan struct{}

	mu   sync.Mutex // is held while the file is read
	file io.Reader
	err  error
}

var errLetGo = errors.New("the file was let go of")

// Read reads the file.
func (b *fileBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return 0, errLetGo
	}
	n, err := b.file.Read(p)
	switch {
	case err == io.EOF:
		b.patience.Reset(answerToFile)
	case err != nil:
		b.err = err
	}
	return n, err
}

// Close lets go of the file, after a read that is under way; see io.Closer.
func (b *fileBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file != nil {
		b.file = nil
		close(b.closed)
	}
	return nil
}
