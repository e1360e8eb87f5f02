//go:build world

package promises

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/internal/testworld/testcut"
)

// broken is the way of a chunk of events from ClickHouse into a bucket, every part of it under a test's hand.
type broken struct {
	*testing.T
	events *eventstore.Store
	cutter *testcut.Cutter
	s3     *s3.Client
	bucket string
	// clickHouse is a way past the cutter.
	clickHouse driver.Conn
	rows       uint64
	last       uint64 // the greatest source offset
}

// newBroken loads rows of which a file has more than one part in every encoding.
func newBroken(t *testing.T) broken {
	t.Helper()
	config := eventstoretest.Config(t)
	b := broken{T: t, cutter: testcut.New(t, config.HTTPURL), bucket: testworld.Name(t)}
	config.HTTPURL = b.cutter.URL
	var err error
	if b.events, err = eventstore.Open(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.events.Close() })
	if _, err := b.events.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Texts that hardly get smaller: what the server, the kernel and the worker hold at a time is much less than a file.
	table := "`" + b.events.Database() + "`.events"
	eventstoretest.Exec(t, "ALTER TABLE "+table+" DROP CONSTRAINT arrival")
	eventstoretest.Exec(t, fmt.Sprintf(`INSERT INTO %s (team_id, uuid, event, distinct_id, timestamp, properties, received_at, inserted_at, source, source_offset)
SELECT 1, generateUUIDv4(), 'flight', toString(number), arrival, randomPrintableASCII(200), arrival, arrival, 'kafka/topic/0', number
FROM (SELECT number, fromUnixTimestamp64Micro(%d, 'UTC') AS arrival FROM numbers(100000))`, table, hour(0).Start.UnixMicro()))
	content, err := b.events.ChunkContent(t.Context(), b.query("", export.Encoding{}))
	if err != nil {
		t.Fatal(err)
	}
	b.rows, b.last = content.Rows, content.Rows-1
	options, err := clickhouse.ParseDSN(testworld.Env(t, "MILLRACE_CLICKHOUSE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	options.Auth.Database = b.events.Database()
	if b.clickHouse, err = clickhouse.Open(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.clickHouse.Close() })
	endpoint := testworld.Env(t, "MILLRACE_S3_ENDPOINT")
	b.s3 = s3.New(s3.Options{
		BaseEndpoint: &endpoint, Region: testworld.Env(t, "AWS_REGION"), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(testworld.Env(t, "AWS_ACCESS_KEY_ID"), testworld.Env(t, "AWS_SECRET_ACCESS_KEY"), ""),
	})
	if _, err := b.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &b.bucket}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b broken) query(id string, encoding export.Encoding) eventstore.ChunkQuery {
	// One thread, so that what comes later in the order of rows comes later in time.
	return eventstore.ChunkQuery{Interval: hour(0), Team: export.Team{All: true}, Encoding: encoding, QueryID: id, Settings: map[string]string{"max_threads": "1"}}
}

// throwAt has ClickHouse throw when it comes to send a row, by a view in the table's place: what is not sorted by is computed
// behind the sort. A row that is not there throws nothing.
func (b broken) throwAt(offset uint64) {
	b.Helper()
	database := "`" + b.events.Database() + "`"
	eventstoretest.Exec(b.T, "CREATE OR REPLACE VIEW "+database+".events AS SELECT * REPLACE (if(throwIf(source_offset = "+fmt.Sprint(offset)+") = 0, properties, '') AS properties) FROM "+database+".stored")
}

// hand is a source that lets a test put its hand in after so many bytes.
type hand struct {
	broken
	id    string
	after int64
	do    func() // once; a panic goes through
	read  *int64
}

func (h hand) Open(ctx context.Context, encoding export.Encoding) (io.ReadCloser, error) {
	stream, err := h.events.OpenChunk(ctx, h.query(h.id, encoding))
	if err != nil {
		return nil, err
	}
	return &handled{stream, h}, nil
}

type handled struct {
	io.ReadCloser
	hand
}

func (h *handled) Read(p []byte) (int, error) {
	if h.do != nil && *h.read >= h.after {
		do := h.do
		h.do = nil
		do()
	}
	n, err := h.ReadCloser.Read(p)
	*h.read += int64(n)
	return n, err
}

// write writes the chunk, with a hand in it.
func (b broken) write(ctx context.Context, bucket string, encoding export.Encoding, with hand) error {
	b.Helper()
	kind, err := destinations.Lookup("s3")
	if err != nil {
		b.Fatal(err)
	}
	connection, _ := json.Marshal(map[string]any{
		"bucket": bucket, "endpoint": testworld.Env(b, "MILLRACE_S3_ENDPOINT"), "region": testworld.Env(b, "AWS_REGION"),
		"access_key_id": testworld.Env(b, "AWS_ACCESS_KEY_ID"), "secret_access_key": testworld.Env(b, "AWS_SECRET_ACCESS_KEY"),
	})
	settings, err := kind.Normalize(fmt.Appendf(nil, `{"prefix": "events", "format": %q, "compression": %q}`, encoding.Format, encoding.Compression))
	if err != nil {
		b.Fatal(err)
	}
	destination, err := kind.Open(ctx, connection, settings, destinations.Shape{})
	if err != nil {
		b.Fatal(err)
	}
	run := export.Run{Export: "broken", Interval: hour(0), Revision: export.FirstRevision}
	_, err = destination.WriteChunk(ctx, destinations.ChunkTask{
		Run: run, Chunk: export.Chunk{Rows: b.rows}, PlanHash: "plan", Execution: "x", Source: with,
	})
	return err
}

// nothingIsLeft looks for objects, open uploads and the query.
func (b broken) nothingIsLeft(stage, id string) {
	b.Helper()
	objects, err := b.s3.ListObjectsV2(b.Context(), &s3.ListObjectsV2Input{Bucket: &b.bucket})
	if err != nil {
		b.Fatal(err)
	}
	uploads, err := b.s3.ListMultipartUploads(b.Context(), &s3.ListMultipartUploadsInput{Bucket: &b.bucket})
	if err != nil {
		b.Fatal(err)
	}
	if len(objects.Contents) > 0 || len(uploads.Uploads) > 0 {
		b.Errorf("%s: %d objects and %d open uploads are left", stage, len(objects.Contents), len(uploads.Uploads))
	}
	if n := b.runs(id); n != 0 {
		b.Errorf("%s: %d queries still run", stage, n)
	}
}

// runs is how many queries of that id ClickHouse runs.
func (b broken) runs(id string) (n uint64) {
	b.Helper()
	if err := b.clickHouse.QueryRow(b.Context(), "SELECT count() FROM system.processes WHERE query_id = ?", id).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// kill ends a query as an operator would, who does not wait for it.
func (b broken) kill(id string) {
	go func() { _ = b.clickHouse.Exec(context.Background(), "KILL QUERY WHERE query_id = '"+id+"' ASYNC") }()
}

// A stream that breaks, whenever and however it does, never becomes a chunk: WriteChunk fails, and leaves no object, no
// upload and no query.
func TestAStreamThatBreaksNeverBecomesAChunk(t *testing.T) {
	t.Parallel()
	b := newBroken(t)
	database := "`" + b.events.Database() + "`"
	eventstoretest.Exec(t, "RENAME TABLE "+database+".events TO "+database+".stored")
	const nowhere = 1 << 60
	late := 0
	for _, encoding := range export.FileEncodings() {
		b.throwAt(nowhere)
		whole := b.whole(encoding)
		t.Logf("%s %s: %d bytes", encoding.Format, encoding.Compression, whole)
		for _, stage := range []struct {
			name  string
			throw uint64 // the offset of the row
			cut   int64  // as testcut has it
			kill  int64  // after so many bytes of the file
		}{
			{"an exception with the last row", b.last, testcut.Uncut, -1},
			{"cut in the head", nowhere, 50, -1},
			{"cut amid the first part", nowhere, 1 << 20, -1},
			{"cut amid the second part", nowhere, 9 << 20, -1},
			{"cut before the mark of the last chunk", nowhere, -5, -1},
			{"killed before the first byte is read", nowhere, testcut.Uncut, 0},
			{"killed amid the first part", nowhere, testcut.Uncut, 1 << 20},
		} {
			name := fmt.Sprintf("%s %s, %s", encoding.Format, encoding.Compression, stage.name)
			if stage.cut > whole && stage.cut != testcut.Uncut {
				t.Errorf("%s: the file has %d bytes, so this shows nothing", name, whole)
			}
			id, read := uuid.NewString(), int64(0)
			with := hand{broken: b, id: id, read: &read}
			if stage.kill >= 0 {
				with.after, with.do = stage.kill, func() {
					if b.runs(id) != 1 {
						t.Errorf("%s: the query runs no more, so this shows nothing", name)
					}
					b.kill(id)
				}
			}
			if stage.throw != nowhere {
				b.throwAt(stage.throw)
			}
			b.cutter.Allow(stage.cut)
			err := b.write(t.Context(), b.bucket, encoding, with)
			b.cutter.Allow(testcut.Uncut)
			if stage.kill >= 0 && err == nil && read == whole {
				// The server had encoded all of it when the kill came, and sent it: that is no break.
				late++
				b.clear()
				continue
			}
			if err == nil || export.KindOf(err) != export.KindSourceUnavailable {
				t.Errorf("%s: after %d of %d bytes: %v (%s), want an error of the source", name, read, whole, err, export.KindOf(err))
			}
			// Of Parquet nothing is sent before a row group is whole: how it breaks later is in the tests of eventstore.
			if early := stage.cut == 50 || stage.kill == 0 || stage.throw != nowhere && encoding.Format == export.FormatParquet; read == 0 && !early {
				t.Errorf("%s: nothing was read before %v", name, err)
			}
			if stage.throw != nowhere {
				b.throwAt(nowhere)
			}
			b.nothingIsLeft(name, id)
		}
	}
	if kills := 2 * len(export.FileEncodings()); late > kills/2 {
		t.Errorf("%d of %d kills came too late, so they show little", late, kills)
	}
}

// clear empties the bucket.
func (b broken) clear() {
	b.Helper()
	objects, err := b.s3.ListObjectsV2(b.Context(), &s3.ListObjectsV2Input{Bucket: &b.bucket})
	if err != nil {
		b.Fatal(err)
	}
	for _, object := range objects.Contents {
		if _, err := b.s3.DeleteObject(b.Context(), &s3.DeleteObjectInput{Bucket: &b.bucket, Key: object.Key}); err != nil {
			b.Fatal(err)
		}
	}
}

// whole reads a file to its end, and gives its size.
func (b broken) whole(encoding export.Encoding) int64 {
	b.Helper()
	stream, err := b.events.OpenChunk(b.Context(), b.query("", encoding))
	if err != nil {
		b.Fatal(err)
	}
	defer stream.Close()
	size, err := io.Copy(io.Discard, stream)
	if err != nil {
		b.Fatal(err)
	}
	return size
}

// Whoever leaves a chunk half-way leaves no query: not when he is cancelled, not when the destination refuses, not when
// something of ours fails or panics in between.
func TestNoQueryIsLeftByWhoeverLeavesAChunk(t *testing.T) {
	t.Parallel()
	b := newBroken(t)
	encoding := export.Encoding{Format: export.FormatJSONEachRow, Compression: export.CompressionNone}
	for name, leave := range map[string]struct {
		bucket string
		fail   string // a failpoint
		do     func(cancel func())
	}{
		"cancelled":                      {b.bucket, "", func(cancel func()) { cancel() }},
		"the destination refuses":        {b.bucket + "-missing", "", nil},
		"it fails before the first part": {b.bucket, "s3.chunk.begun=error@1", nil},
		"it fails after a part":          {b.bucket, "s3.part.sent=error@1", nil},
		"it panics":                      {b.bucket, "", func(func()) { panic("on purpose") }},
	} {
		id, read, ran := uuid.NewString(), int64(0), false
		ctx, cancel := context.WithCancel(t.Context())
		with := hand{broken: b, id: id, read: &read, after: 1 << 20, do: func() {
			ran = b.runs(id) == 1
			if leave.do != nil {
				leave.do(cancel)
			}
		}}
		var err error
		func() {
			defer func() {
				if broken := recover(); broken != nil {
					err = fmt.Errorf("panic: %v", broken)
				}
			}()
			if leave.fail != "" {
				disarm, wrong := failpoint.Arm(leave.fail)
				if wrong != nil {
					t.Fatal(wrong)
				}
				defer disarm()
			}
			err = b.write(ctx, leave.bucket, encoding, with)
		}()
		cancel()
		if err == nil || !ran {
			t.Errorf("%s: it ended with %v, and the query ran: %t", name, err, ran)
		}
		t.Logf("%s: %v", name, err)
		if n := b.runs(id); n != 0 {
			t.Errorf("%s: %d queries still run", name, n)
		}
	}
}
