//go:build world

package assumptions

import (
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/millrace/millrace/internal/testworld"
)

const activeParts = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 't' AND active"

// A constraint with nowInBlock64 is evaluated when rows arrive, not when the table is made, refuses a whole block for one
// row of it, with code 469, and is neither asked by merges nor by mutations.
func TestConstraintOnNowRefusesOldRows(t *testing.T) {
	d := newDatabase(t)
	d.do(t, `CREATE TABLE t (at DateTime64(6, 'UTC'), n UInt8 DEFAULT 0,
		CONSTRAINT arrival CHECK at > nowInBlock64(6) - INTERVAL 5 SECOND AND at < nowInBlock64(6) + INTERVAL 1 MINUTE) ENGINE = MergeTree ORDER BY at`)
	insert := func(times ...time.Time) error { return d.insertColumn(with(t, nil), "t (at)", times) }
	at := time.Now().UTC()
	if err := insert(at, at.Add(-time.Minute)); exceptionCode(err) != 469 {
		t.Errorf("a block with one old row: %v, want code 469", err)
	}
	if err := insert(at.Add(2 * time.Minute)); exceptionCode(err) != 469 {
		t.Errorf("a row of the future: %v, want code 469", err)
	}
	taken := time.Now().UTC()
	if err := insert(taken); err != nil {
		t.Fatalf("a row of now: %v", err)
	}
	// The very same row becomes too old.
	testworld.Eventually(t, 30*time.Second, func() error {
		if err := insert(taken); exceptionCode(err) != 469 {
			return fmt.Errorf("a row of %s ago: %w", time.Since(taken), err)
		}
		return nil
	})
	before := d.count(t, "SELECT count() FROM t")
	d.do(t, "ALTER TABLE t UPDATE n = n + 1 WHERE 1 SETTINGS mutations_sync = 1")
	d.do(t, "OPTIMIZE TABLE t FINAL")
	if after := d.count(t, "SELECT count() FROM t"); after != before || before == 0 {
		t.Errorf("%d rows before a merge, %d after", before, after)
	}
}

// nowInBlock64 is read anew for each block; now64 once for a query.
func TestNowInBlockIsReadForEachBlock(t *testing.T) {
	d := newDatabase(t)
	const each = "SELECT uniqExact(b), uniqExact(q) FROM (SELECT nowInBlock64(6) AS b, now64(6) AS q, sleepEachRow(0.01) FROM numbers(5)) SETTINGS max_block_size = 1"
	var blocks, query uint64
	if err := d.QueryRow(t.Context(), each).Scan(&blocks, &query); err != nil {
		t.Fatalf("%s: %v", each, err)
	}
	if blocks != 5 || query != 1 {
		t.Errorf("in five blocks nowInBlock64 has %d values and now64 %d, want 5 and 1", blocks, query)
	}
}

// One native block of one partition is one part, however many rows it has, unless strict limits are asked for.
func TestOneNativeBlockIsOnePart(t *testing.T) {
	d := newDatabase(t)
	d.do(t, "CREATE TABLE t (n UInt32) ENGINE = MergeTree ORDER BY n PARTITION BY tuple()")
	d.do(t, "SYSTEM STOP MERGES t")
	column := make([]uint32, 1_200_000) // more than max_insert_block_size, 1,048,449
	if err := d.insertColumn(with(t, clickhouse.Settings{"use_strict_insert_block_limits": 0}), "t", column); err != nil {
		t.Fatal(err)
	}
	if parts := d.count(t, activeParts); parts != 1 {
		t.Errorf("%d parts, want 1", parts)
	}
	d.do(t, "TRUNCATE TABLE t")
	if err := d.insertColumn(with(t, clickhouse.Settings{"use_strict_insert_block_limits": 1}), "t", column); err != nil {
		t.Fatal(err)
	}
	if parts := d.count(t, activeParts); parts < 2 {
		t.Errorf("%d parts with strict limits, want several: else the setting means something else", parts)
	}
}

// A block is dropped by its token, not by its rows, as long as the token is in the window, which counts blocks.
func TestTokenWindowCountsBlocks(t *testing.T) {
	d := newDatabase(t)
	d.do(t, "CREATE TABLE t (n UInt32) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 2")
	insert := func(token string) {
		t.Helper()
		settings := clickhouse.Settings{"deduplicate_insert": "enable", "insert_deduplication_token": token}
		if err := d.insertColumn(with(t, settings), "t", []uint32{1}); err != nil {
			t.Fatalf("insert %s: %v", token, err)
		}
	}
	for _, step := range []struct {
		token string
		rows  uint64
	}{
		{"a", 1}, {"a", 1}, {"b", 2}, {"a", 2}, {"b", 2},
		{"c", 3}, // a falls out
		{"b", 3}, {"a", 4},
	} {
		insert(step.token)
		if rows := d.count(t, "SELECT count() FROM t"); rows != step.rows {
			t.Fatalf("after token %s there are %d rows, want %d", step.token, rows, step.rows)
		}
	}
}

// A second query of the same id is refused with code 216 while the first runs, so query_id = token keeps two copies apart.
func TestQueryIDIsTakenWhileItRuns(t *testing.T) {
	d := newDatabase(t)
	d.do(t, "CREATE TABLE t (n UInt32) ENGINE = MergeTree ORDER BY n")
	ctx := clickhouse.Context(t.Context(), clickhouse.WithQueryID(d.name), clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
	first, err := d.PrepareBatch(ctx, "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Append(uint32(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.PrepareBatch(ctx, "INSERT INTO t"); exceptionCode(err) != 216 {
		t.Errorf("second insert of the same id: %v, want code 216", err)
	}
	if err := first.Send(); err != nil {
		t.Fatal(err)
	}
}

// The settings of an insert are told back by the server as they were sent, by these names.
func TestInsertSettingsAreReadBack(t *testing.T) {
	d := newDatabase(t)
	sent := clickhouse.Settings{
		"async_insert": 0, "deduplicate_insert": "enable", "use_strict_insert_block_limits": 0, "receive_timeout": 5, "max_execution_time": 0,
	}
	for name, value := range sent {
		var got string
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(sent))
		if err := d.QueryRow(ctx, "SELECT value FROM system.settings WHERE name = ?", name).Scan(&got); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got != fmt.Sprint(value) {
			t.Errorf("%s is %q, sent was %v", name, got, value)
		}
	}
	var byDefault string
	if err := d.QueryRow(t.Context(), "SELECT default FROM system.settings WHERE name = 'async_insert'").Scan(&byDefault); err != nil || byDefault != "1" {
		t.Errorf("async_insert is %q by default (%v); if that is 0 again, sending it is only a belt", byDefault, err)
	}
}
