//go:build world

package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// lines is a source of JSON rows of about 1 KiB.
type lines struct{ rows int }

func (l lines) Open(context.Context, export.Encoding) (io.ReadCloser, error) {
	line := fmt.Sprintf("{\"padding\":%q}\n", strings.Repeat("x", 1000))
	return io.NopCloser(bytes.NewReader(bytes.Repeat([]byte(line), l.rows))), nil
}

const jsonSettings = `{"prefix": "events", "format": "jsoneachrow", "compression": "none"}`

// planOf is a plan with one chunk of so many rows.
func planOf(t testing.TB, rows int) export.Plan {
	t.Helper()
	run := runAt(tenOClock, 3600e9)
	definition, err := destinations.Normalize(export.Definition{
		Name: run.Export, Team: export.Team{ID: 1}, Connection: "lake", Every: export.Duration(3600e9),
		Destination: "s3", Settings: []byte(jsonSettings),
	})
	if err != nil {
		t.Fatal(err)
	}
	return export.Plan{
		Version: export.PlanVersion, Run: run, Definition: definition, DefinitionHash: definition.Hash(),
		Closing: export.Closing{Rule: export.RuleWatermark, Watermark: "w"},
		Rows:    uint64(rows), Chunks: []export.Chunk{{Rows: uint64(rows)}},
		By: export.Author{WorkflowID: "w", RunID: "x", At: tenOClock},
	}
}

// runOnce does a whole run of a plan.
func runOnce(ctx context.Context, d destinations.Destination, plan export.Plan) (export.Manifest, error) {
	prepared, err := d.Prepare(ctx, plan)
	if err != nil {
		return export.Manifest{}, fmt.Errorf("prepare: %w", err)
	}
	if prepared.Published != nil {
		return *prepared.Published, nil
	}
	receipt, err := d.WriteChunk(ctx, destinations.ChunkTask{
		Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: prepared.Plan.Hash(), Execution: "x", Source: lines{int(plan.Rows)},
	})
	if err != nil {
		return export.Manifest{}, fmt.Errorf("write chunk: %w", err)
	}
	receipts := []export.Receipt{receipt}
	proof, err := d.Prove(ctx, plan, receipts)
	if err != nil {
		return export.Manifest{}, fmt.Errorf("prove: %w", err)
	}
	return d.Publish(ctx, export.NewManifest(plan, receipts, proof, plan.By))
}

// A fault at each side effect, before it and after it: the answer that was lost, the request that was never sent. The
// ones of conditional writes are settled on the spot; the others end the step, and its repeat completes the run. Either
// way there is one copy of everything, and nothing unfinished.
func TestAFaultAtEverySideEffectCostsOneRepeatAtMost(t *testing.T) {
	const small, big = 10, 2*smallPart>>10 + 100
	for _, test := range []struct {
		point   string
		rows    int
		settled bool
		leaves  int // uploads that nobody knows of
	}{
		{"s3.looked", small, false, 0},
		{"s3.plan.put", small, true, 0},
		{"s3.plan.answered", small, true, 0},
		{"s3.chunk.begun", small, false, 0},
		{"s3.object.put", small, true, 0},
		{"s3.object.answered", small, true, 0},
		{"s3.receipt", small, false, 0},
		{"s3.manifest.put", small, true, 0},
		{"s3.manifest.answered", small, true, 0},
		{"s3.chunk.begun", big, false, 0},
		{"s3.upload.created", big, false, 1}, // the answer with its id was lost: for the bucket's lifecycle rule
		{"s3.part.sent", big, false, 0},
		{"s3.part.answered", big, false, 0},
		{"s3.complete.sent", big, true, 0},
		{"s3.complete.answered", big, true, 0},
		{"s3.receipt", big, false, 0},
	} {
		t.Run(fmt.Sprintf("%s with %d rows", test.point, test.rows), func(t *testing.T) {
			b := newBucket(t)
			plan := planOf(t, test.rows)
			disarm, err := failpoint.Arm(test.point + "=error@1")
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			manifest, err := runOnce(t.Context(), b.open(t, jsonSettings), plan)
			if failpoint.Hits(test.point) == 0 {
				t.Fatal("the point was never passed")
			}
			if test.settled != (err == nil) {
				t.Errorf("settled on the spot: want %t, got the error %v", test.settled, err)
			}
			if err != nil {
				if manifest, err = runOnce(t.Context(), b.open(t, jsonSettings), plan); err != nil {
					t.Fatalf("the repeat: %v", err)
				}
			}
			if manifest.Rows != plan.Rows || len(manifest.Receipts) != 1 {
				t.Errorf("the manifest has %d rows in %d files", manifest.Rows, len(manifest.Receipts))
			}
			b.wantRun(t, test.leaves)
		})
	}
}

// wantRun wants exactly the objects of one run with one chunk, and so many unfinished uploads.
func (b bucket) wantRun(t testing.TB, unfinished int) {
	t.Helper()
	var names []string
	uploads := 0
	for _, line := range b.contents(t) {
		if strings.HasPrefix(line, "unfinished ") {
			uploads++
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "object "), ":")
		names = append(names, name)
	}
	want := []string{
		"events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/r0001/manifest.json",
		"events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/r0001/plan.json",
		"events/shop-events/20261123T100000Z--20261123T110000Z/r0001-00000.jsonl",
	}
	if slices.Sort(names); !slices.Equal(names, want) || uploads != unfinished {
		t.Errorf("the bucket has %d unfinished uploads, want %d, and the objects\n  %s", uploads, unfinished, strings.Join(names, "\n  "))
	}
}
