//go:build world

package assumptions

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/testworld"
)

// Files are read back by an insert that inserts nothing, by way of input(): see docs/decisions/0012. These are the reasons.

const fileColumns = "n UInt64, text String"

// fileOf makes a file of so many rows.
func fileOf(t *testing.T, d clickhouseDatabase, rows int, format string) []byte {
	t.Helper()
	query := fmt.Sprintf("SELECT number AS n, concat(toString(number), repeat('x', 300)) AS text FROM numbers(%d) FORMAT %s", rows, format)
	response, err := plainClient.Do(d.request(t, d.name, query, map[string]string{"output_format_parquet_compression_method": "none"}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", response.StatusCode, err)
	}
	return content
}

const hashOfRows = "sum(cityHash64(tuple(n, text)))"

// pieces is a body that is sent piece by piece. A reader with WriteTo, such as bytes.Reader, is sent as one chunk of HTTP,
// and ClickHouse takes a chunk into memory whole.
func pieces(file []byte) io.ReadCloser {
	return io.NopCloser(struct{ io.Reader }{bytes.NewReader(file)})
}

// compares sends a file as the body of an insert into nothing that throws unless the file has so many rows.
func compares(t *testing.T, d clickhouseDatabase, file []byte, format string, rows int) compared {
	t.Helper()
	query := fmt.Sprintf("INSERT INTO FUNCTION null('a UInt8, b UInt8') SELECT throwIf(count() != %d), ignore(%s) FROM input('%s') FORMAT %s", rows, hashOfRows, fileColumns, format)
	request := d.request(t, d.name, "", map[string]string{"query": query, "async_insert": "0", "wait_end_of_query": "1"})
	request.Body, request.ContentLength = pieces(file), -1
	response, err := plainClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return compared{status: response.StatusCode, header: response.Header}
}

// compared is the answer to an insert.
type compared struct {
	status int
	header http.Header
}

// summary is the number of that name in X-ClickHouse-Summary.
func (c compared) summary(t *testing.T, name string) int {
	t.Helper()
	var numbers map[string]string
	if err := json.Unmarshal([]byte(c.header.Get("X-ClickHouse-Summary")), &numbers); err != nil {
		t.Fatalf("X-ClickHouse-Summary: %v", err)
	}
	number, err := strconv.Atoi(numbers[name])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return number
}

// An insert tells by the code of its exception that a comparison within it failed, and by the one row that it wrote that
// the comparison was made at all.
func TestAnInsertIntoNothingCompares(t *testing.T) {
	d := newDatabase(t)
	for _, format := range []string{"JSONEachRow", "CSVWithNames", "Parquet", "Arrow"} {
		file := fileOf(t, d, 1000, format)
		if answer := compares(t, d, file, format, 1000); answer.status != http.StatusOK || answer.summary(t, "written_rows") != 1 {
			t.Errorf("%s: the right rows are answered %+v", format, answer)
		}
		if answer := compares(t, d, file, format, 999); answer.status == http.StatusOK || answer.header.Get("X-ClickHouse-Exception-Code") != "395" {
			t.Errorf("%s: other rows are answered %+v", format, answer)
		}
	}
	if tables := d.count(t, "SELECT count() FROM system.tables WHERE database = currentDatabase()"); tables != 0 {
		t.Errorf("%d tables are left behind", tables)
	}
	answer := compares(t, d, nil, "JSONEachRow", 1000)
	t.Logf("no byte of data: %d, code %q", answer.status, answer.header.Get("X-ClickHouse-Exception-Code"))
	if answer.status == http.StatusOK && answer.summary(t, "written_rows") != 0 {
		t.Error("no data compares equal to 1,000 rows")
	}
}

// Rows come by way of input() as they are sent, and JSON and CSV take the memory of some blocks, whatever the file's size. As external data of a query, which could
// give numbers back, they are all kept in memory, decoded, before the query begins. A file of Parquet or Arrow is kept whole either way.
func TestInputStreamsAndExternalDataDoesNot(t *testing.T) {
	d := newDatabase(t)
	const rows = 600_000
	for _, format := range []string{"JSONEachRow", "CSVWithNames", "Parquet", "Arrow"} {
		file := fileOf(t, d, rows, format)
		// The server's own account may leave out what was counted before the query began: both are asked by the log.
		insert, external := d.name+"-insert-"+format, d.name+"-external-"+format
		query := fmt.Sprintf("INSERT INTO FUNCTION null('a UInt64, b UInt64') SELECT count(), %s FROM input('%s') FORMAT %s", hashOfRows, fileColumns, format)
		request := d.request(t, d.name, "", map[string]string{"query": query, "query_id": insert, "async_insert": "0", "wait_end_of_query": "1", "max_insert_block_size": "65536", "min_chunk_bytes_for_parallel_parsing": "1048576"})
		request.Body, request.ContentLength = pieces(file), -1
		ok(t, request)

		var form bytes.Buffer
		writer := multipart.NewWriter(&form)
		part, err := writer.CreateFormFile("file", "file")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(file); err != nil {
			t.Fatal(err)
		}
		_ = writer.Close()
		request = d.request(t, d.name, "", map[string]string{
			"query": "SELECT count(), " + hashOfRows + " FROM file", "query_id": external, "file_format": format, "file_structure": fileColumns,
		})
		request.Body, request.ContentLength = io.NopCloser(&form), int64(form.Len())
		request.Header.Set("Content-Type", writer.FormDataContentType())
		ok(t, request)

		streamed, kept := memoryOf(t, d, insert), memoryOf(t, d, external)
		t.Logf("%s, a file of %d MB: %d MB by input(), %d MB as external data", format, len(file)>>20, streamed>>20, kept>>20)
		if text := format == "JSONEachRow" || format == "CSVWithNames"; text && (streamed > uint64(len(file)/2) || kept < uint64(len(file))) {
			t.Errorf("%s of %d bytes takes %d by input(), and %d as external data", format, len(file), streamed, kept)
		}
	}
}

func ok(t *testing.T, request *http.Request) {
	t.Helper()
	response, err := plainClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v: %s", response.Status, err, text)
	}
}

// logged asks the log of queries for one value of a query that has ended.
func logged[T any](t *testing.T, d clickhouseDatabase, value, id string) T {
	t.Helper()
	var found T
	testworld.Eventually(t, 30*time.Second, func() error {
		d.post(t, d.name, "SYSTEM FLUSH LOGS", nil)
		return d.QueryRow(t.Context(), "SELECT "+value+" FROM system.query_log WHERE query_id = ? AND type != 'QueryStart'", id).Scan(&found)
	})
	return found
}

func memoryOf(t *testing.T, d clickhouseDatabase, id string) uint64 {
	t.Helper()
	return logged[uint64](t, d, "memory_usage", id)
}

// ClickHouse hides the secret of s3() in its log, and neither the access key's id nor anything of a URL that was signed.
func TestTheLogOfQueriesHidesTheSecretAlone(t *testing.T) {
	d := newDatabase(t)
	for name, test := range map[string]struct {
		call  string
		shows map[string]bool
	}{
		"keys":         {"s3('http://127.0.0.1:1/bucket/key', 'CANARYID', 'CANARYSECRET', 'RawBLOB')", map[string]bool{"CANARYID": true, "CANARYSECRET": false}},
		"a signed URL": {"url('http://127.0.0.1:1/bucket/key?X-Amz-Credential=CANARYID&X-Amz-Signature=CANARYSIGNATURE', 'RawBLOB', 'b String')", map[string]bool{"CANARYID": true, "CANARYSIGNATURE": true}},
	} {
		id := fmt.Sprintf("%s-%d", d.name, len(test.call))
		request := d.request(t, d.name, "SELECT count() FROM "+test.call, map[string]string{
			"query_id": id, "s3_max_single_read_retries": "1", "s3_retry_attempts": "0", "http_max_tries": "1",
		})
		response, err := plainClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		text := logged[string](t, d, "concat(query, exception)", id)
		for canary, shows := range test.shows {
			if strings.Contains(text, canary) != shows {
				t.Errorf("%s: %s shows in the log: %t; if that has changed, 0012 may be thought over: %s", name, canary, !shows, text)
			}
		}
	}
}
