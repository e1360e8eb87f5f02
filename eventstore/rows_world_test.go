//go:build world

package eventstore_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/eventstore"
)

// awkward are texts that encoders get wrong.
var awkward = []string{
	"", "plain", `quote " and \ backslash`, "tab\tnewline\nreturn\r", "ünïcödé 日本語 🌊", "'; DROP TABLE events; --",
	"__exception__\r\n", "null", "0", strings.Repeat("long ", 200), "\u2028\u0000\u001f",
}

// randomRow makes a row of a team, unlike every other.
func randomRow(random *rand.Rand, team int64) event.Row {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(random.Uint32())
	}
	text := func() string { return awkward[random.IntN(len(awkward))] }
	at := time.UnixMicro(random.Int64N(4_000_000_000_000_000)).UTC() // 1970 to 2096
	return event.Row{
		TeamID: team, UUID: id, Event: text(), DistinctID: text(), Timestamp: at,
		Properties: fmt.Sprintf(`{"n":%d,"s":%q}`, random.Int64(), text()), ReceivedAt: at.Add(time.Second),
	}
}

// blockOf makes a block of as many rows, from offset first on, with the teams taken in turn.
func blockOf(random *rand.Rand, source string, first uint64, arrival time.Time, rows int, teams ...int64) eventstore.Block {
	block := eventstore.Block{
		Source: source, Arrival: arrival.UTC(),
		Token: fmt.Sprintf("%s/%d-%d/0/%d", source, first, first+uint64(rows), arrival.UnixMicro()),
	}
	for i := range rows {
		block.Offsets = append(block.Offsets, first+uint64(i))
		block.Rows = append(block.Rows, randomRow(random, teams[i%len(teams)]))
	}
	return block
}

func now(t *testing.T, store *eventstore.Store) time.Time {
	t.Helper()
	at, err := store.Now(t.Context())
	if err != nil {
		t.Fatalf("Now: %v", err)
	}
	return at
}

func insert(t *testing.T, store *eventstore.Store, block eventstore.Block) {
	t.Helper()
	if err := store.InsertBlock(t.Context(), block); err != nil {
		t.Fatalf("InsertBlock: %v", err)
	}
}

// number asks for one number.
func number(t *testing.T, store *eventstore.Store, query string, args ...any) uint64 {
	t.Helper()
	var n uint64
	if err := store.Conn().QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
