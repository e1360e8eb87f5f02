//go:build world

package s3

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// A fault before or after the mark of a closed revision is settled on the spot, and the zombie that publishes finds it.
func TestAFaultAtClosingIsSettled(t *testing.T) {
	for _, point := range []string{"s3.closed.put", "s3.closed.answered"} {
		t.Run(point, func(t *testing.T) {
			b := newBucket(t)
			plan := planOf(t, 10)
			disarm, err := failpoint.Arm(point + "=error@1")
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			mark := export.Closed{Version: export.ClosedVersion, Run: plan.Run, Reason: "the test says so", DefinitionHash: plan.DefinitionHash, By: plan.By}
			ending, err := b.open(t, jsonSettings).Close(t.Context(), mark)
			if err != nil || ending.Closed == nil || ending.Closed.Reason != mark.Reason {
				t.Fatalf("closed: %+v, %v", ending, err)
			}
			if failpoint.Hits(point) == 0 {
				t.Fatal("the point was never passed")
			}
			prepared, err := b.open(t, jsonSettings).Prepare(t.Context(), plan)
			if err != nil || prepared.Closed == nil {
				t.Errorf("prepared: %+v, %v", prepared, err)
			}
			_, err = b.open(t, jsonSettings).Publish(t.Context(), export.NewManifest(plan, nil, export.Proof{}, plan.By))
			if closed := new(export.ClosedError); !errors.As(err, &closed) {
				t.Errorf("published: %v", err)
			}
		})
	}
}

// reads is a reader that holds everything for what is wanted, once it has read it.
type reads struct{}

func (reads) Holds(_ context.Context, _ export.Encoding, file io.Reader, _ export.Content) (bool, string, error) {
	_, err := io.Copy(io.Discard, file)
	return true, "", err
}

// A fault while an object is read back says nothing about it: the step is repeated, and the object stays what it was.
func TestAFaultAtReadingBackIsNoVerdict(t *testing.T) {
	for _, point := range []string{"s3.readback", "s3.readback.done"} {
		t.Run(point, func(t *testing.T) {
			b := newBucket(t)
			plan := planOf(t, 10)
			receipt, err := b.open(t, jsonSettings).WriteChunk(t.Context(), destinations.ChunkTask{
				Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "x", Source: lines{10},
			})
			if err != nil {
				t.Fatal(err)
			}
			receipt.Hash = export.Content{}.HashText()
			disarm, err := failpoint.Arm(point + "=error@1")
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			files := b.open(t, jsonSettings).(destinations.ReadsBack)
			if err := files.ReadBack(t.Context(), plan.Run, receipt, reads{}); err == nil || export.IsUnworkable(err) {
				t.Errorf("the fault is told as %v", err)
			}
			if err := files.ReadBack(t.Context(), plan.Run, receipt, reads{}); err != nil {
				t.Errorf("the repeat: %v", err)
			}
		})
	}
}
