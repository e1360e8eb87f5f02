//go:build world

package s3

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// clickHouse asks the real ClickHouse over HTTP, with no care for exceptions in mid-stream: what comes of them is what
// is tested here.
type clickHouse struct{ url string }

var plainHTTP = &http.Client{Transport: &http.Transport{DisableCompression: true}}

func (c clickHouse) ask(ctx context.Context, query, accept string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/?enable_http_compression=1", strings.NewReader(query))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept-Encoding", accept)
	answer, err := plainHTTP.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return nil, fmt.Errorf("status %d: %s", answer.StatusCode, body)
	}
	return answer.Body, nil
}

// encodes is a source: a query that ClickHouse encodes.
type encodes struct {
	clickHouse
	query string
}

func (e encodes) Open(ctx context.Context, form export.Encoding) (io.ReadCloser, error) {
	query, accept := e.query+" FORMAT "+formatNames[form.Format]+" SETTINGS "+smallBlocks, "identity"
	switch {
	case form.Format == export.FormatParquet:
		query += fmt.Sprintf(", output_format_parquet_compression_method='%s'", form.Compression)
	case form.Format == export.FormatArrow:
		query += fmt.Sprintf(", output_format_arrow_compression_method='%s'", strings.Replace(string(form.Compression), "lz4", "lz4_frame", 1))
	case form.Wrapped():
		accept = string(form.Compression)
	}
	return e.ask(ctx, query, accept)
}

var formatNames = map[export.Format]string{
	export.FormatParquet: "Parquet", export.FormatJSONEachRow: "JSONEachRow", export.FormatCSV: "CSVWithNames", export.FormatArrow: "Arrow",
}

// smallBlocks lets bytes flow long before the last row.
const smallBlocks = "max_block_size=10000, max_threads=1, output_format_parquet_row_group_size=20000"

const (
	columns   = "n UInt64, text String, at DateTime64(6, ''UTC''), maybe Nullable(UInt64)" // inside a string
	selection = `SELECT number AS n, concat('zeile\n', hex(sipHash128(number))) AS text, toDateTime64('2026-11-23 10:00:00', 6, 'UTC') + number AS at, if(modulo(number, 3) = 0, NULL, number) AS maybe FROM numbers(%d)`
	summary   = "SELECT count(), sum(cityHash64(tuple(n, text, at, maybe))) FROM "
)

// Bytes that ClickHouse encodes pass through the worker into the store, are counted on the way, and ClickHouse reads the
// same rows out of the store.
func TestEveryEncodingOfClickHouseArrivesWhole(t *testing.T) {
	server := clickHouse{testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL")}
	for _, rows := range []int{1, 300_000} {
		for _, form := range export.FileEncodings() {
			t.Run(fmt.Sprintf("%d rows %s %s", rows, form.Format, form.Compression), func(t *testing.T) {
				b := newBucket(t)
				destination, plan := b.open(t, settingsFor(form)), planOf(t, rows)
				query := fmt.Sprintf(selection, rows)
				receipt, err := destination.WriteChunk(t.Context(), destinations.ChunkTask{
					Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "x", Source: encodes{server, query},
				})
				if err != nil {
					t.Fatal(err)
				}
				if receipt.Rows != uint64(rows) {
					t.Errorf("the receipt has %d rows", receipt.Rows)
				}
				stored := server.answer(t, fmt.Sprintf(summary+"s3('%s/%s/events/%s', '%s', '%s', '%s', '%s')",
					b.connection.Endpoint, b.connection.Bucket, receipt.Location, b.connection.AccessKeyID, b.connection.SecretAccessKey, formatNames[form.Format], columns))
				if sent := server.answer(t, summary+"("+query+")"); stored != sent {
					t.Errorf("the store has %s, ClickHouse has %s", stored, sent)
				}
				again, err := destination.WriteChunk(t.Context(), destinations.ChunkTask{
					Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "y", Source: encodes{server, "SELECT never asked"},
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

func (c clickHouse) answer(t *testing.T, query string) string {
	t.Helper()
	body, err := c.ask(t.Context(), query, "identity")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func settingsFor(form export.Encoding) string {
	return fmt.Sprintf(`{"prefix": "events", "format": %q, "compression": %q}`, form.Format, form.Compression)
}

// ClickHouse fails after the first bytes of a 200. The counter alone must see it, in every encoding.
func TestAnExceptionInMidStreamLeavesNothing(t *testing.T) {
	server := clickHouse{testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL")}
	const rows = 400_000
	query := strings.Replace(fmt.Sprintf(selection, rows), "number AS n", "number + throwIf(number = 390000) AS n", 1)
	for _, form := range export.FileEncodings() {
		t.Run(fmt.Sprintf("%s %s", form.Format, form.Compression), func(t *testing.T) {
			b := newBucket(t)
			plan := planOf(t, rows)
			_, err := b.open(t, settingsFor(form)).WriteChunk(t.Context(), destinations.ChunkTask{
				Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "x",
				Source: encodes{server, query},
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
