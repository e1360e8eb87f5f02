//go:build world

package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/internal/testworld/testcut"
)

// encodings are all that there are for files.
var encodings = export.FileEncodings()

// streams are the encodings of files and the one of databases.
var streams = append(export.FileEncodings(), export.Encoding{Format: export.FormatTabSeparated, Compression: export.CompressionNone})

func forEachStream(t *testing.T, test func(t *testing.T, encoding export.Encoding)) {
	forEach(t, streams, test)
}

func forEachEncoding(t *testing.T, test func(t *testing.T, encoding export.Encoding)) {
	forEach(t, encodings, test)
}

func forEach(t *testing.T, all []export.Encoding, test func(t *testing.T, encoding export.Encoding)) {
	for _, encoding := range all {
		t.Run(string(encoding.Format)+" "+string(encoding.Compression), func(t *testing.T) { test(t, encoding) })
	}
}

// endless is a query that does not end within a test, of rows that do not compress to nothing.
const endless = "SELECT number, generateUUIDv4() AS id, cityHash64(number) AS h FROM numbers(1000000000)"

func running(t *testing.T, store *eventstore.Store, id string) uint64 {
	t.Helper()
	return number(t, store, "SELECT count() FROM system.processes WHERE query_id = ?", id)
}

// An exception may come early in the stream, in its middle, or with the last row. Parquet has sent nothing before its first
// 250,000 rows.
func TestExceptionInMidStreamIsNeverAnEnd(t *testing.T) {
	store := eventstoretest.New(t)
	forEachStream(t, func(t *testing.T, encoding export.Encoding) {
		for _, row := range []int{300_000, 700_000, 999_999} {
			stream := begun(t, store, encoding, row)
			read, err := io.Copy(io.Discard, stream)
			if read == 0 {
				t.Fatalf("row %d: nothing was read before %v", row, err)
			}
			if err == nil || export.KindOf(err) != export.KindSourceUnavailable {
				t.Fatalf("row %d: after %d bytes: %v (%s), want an error of the source", row, read, err, export.KindOf(err))
			}
			var exception *eventstore.Exception
			if !encoding.Wrapped() {
				if !errors.As(err, &exception) || exception.Code != 395 || !strings.Contains(exception.Message, "on purpose") {
					t.Errorf("row %d: error %v does not hold ClickHouse's exception 395", row, err)
				}
			}
			if _, err := stream.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("row %d: Read after the error = %v", row, err)
			}
			if err := stream.Close(); err != nil {
				t.Errorf("row %d: Close: %v", row, err)
			}
		}
	})
}

// begun opens a query of a million rows that throws at one of them, and whose answer began before that. On a busy machine
// the server has to sleep for each block.
func begun(t *testing.T, store *eventstore.Store, encoding export.Encoding, row int) io.ReadCloser {
	t.Helper()
	var err error
	for _, pause := range []string{"0", "0.1", "0.5"} {
		var stream io.ReadCloser
		stream, err = store.OpenQuery(t.Context(), fmt.Sprintf(
			"SELECT number, generateUUIDv4() AS id, throwIf(number = %d, 'on purpose') AS t, sleep(%s) FROM numbers(1000000) SETTINGS max_threads = 1", row, pause), encoding, "")
		if err == nil {
			return stream
		}
	}
	t.Fatalf("open: %v: the exception must come after the first byte", err)
	return nil
}

func TestExceptionBeforeTheFirstByteHasItsKind(t *testing.T) {
	store := eventstoretest.New(t)
	for sql, want := range map[string]struct {
		code int32
		kind export.Kind
	}{
		"SELECT * FROM nowhere": {60, export.KindSourceUnavailable},
		"SELECT throwIf(1)":     {395, export.KindSourceUnavailable},
		"SELEKT 1":              {62, export.KindInternal},
		"SELECT * FROM numbers(10) SETTINGS nonsuch = 1": {115, export.KindInternal},
	} {
		_, err := store.OpenQuery(t.Context(), sql, plainJSON, "")
		var exception *eventstore.Exception
		if !errors.As(err, &exception) || exception.Code != want.code || export.KindOf(err) != want.kind {
			t.Errorf("%s: %v (%s), want exception %d (%s)", sql, err, export.KindOf(err), want.code, want.kind)
		}
	}
}

// Also when nobody has read a byte, and when the reader waits for the next.
func TestKilledQueryIsNeverAnEnd(t *testing.T) {
	store := eventstoretest.New(t)
	forEachStream(t, func(t *testing.T, encoding export.Encoding) {
		for _, read := range []int{0, 1, 1 << 20} {
			id := uuid.NewString()
			stream, err := store.OpenQuery(t.Context(), endless, encoding, id)
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			if _, err := io.ReadFull(stream, make([]byte, read)); err != nil {
				t.Fatalf("read: %v", err)
			}
			killed := make(chan error, 1)
			// The server answers a kill half a minute later when the query waits for a reader that does not read.
			go func() { killed <- store.Command(t.Context(), "KILL QUERY WHERE query_id = '"+id+"' ASYNC FORMAT Null") }()
			if _, err := io.Copy(io.Discard, stream); err == nil || export.KindOf(err) != export.KindSourceUnavailable {
				t.Errorf("end of a query that was killed after %d bytes: %v (%s)", read, err, export.KindOf(err))
			}
			if err := <-killed; err != nil {
				t.Errorf("kill: %v", err)
			}
			if err := stream.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
}

// A connection that is cut anywhere up to the mark of the last chunk, "0 CR LF" of the final five bytes, is never an end.
func TestCutConnectionIsNeverAnEnd(t *testing.T) {
	random := testworld.Rand(t)
	config := eventstoretest.Config(t)
	cutter := testcut.New(t, config.HTTPURL)
	config.HTTPURL = cutter.URL
	store := open(t, config)
	if _, err := store.Setup(t.Context()); err != nil {
		t.Fatalf("Setup: %v", err)
	}
	forEachStream(t, func(t *testing.T, encoding export.Encoding) {
		const sql = "SELECT number, cityHash64(number) AS h FROM numbers(50000)"
		read := func(allowed int64) (int64, error) {
			cutter.Allow(allowed)
			stream, err := store.OpenQuery(t.Context(), sql, encoding, "")
			if err != nil {
				return 0, err
			}
			defer func() { _ = stream.Close() }()
			return io.Copy(io.Discard, stream)
		}
		bytes, err := read(testcut.Uncut)
		if err != nil {
			t.Fatalf("uncut: %v", err)
		}
		whole := cutter.Passed()
		type cut struct {
			stage string
			at    int64
		}
		cuts := []cut{
			{"the first byte of the head", 1}, {"the middle of the head", (whole - bytes) / 2},
			// The head's length varies a little, and there is a chunk's length here and there.
			{"the first bytes of the file", whole - bytes + 100}, {"the middle of the file", whole / 2},
			// The negative ones count from the end.
			{"behind the last byte of the file", -7}, {"before the mark of the last chunk", -5}, {"within it", -4}, {"within its line's end", -3},
			{"amid what ends the chunk before", -6},
		}
		for range 10 {
			cuts = append(cuts, cut{"anywhere", 1 + random.Int64N(whole-200)})
		}
		for _, cut := range cuts {
			read, err := read(cut.at)
			if err == nil || export.KindOf(err) != export.KindSourceUnavailable {
				t.Errorf("%s, %d of %d bytes of the answer: read %d bytes and then %v (%s)", cut.stage, cut.at, whole, read, err, export.KindOf(err))
			}
		}
	})
}

func TestQueryIsGoneAfterClose(t *testing.T) {
	store := eventstoretest.New(t)
	read := func(t *testing.T, stream io.Reader) {
		if _, err := io.ReadFull(stream, make([]byte, 1<<20)); err != nil {
			t.Fatalf("read: %v", err)
		}
	}
	for name, leave := range map[string]func(t *testing.T, ctx context.Context, cancel func(), stream io.ReadCloser){
		"unread":      func(*testing.T, context.Context, func(), io.ReadCloser) {},
		"partly read": func(t *testing.T, _ context.Context, _ func(), stream io.ReadCloser) { read(t, stream) },
		"cancelled": func(t *testing.T, _ context.Context, cancel func(), stream io.ReadCloser) {
			read(t, stream)
			cancel()
			if _, err := io.Copy(io.Discard, stream); export.KindOf(err) != export.KindCancelled {
				t.Errorf("read after cancel: %v (%s)", err, export.KindOf(err))
			}
		},
		"closed while it is read": func(t *testing.T, _ context.Context, _ func(), stream io.ReadCloser) {
			read(t, stream)
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, stream)
				ended <- err
			}()
			if err := stream.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := <-ended; err == nil {
				t.Error("a read that Close ended looks like the end of the stream")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			id := uuid.NewString()
			stream, err := store.OpenQuery(ctx, endless, encodings[0], id)
			if err != nil {
				t.Fatal(err)
			}
			if running(t, store, id) != 1 {
				t.Fatal("the query does not run, so this test shows nothing")
			}
			leave(t, ctx, cancel, stream)
			if err := stream.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if running(t, store, id) != 0 {
				t.Error("the query still runs after Close")
			}
			if err := stream.Close(); err != nil {
				t.Errorf("Close again: %v", err)
			}
		})
	}
}

func TestOpenThatIsCancelledLeavesNoQuery(t *testing.T) {
	store := eventstoretest.New(t)
	id := uuid.NewString()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	// Nothing comes before the sum is there.
	if _, err := store.OpenQuery(ctx, "SELECT sum(cityHash64(number)) FROM numbers(100000000000)", plainJSON, id); err == nil {
		t.Fatal("open = nil")
	}
	if running(t, store, id) != 0 {
		t.Error("the query still runs")
	}
}

// What a file holds is what the table holds, read back with the declared structure: values compared by ClickHouse's own
// hash of each row.
func TestFilesReadBackEqualTheTable(t *testing.T) {
	store := eventstoretest.New(t)
	interval, byTeam := loadRandomPast(t, store, testworld.Rand(t))
	if len(byTeam) == 0 {
		t.Fatal("nothing was loaded")
	}
	hash := "sum(cityHash64(tuple(" + eventstore.SelectEvents() + ")))"
	all := export.Team{All: true}
	want := number(t, store, "SELECT "+hash+" FROM events WHERE "+eventstore.RangeOfChunk(interval, all, export.Chunk{}))
	forEachEncoding(t, func(t *testing.T, encoding export.Encoding) {
		content := readChunk(t, store, eventstore.ChunkQuery{Interval: interval, Team: all, Encoding: encoding})
		again := readChunk(t, store, eventstore.ChunkQuery{Interval: interval, Team: all, Encoding: encoding})
		if !bytes.Equal(content, again) {
			t.Error("the same chunk read twice gives other bytes")
		}
		address := serveFile(t, "chunk."+encoding.Extension(), content)
		got := number(t, store, fmt.Sprintf("SELECT %s FROM url('%s', '%s', $$%s$$)", hash, address, eventstore.FormatName(encoding), eventstore.EventsStructure()))
		if got != want {
			t.Errorf("hash of the file is %d, of the table %d", got, want)
		}
		if dir := os.Getenv("MILLRACE_KEEP_FILES"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, string(encoding.Format)+"-"+string(encoding.Compression)+"."+encoding.Extension()), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
}
