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
)

// encodings are all that there are for files.
var encodings = export.FileEncodings()

func forEachEncoding(t *testing.T, test func(t *testing.T, encoding export.Encoding)) {
	for _, encoding := range encodings {
		t.Run(string(encoding.Format)+" "+string(encoding.Compression), func(t *testing.T) { test(t, encoding) })
	}
}

// endless is a query that does not end within a test, of rows that do not compress to nothing.
const endless = "SELECT number, generateUUIDv4() AS id, cityHash64(number) AS h FROM numbers(1000000000)"

func running(t *testing.T, store *eventstore.Store, id string) uint64 {
	t.Helper()
	return number(t, store, "SELECT count() FROM system.processes WHERE query_id = ?", id)
}

func TestExceptionInMidStreamIsNeverAnEnd(t *testing.T) {
	store := eventstoretest.New(t)
	forEachEncoding(t, func(t *testing.T, encoding export.Encoding) {
		// It sleeps for each block of 65,000 rows, so that the first are sent when the exception comes.
		stream, err := store.OpenQuery(t.Context(), "SELECT number, generateUUIDv4() AS id, throwIf(number = 990000, 'on purpose') AS t, sleep(0.1) FROM numbers(1000000)", encoding, "")
		if err != nil {
			t.Fatalf("open: %v: the exception must come after the first byte", err)
		}
		defer func() { _ = stream.Close() }()
		read, err := io.Copy(io.Discard, stream)
		if read == 0 {
			t.Fatalf("nothing was read before %v", err)
		}
		if err == nil || export.KindOf(err) != export.KindSourceUnavailable {
			t.Fatalf("after %d bytes: %v (%s), want an error of the source", read, err, export.KindOf(err))
		}
		var exception *eventstore.Exception
		if !encoding.Wrapped() {
			if !errors.As(err, &exception) || exception.Code != 395 || !strings.Contains(exception.Message, "on purpose") {
				t.Errorf("error %v does not hold ClickHouse's exception 395", err)
			}
		}
		if _, err := stream.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("Read after the error = %v", err)
		}
	})
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

func TestKilledQueryIsNeverAnEnd(t *testing.T) {
	store := eventstoretest.New(t)
	forEachEncoding(t, func(t *testing.T, encoding export.Encoding) {
		id := uuid.NewString()
		stream, err := store.OpenQuery(t.Context(), endless, encoding, id)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		defer func() { _ = stream.Close() }()
		if _, err := io.ReadFull(stream, make([]byte, 1<<20)); err != nil {
			t.Fatalf("read: %v", err)
		}
		if err := store.Command(t.Context(), "KILL QUERY WHERE query_id = '"+id+"' ASYNC FORMAT Null"); err != nil {
			t.Fatalf("kill: %v", err)
		}
		if _, err := io.Copy(io.Discard, stream); err == nil || export.KindOf(err) != export.KindSourceUnavailable {
			t.Errorf("end of a killed query: %v (%s)", err, export.KindOf(err))
		}
	})
}

// A connection that is cut anywhere up to the mark of the last chunk, "0 CR LF" of the final five bytes, is never an end.
func TestCutConnectionIsNeverAnEnd(t *testing.T) {
	random := testworld.Rand(t)
	config := eventstoretest.Config(t)
	cutter := newCutter(t, config.HTTPURL)
	config.HTTPURL = cutter.url
	store := open(t, config)
	if _, err := store.Setup(t.Context()); err != nil {
		t.Fatalf("Setup: %v", err)
	}
	forEachEncoding(t, func(t *testing.T, encoding export.Encoding) {
		const sql = "SELECT number, cityHash64(number) AS h FROM numbers(50000)"
		read := func(allowed int64) (int64, error) {
			cutter.allow(allowed)
			stream, err := store.OpenQuery(t.Context(), sql, encoding, "")
			if err != nil {
				return 0, err
			}
			defer func() { _ = stream.Close() }()
			return io.Copy(io.Discard, stream)
		}
		_, err := read(uncut)
		if err != nil {
			t.Fatalf("uncut: %v", err)
		}
		whole := cutter.passed()
		cuts := []int64{1, -3, -4, -5, -6, -7} // the negative ones count from the end
		for range 10 {
			cuts = append(cuts, 1+random.Int64N(whole-200)) // the head's length varies a little
		}
		for _, cut := range cuts {
			read, err := read(cut)
			if err == nil || export.KindOf(err) != export.KindSourceUnavailable {
				t.Errorf("cut at %d of %d bytes of the answer: read %d bytes and then %v (%s)", cut, whole, read, err, export.KindOf(err))
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
