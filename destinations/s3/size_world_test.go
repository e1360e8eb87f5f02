//go:build world

package s3

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// A file of just the size that it may have is written; of one that is larger by a row nothing is left, in one request or in
// parts, and its error says how many rows would fit: by the whole file's size, which is read to its end for that.
func TestNoFileIsLargerThanItMayBe(t *testing.T) {
	const line = 1015 // bytes of a row of lines
	for _, rows := range []int{128 << 10 / line, bigRows} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			b := newBucket(t)
			d := b.open(t, jsonSettings).(*Destination)
			write := func(rows int) error {
				plan := planOf(t, rows)
				_, err := d.WriteChunk(t.Context(), destinations.ChunkTask{
					Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "x", Source: lines{rows},
				})
				return err
			}
			d.maxFile = uint64(rows * line)
			for _, over := range []int{rows + 1, 3 * rows} {
				err := write(over)
				want := uint64(float64(rows) * 0.9)
				if got := export.FittingRows(err); !export.IsUnworkable(err) || export.KindOf(err) != export.KindConfig || got < want-1 || got > want {
					t.Errorf("with %d rows: %v; %d rows would fit, want %d", over, err, got, want)
				}
				if left := b.contents(t); len(left) != 0 {
					t.Errorf("left behind: %q", left)
				}
			}
			if err := write(rows); err != nil {
				t.Error(err)
			}
		})
	}
}

// One row that is larger alone can be cut no finer: nothing is closed for it.
func TestARowThatIsTooLargeAloneEndsTheRun(t *testing.T) {
	b := newBucket(t)
	d := b.open(t, jsonSettings).(*Destination)
	d.maxFile = 1000
	plan := planOf(t, 1)
	_, err := d.WriteChunk(t.Context(), destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "x", Source: lines{1}})
	if err == nil || export.IsUnworkable(err) || export.KindOf(err) != export.KindConfig || !strings.HasSuffix(err.Error(), "make max_file_size larger") {
		t.Error(err)
	}
}

// A source that breaks off while it is measured says nothing about the size.
func TestASourceThatBreaksWhileItIsMeasuredIsReadAgain(t *testing.T) {
	d := newBucket(t).open(t, jsonSettings).(*Destination)
	d.maxFile = 64 << 10
	plan := planOf(t, bigRows)
	_, err := d.WriteChunk(t.Context(), destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "x", Source: breaksAfter{lines{200}}})
	if err == nil || export.IsUnworkable(err) || export.KindOf(err) != export.KindSourceUnavailable {
		t.Errorf("got %v (%s)", err, export.KindOf(err))
	}
}
