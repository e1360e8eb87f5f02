//go:build world

package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/internal/testworld"
)

const partsOfEvents = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active"

func TestOneBlockIsOnePart(t *testing.T) {
	store := eventstoretest.New(t)
	eventstoretest.Exec(t, "SYSTEM STOP MERGES `"+store.Database()+"`.events")
	random := testworld.Rand(t)

	block := blockOf(random, "c/t/0", 0, now(t, store), 101, 1, 2, 3)
	for i := range block.Rows { // 101 months of event time
		block.Rows[i].Timestamp = time.Date(2018, time.Month(1+i), 3, 0, 0, 0, 0, time.UTC)
	}
	insert(t, store, block)
	if parts := number(t, store, partsOfEvents); parts != 1 {
		t.Errorf("101 months of event time became %d parts, want 1", parts)
	}
	insert(t, store, blockOf(random, "c/t/0", 101, now(t, store), 30_000, 1, 2, 3))
	if parts := number(t, store, partsOfEvents); parts != 2 {
		t.Errorf("two blocks became %d parts, want 2", parts)
	}
}

func TestRowsComeBackAsTheyWent(t *testing.T) {
	store := eventstoretest.New(t)
	block := blockOf(testworld.Rand(t), "c/t/3", 7, now(t, store), 200, 1, 9)
	insert(t, store, block)
	rows, err := store.Conn().Query(t.Context(), "SELECT team_id, uuid, event, distinct_id, timestamp, properties, received_at, inserted_at, source, source_offset FROM events ORDER BY source_offset")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var got eventstore.Block
	for rows.Next() {
		var row event.Row
		var id uuid.UUID
		var offset uint64
		if err := rows.Scan(&row.TeamID, &id, &row.Event, &row.DistinctID, &row.Timestamp, &row.Properties, &row.ReceivedAt, &got.Arrival, &got.Source, &offset); err != nil {
			t.Fatal(err)
		}
		row.UUID = id
		got.Rows, got.Offsets = append(got.Rows, row), append(got.Offsets, offset)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	got.Token = block.Token
	if diff := cmp.Diff(block, got); diff != "" {
		t.Errorf("rows differ (-sent +read):\n%s", diff)
	}
}

func TestTokenKeepsTheSecondCopyOut(t *testing.T) {
	store := eventstoretest.New(t)
	block := blockOf(testworld.Rand(t), "c/t/0", 0, now(t, store), 500, 1)
	for range 3 {
		// The server may have the copy before still on its list of queries, a moment after it answered.
		testworld.Eventually(t, 30*time.Second, func() error {
			err := store.InsertBlock(t.Context(), block)
			if err != nil && !eventstore.IsStillRunning(err) {
				t.Fatalf("InsertBlock: %v", err)
			}
			return err
		})
	}
	if rows := number(t, store, "SELECT count() FROM events"); rows != 500 {
		t.Errorf("a block sent three times left %d rows, want 500", rows)
	}
	again := block
	again.Token += "/another"
	insert(t, store, again)
	if rows := number(t, store, "SELECT count() FROM events"); rows != 1000 {
		t.Errorf("the same rows under another token left %d rows, want 1000: it must be the token that decides", rows)
	}
}

func TestConstraintRefusesTimesThatAreNotNow(t *testing.T) {
	store := eventstoretest.New(t)
	random := testworld.Rand(t)
	clock := now(t, store)
	for _, refused := range []time.Time{clock.Add(-11 * time.Minute), clock.Add(-24 * time.Hour), clock.Add(2 * time.Minute)} {
		err := store.InsertBlock(t.Context(), blockOf(random, "c/t/0", 0, refused, 10, 1))
		if !eventstore.IsArrivalRefused(err) {
			t.Errorf("InsertBlock at %s from now = %v, want a refusal", refused.Sub(clock), err)
		}
	}
	if rows := number(t, store, "SELECT count() FROM events"); rows != 0 {
		t.Errorf("%d refused rows are in the table", rows)
	}
	for i, taken := range []time.Time{clock.Add(-9 * time.Minute), clock.Add(30 * time.Second)} {
		if err := store.InsertBlock(t.Context(), blockOf(random, "c/t/0", uint64(100*i), taken, 10, 1)); err != nil {
			t.Errorf("InsertBlock at %s from now = %v, want it taken", taken.Sub(clock), err)
		}
	}
}

func TestInsertBlockRefusesMistakes(t *testing.T) {
	store := eventstoretest.New(t)
	random := testworld.Rand(t)
	good := blockOf(random, "c/t/0", 0, now(t, store), 3, 1)
	for name, spoil := range map[string]func(*eventstore.Block){
		"offsets out of order": func(b *eventstore.Block) { b.Offsets = []uint64{0, 2, 1} },
		"offset missing":       func(b *eventstore.Block) { b.Offsets = b.Offsets[:2] },
		"no token":             func(b *eventstore.Block) { b.Token = "" },
		"half a microsecond":   func(b *eventstore.Block) { b.Arrival = b.Arrival.Add(500) },
	} {
		block := good
		spoil(&block)
		if err := store.InsertBlock(t.Context(), block); err == nil {
			t.Errorf("%s: InsertBlock = nil", name)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.InsertBlock(ended, good); !errors.Is(err, context.Canceled) {
		t.Errorf("InsertBlock with a context that had ended = %v", err)
	}
	if rows := number(t, store, "SELECT count() FROM events"); rows != 0 {
		t.Errorf("%d rows are in the table", rows)
	}
}

func TestLastLoaded(t *testing.T) {
	store := eventstoretest.New(t)
	random := testworld.Rand(t)
	lastOf := func(source string) eventstore.LastLoaded {
		last, err := store.LastLoaded(t.Context(), source)
		if err != nil {
			t.Fatalf("LastLoaded: %v", err)
		}
		return last
	}
	if last := lastOf("c/t/0"); last.Found {
		t.Errorf("LastLoaded of an empty table = %+v", last)
	}
	clock := now(t, store)
	week, day := clock.Add(-7*24*time.Hour), clock.Add(-20*time.Hour)
	eventstoretest.LoadPast(t, store,
		blockOf(random, "c/t/0", 0, week, 10, 1),
		blockOf(random, "c/t/1", 0, week, 20, 1),
		blockOf(random, "c/t/0", 10, day, 5, 1),
	)
	insert(t, store, blockOf(random, "c/t/2", 1000, clock, 50, 1, 2))
	for source, want := range map[string]eventstore.LastLoaded{
		"c/t/0": {Found: true, Offset: 14, Arrival: day},
		"c/t/1": {Found: true, Offset: 19, Arrival: week},
		"c/t/2": {Found: true, Offset: 1049, Arrival: clock},
		"c/t/9": {},
	} {
		if diff := cmp.Diff(want, lastOf(source)); diff != "" {
			t.Errorf("LastLoaded(%q) (-want +got):\n%s", source, diff)
		}
	}
	// The fixture put the constraint back.
	if err := store.CheckServer(t.Context()); err != nil {
		t.Errorf("CheckServer after LoadPast: %v", err)
	}
}

// What a repair leans on: an insert that the server still works at is seen by its token, and then its rows are counted.
func TestARunningInsertIsSeen(t *testing.T) {
	store := eventstoretest.New(t)
	at := now(t, store)
	token := store.Database() + "/0-1/0/1"
	standing := func() eventstore.Standing {
		t.Helper()
		standing, err := store.StandingOf(t.Context(), "c/t/0", at, token)
		if err != nil {
			t.Fatal(err)
		}
		return standing
	}
	if s := standing(); s.Running || s.Rows != 0 || s.Age < 0 || s.Age > time.Minute {
		t.Errorf("before: %+v", s)
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithQueryID(token), clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
	batch, err := store.Conn().PrepareBatch(ctx, "INSERT INTO events (source, source_offset, inserted_at)")
	if err != nil {
		t.Fatal(err)
	}
	if s := standing(); !s.Running || s.Rows != 0 {
		t.Errorf("while it runs: %+v", s)
	}
	if err := batch.Append("c/t/0", uint64(0), at); err != nil {
		t.Fatal(err)
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(t, 30*time.Second, func() error { // the server strikes it off its list a moment after it answered
		if s := standing(); s.Running || s.Rows != 1 {
			return fmt.Errorf("after it: %+v", s)
		}
		return nil
	})
}

func TestMessagesInQuarantineAreCountedOnce(t *testing.T) {
	store := eventstoretest.New(t)
	messages := []eventstore.Unreadable{{Offset: 3, Reason: "no", Raw: []byte{0, 255}}, {Offset: 5, Reason: "no", Raw: nil}}
	for range 2 {
		if err := store.Quarantine(t.Context(), "c/t/0", messages); err != nil {
			t.Fatal(err)
		}
	}
	for _, span := range []struct{ first, end, want uint64 }{{0, 10, 2}, {3, 5, 1}, {4, 5, 0}} {
		if count, err := store.CountQuarantined(t.Context(), "c/t/0", span.first, span.end); err != nil || count != span.want {
			t.Errorf("offsets %d to %d: %d, error %v, want %d", span.first, span.end, count, err, span.want)
		}
	}
	if raw := number(t, store, "SELECT count() FROM quarantine FINAL WHERE hex(raw) = '00FF'"); raw != 1 {
		t.Error("the bytes are not kept")
	}
}
