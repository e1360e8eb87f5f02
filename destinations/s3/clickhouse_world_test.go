//go:build world

package s3

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/destinationtest"
	"github.com/millrace/millrace/export"
)

// smallBlocks lets bytes flow long before the last row.
const smallBlocks = " SETTINGS max_block_size=10000, max_threads=1, output_format_parquet_row_group_size=20000"

const (
	columns   = "n UInt64, text String, at DateTime64(6, ''UTC''), maybe Nullable(UInt64)" // inside a string
	selection = `SELECT number AS n, concat('zeile\n', hex(sipHash128(number))) AS text, toDateTime64('2026-11-23 10:00:00', 6, 'UTC') + number AS at, if(modulo(number, 3) = 0, NULL, number) AS maybe FROM numbers(%d)`
	summary   = "SELECT toString(count()), toString(sum(cityHash64(tuple(n, text, at, maybe)))) FROM "
)

// Bytes that ClickHouse encodes pass through the worker into the store, are counted on the way, and ClickHouse reads the
// same rows out of the store.
func TestEveryEncodingOfClickHouseArrivesWhole(t *testing.T) {
	server := worldClickHouse(t)
	for _, rows := range []int{1, 300_000} {
		for _, form := range export.FileEncodings() {
			t.Run(fmt.Sprintf("%d rows %s %s", rows, form.Format, form.Compression), func(t *testing.T) {
				b := newBucket(t)
				destination, plan := b.open(t, settingsFor(form)), planOf(t, rows)
				query := fmt.Sprintf(selection, rows)
				receipt, err := destination.WriteChunk(t.Context(), destinations.ChunkTask{
					Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "x", Source: server.Rows(query + smallBlocks),
				})
				if err != nil {
					t.Fatal(err)
				}
				if receipt.Rows != uint64(rows) {
					t.Errorf("the receipt has %d rows", receipt.Rows)
				}
				stored := server.Texts(t, fmt.Sprintf(summary+"s3('%s/%s/events/%s', '%s', '%s', '%s', '%s')",
					b.connection.Endpoint, b.connection.Bucket, receipt.Location, b.connection.AccessKeyID, b.connection.SecretAccessKey, destinationtest.FormatNames[form.Format], columns))
				if sent := server.Texts(t, summary+"("+query+")"); *stored[0][0] != *sent[0][0] || *stored[0][1] != *sent[0][1] {
					t.Errorf("the store has %s rows of %s, ClickHouse has %s of %s", *stored[0][0], *stored[0][1], *sent[0][0], *sent[0][1])
				}
				again, err := destination.WriteChunk(t.Context(), destinations.ChunkTask{
					Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "y", Source: server.Rows("SELECT never asked"),
				})
				if !again.Adopted {
					t.Error("the second receipt does not say that it adopts")
				}
				if again.Adopted = false; err != nil || again != receipt {
					t.Errorf("adopted with %+v (%v), written with %+v", again, err, receipt)
				}
			})
		}
	}
}

func settingsFor(form export.Encoding) string {
	return fmt.Sprintf(`{"prefix": "events", "format": %q, "compression": %q}`, form.Format, form.Compression)
}

// ClickHouse fails after the first bytes of a 200. The counter alone must see it, in every encoding.
func TestAnExceptionInMidStreamLeavesNothing(t *testing.T) {
	server := worldClickHouse(t)
	const rows = 400_000
	query := strings.Replace(fmt.Sprintf(selection, rows), "number AS n", "number + throwIf(number = 390000) AS n", 1)
	for _, form := range export.FileEncodings() {
		t.Run(fmt.Sprintf("%s %s", form.Format, form.Compression), func(t *testing.T) {
			b := newBucket(t)
			plan := planOf(t, rows)
			_, err := b.open(t, settingsFor(form)).WriteChunk(t.Context(), destinations.ChunkTask{
				Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "x",
				Source: server.Rows(query + smallBlocks),
			})
			if export.KindOf(err) != export.KindSourceUnavailable {
				t.Errorf("got %v (%s)", err, export.KindOf(err))
			}
			t.Log(err)
			if left := b.contents(t); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
