//go:build world

package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// stored is an hour of awkward rows, for files of it that are changed in all ways.
type stored struct {
	store *eventstore.Store
	chunk eventstore.ChunkQuery
	want  export.Content
}

const storedRows = 3000

func newStored(t *testing.T) stored {
	t.Helper()
	store := eventstoretest.New(t)
	start := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	eventstoretest.LoadPast(t, store, blockOf(testworld.Rand(t), "kafka/topic/0", 1, start.Add(time.Minute), storedRows, 1, 2, 3))
	s := stored{store: store, chunk: eventstore.ChunkQuery{
		Interval: export.Interval{Start: start, End: start.Add(time.Hour)}, Team: export.Team{All: true},
	}}
	var err error
	if s.want, err = store.ChunkContent(t.Context(), s.chunk); err != nil {
		t.Fatal(err)
	}
	if s.want.Rows != storedRows || s.want.Hash == 0 {
		t.Fatalf("the source has %s", s.want)
	}
	return s
}

// file is the chunk as it is exported.
func (s stored) file(t *testing.T, encoding export.Encoding) []byte {
	t.Helper()
	query := s.chunk
	query.Encoding = encoding
	return readAll(t)(s.store.OpenChunk(t.Context(), query))
}

// changed is a file of other rows: of any query over the table.
func (s stored) changed(t *testing.T, encoding export.Encoding, sql string) []byte {
	t.Helper()
	return readAll(t)(s.store.OpenQuery(t.Context(), sql, encoding, ""))
}

func readAll(t *testing.T) func(io.ReadCloser, error) []byte {
	return func(from io.ReadCloser, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		content, err := io.ReadAll(from)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
}

func (s stored) holds(t *testing.T, encoding export.Encoding, file io.Reader) error {
	t.Helper()
	return s.store.HoldsContent(t.Context(), eventstore.FileQuery{Encoding: encoding, LogComment: "test"}, file, s.want)
}

func TestAFileReadsBackToTheContentOfItsSource(t *testing.T) {
	s := newStored(t)
	forEachEncoding(t, func(t *testing.T, encoding export.Encoding) {
		file := s.file(t, encoding)
		if err := s.holds(t, encoding, bytes.NewReader(file)); err != nil {
			t.Errorf("whole: %v", err)
		}
		if err := s.holds(t, encoding, iotest.OneByteReader(bytes.NewReader(file[:0]))); err == nil {
			t.Error("a file without a byte has the content")
		}
		// The order of the rows does not matter.
		backwards := s.changed(t, encoding, "SELECT "+eventstore.SelectEvents()+" FROM events ORDER BY source_offset DESC")
		if err := s.holds(t, encoding, bytes.NewReader(backwards)); err != nil {
			t.Errorf("backwards: %v", err)
		}
	})
}

// Whatever one would do to the rows of a file shows, in every encoding.
func TestOtherRowsInAFileAreNoticed(t *testing.T) {
	s := newStored(t)
	columns := eventstore.SelectEvents()
	replace := func(column, with string) string {
		return "SELECT " + strings.Replace(columns, column, with+" AS "+column, 1) + " FROM (SELECT * FROM events)"
	}
	for what, sql := range map[string]string{
		"a row deleted":                     "SELECT " + columns + " FROM events WHERE source_offset != 77",
		"a row doubled":                     "SELECT " + columns + " FROM events UNION ALL SELECT " + columns + " FROM events WHERE source_offset = 77",
		"a row doubled, another deleted":    "SELECT " + columns + " FROM events WHERE source_offset != 78 UNION ALL SELECT " + columns + " FROM events WHERE source_offset = 77",
		"every row twice and half of them":  "SELECT " + columns + " FROM events WHERE source_offset <= 1500 UNION ALL SELECT " + columns + " FROM events WHERE source_offset <= 1500",
		"a value changed":                   replace("team_id", "if(source_offset = 77, team_id + 1, team_id)"),
		"a microsecond lost":                replace("received_at", "toDateTime64(toDateTime64(received_at, 5, 'UTC') + if(source_offset = 77, 0.00001, 0), 6, 'UTC')"),
		"two columns swapped":               "SELECT team_id, uuid, d AS event, e AS distinct_id, timestamp, properties, received_at, inserted_at FROM (SELECT team_id, uuid, event AS e, distinct_id AS d, timestamp, properties, received_at, inserted_at FROM events)",
		"times swapped":                     "SELECT team_id, uuid, event, distinct_id, i AS timestamp, properties, received_at, t AS inserted_at FROM (SELECT team_id, uuid, event, distinct_id, timestamp AS t, properties, received_at, inserted_at AS i FROM events)",
		"two rows' values swapped":          replace("uuid", "multiIf(source_offset = 77, (SELECT uuid FROM events WHERE source_offset = 78), source_offset = 78, (SELECT uuid FROM events WHERE source_offset = 77), uuid)"),
		"a column's values shifted by one":  "SELECT team_id, uuid, event, distinct_id, timestamp, lagInFrame(properties) OVER (ORDER BY source_offset) AS properties, received_at, inserted_at FROM events",
		"a column missing":                  "SELECT " + strings.Replace(columns, "distinct_id, ", "", 1) + " FROM events",
		"text where a number is":            replace("team_id", "concat('n', toString(team_id))"),
		"nulls where texts are":             replace("event", "if(source_offset = 77, NULL, event)"),
		"the rows of another team's export": "SELECT " + columns + " FROM events WHERE team_id = 1",
	} {
		t.Run(what, func(t *testing.T) {
			for _, encoding := range encodings {
				err := s.holds(t, encoding, bytes.NewReader(s.changed(t, encoding, sql)))
				if !errors.Is(err, eventstore.ErrOtherContent) && !errors.Is(err, eventstore.ErrUnreadable) {
					t.Errorf("%s %s: %v", encoding.Format, encoding.Compression, err)
				}
			}
		})
	}
}

// Who reads files by Millrace's declared columns does not care for others that a Parquet or an Arrow file has; in JSON and
// CSV they are refused.
func TestAColumnTooManyIsNotComparedInParquetAndArrow(t *testing.T) {
	s := newStored(t)
	forEachEncoding(t, func(t *testing.T, encoding export.Encoding) {
		err := s.holds(t, encoding, bytes.NewReader(s.changed(t, encoding, "SELECT "+eventstore.SelectEvents()+", 'more' AS more FROM events")))
		switch encoding.Format {
		case export.FormatParquet, export.FormatArrow:
			if err != nil {
				t.Error(err)
			}
		default:
			if !errors.Is(err, eventstore.ErrUnreadable) {
				t.Errorf("it ended with %v", err)
			}
		}
	})
}

// A damaged file never has the content, or it has it and the bytes did not matter.
func TestDamagedFilesAreNoticed(t *testing.T) {
	s := newStored(t)
	random := testworld.Rand(t)
	forEachEncoding(t, func(t *testing.T, encoding export.Encoding) {
		file := s.file(t, encoding)
		passed := 0
		for range 40 {
			damaged := slices.Clone(file)
			damaged[random.IntN(len(file))] ^= 1 << random.IntN(8)
			switch err := s.holds(t, encoding, bytes.NewReader(damaged)); {
			case err == nil:
				passed++ // a bit that says nothing of a value: the file's checksum is for these
			case !errors.Is(err, eventstore.ErrOtherContent) && !errors.Is(err, eventstore.ErrUnreadable):
				t.Errorf("a flipped bit: %v", err)
			}
			short := file[:random.IntN(len(file))]
			if err := s.holds(t, encoding, bytes.NewReader(short)); err == nil {
				t.Errorf("%d of %d bytes have the content", len(short), len(file))
			}
		}
		t.Logf("%d of 40 flipped bits said nothing of a value", passed)
	})
}

// A file whose damage makes it ask for more memory than the server has is unreadable, and not a reason to wait for memory.
func TestAFileThatAsksForAbsurdMemoryIsUnreadable(t *testing.T) {
	s := newStored(t)
	encoding := export.Encoding{Format: export.FormatArrow, Compression: export.CompressionZstd}
	file := s.file(t, encoding)
	// Before each compressed buffer Arrow has its length in eight bytes, the lowest first: 64 GiB more.
	buffer := bytes.Index(file, []byte{0x28, 0xb5, 0x2f, 0xfd})
	if buffer < 8 {
		t.Fatal("the file has no buffer compressed by zstd")
	}
	file[buffer-4] |= 0x10
	if err := s.holds(t, encoding, bytes.NewReader(file)); !errors.Is(err, eventstore.ErrUnreadable) {
		t.Errorf("it ended with %v", err)
	}
}

// A file that breaks off on its way to ClickHouse says nothing about what is stored.
func TestAFileThatBreaksOffIsNoVerdict(t *testing.T) {
	s := newStored(t)
	broken := errors.New("the store hung up")
	forEachEncoding(t, func(t *testing.T, encoding export.Encoding) {
		file := s.file(t, encoding)
		err := s.holds(t, encoding, io.MultiReader(bytes.NewReader(file[:len(file)/2]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("it ended with %v", err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	file := io.MultiReader(bytes.NewReader(s.file(t, plainJSON)), readerFunc(func([]byte) (int, error) {
		cancel()
		<-ctx.Done()
		return 0, ctx.Err()
	}))
	id := "cancelled-" + s.store.Database()
	err := s.store.HoldsContent(ctx, eventstore.FileQuery{Encoding: plainJSON, QueryID: id}, file, s.want)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled it ended with %v", err)
	}
	// The server may come to the request only after the kill; then it finds that nobody sends the rest.
	testworld.Eventually(t, 30*time.Second, func() error {
		if n := running(t, s.store, id); n != 0 {
			return fmt.Errorf("%d queries still run", n)
		}
		return nil
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Chunks add up to their interval, and readers can compute the same by themselves.
func TestContentsOfChunksAddUp(t *testing.T) {
	s := newStored(t)
	chunks, err := s.store.PlanChunks(t.Context(), eventstore.PlanQuery{Interval: s.chunk.Interval, Team: s.chunk.Team, TargetRows: 100})
	if err != nil || len(chunks) < 10 {
		t.Fatalf("%d chunks, %v", len(chunks), err)
	}
	var sum export.Content
	for _, chunk := range chunks {
		query := s.chunk
		query.Chunk = chunk
		content, err := s.store.ChunkContent(t.Context(), query)
		if err != nil || content.Rows != chunk.Rows {
			t.Fatalf("chunk %d has %s, %v", chunk.Index, content, err)
		}
		sum = sum.Plus(content)
	}
	if sum != s.want {
		t.Errorf("the chunks have %s together, the interval has %s", sum, s.want)
	}
	if got := number(t, s.store, "SELECT sum("+eventstore.EventsHash()+") FROM events"); got != s.want.Hash {
		t.Errorf("by hand it is %016x", got)
	}
	if got := fmt.Sprint(s.want); !strings.Contains(got, s.want.HashText()) {
		t.Error(got)
	}
}
