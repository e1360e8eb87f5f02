//go:build world

package s3

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// breaksAfter is a source whose stream breaks after some rows.
type breaksAfter struct{ lines }

func (b breaksAfter) Open(ctx context.Context, encoding export.Encoding) (io.ReadCloser, error) {
	whole, err := b.lines.Open(ctx, encoding)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.MultiReader(whole, iotest.ErrReader(errors.New("connection reset by peer")))), nil
}

// A pipe that takes an error of the source for its end completes an object of too few rows. Nobody would publish it, for the
// source is counted too, but it must not even be there: small or in parts, the switch makes the difference.
func TestAnErrorSwallowedInThePipeCompletesABrokenObject(t *testing.T) {
	for name, rows := range map[string]int{"in one request": 100, "in parts": 10_000} {
		t.Run(name, func(t *testing.T) {
			objects := func() []string {
				b, plan := newBucket(t), planOf(t, rows+1)
				d := b.open(t, jsonSettings)
				if _, err := d.Prepare(t.Context(), plan); err != nil {
					t.Fatal(err)
				}
				receipt, err := d.WriteChunk(t.Context(), destinations.ChunkTask{
					Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "x", Source: breaksAfter{lines{rows}},
				})
				if (err == nil) != failpoint.On(switchSwallow) {
					t.Errorf("it ended with %v and a receipt of %d rows", err, receipt.Rows)
				}
				return slices.DeleteFunc(b.contents(t), func(line string) bool { return !strings.Contains(line, ".jsonl") })
			}
			if found := objects(); len(found) != 0 {
				t.Errorf("a broken stream left %v", found)
			}
			disarm, err := failpoint.Arm(switchSwallow + "=on")
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			if found := objects(); len(found) != 1 || !strings.HasPrefix(found[0], "object") {
				t.Errorf("nobody would notice: the bucket has %v", found)
			}
		})
	}
}
