//go:build crash

package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// The export whose worker is killed: 10 million rows, or MILLRACE_CRASH_ROWS, in chunks of half a million, four at a time.
const (
	tenMillion      = 10_000_000
	tenMillionChunk = 500_000
	tenMillionSlots = 4
	kills           = 8
)

// TestAKilledWorkerOfTenMillionRowsRepeatsAChunkForEachSlot kills the one worker of a large export at random moments, one in
// each of 8 exports of the same rows, and counts the rows that ClickHouse has read, by the server's own counter: beyond an export that
// nobody breaks it may be at most one chunk for each slot. What a kill before the first chunk repeats is the planning, which reads
// the columns of the sort order. `make test/crash RUN=TenMillion SEED=1` repeats the moments.
func TestAKilledWorkerOfTenMillionRowsRepeatsAChunkForEachSlot(t *testing.T) {
	rows, seed := number(t, "MILLRACE_CRASH_ROWS", tenMillion), uint64(number(t, "MILLRACE_CRASH_SEED", int(rand.Uint32())))
	fmt.Printf("make test/crash RUN=TenMillion SEED=%d repeats this run\n", seed)
	hour := export.Interval{Start: past, End: past.Add(time.Hour)}
	began := time.Now()
	p := raiseStill(t, seed, eventstoretest.Past{Start: hour.Start, Hours: 1, RowsPerHour: rows, Teams: 1})
	var there uint64
	if err := p.rows.QueryRow(t.Context(), "SELECT count() FROM events").Scan(&there); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%d rows are there after %s\n", there, time.Since(began).Round(time.Second))
	w := p.start(t, ServiceConfig{Name: "worker", Args: []string{"worker", "--slots-live", fmt.Sprint(tenMillionSlots)}, Started: "worker is ready"})

	// What planning reads is read once, and not by chunks.
	whole := p.exportWith(t, w, "unbroken", hour, 0)
	chunks := (there + tenMillionChunk - 1) / tenMillionChunk
	chunk := (whole.read - whole.planning) / chunks
	fmt.Printf("unbroken: %s from the first chunk on, %d rows read, of which %d to plan: %d for each of %d chunks of %d rows\n\n",
		whole.took.Round(time.Second), whole.read, whole.planning, chunk, chunks, tenMillionChunk)

	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "kill -9 after\tof\tit took\trows read\tread again\tin chunks\t")
	random := rand.New(rand.NewPCG(seed, 10))
	exports := 1
	for n := 0; n < kills; {
		moment := time.Duration(float64(whole.took) * 0.9 * random.Float64())
		exports++
		broken := p.exportWith(t, w, fmt.Sprintf("killed-%d", exports), hour, moment)
		if !broken.killed { // it was over before: another moment
			if exports > 3*kills {
				t.Fatalf("%d exports were over before their worker could be killed", exports-n)
			}
			continue
		}
		n++
		again := int64(broken.read) - int64(whole.read)
		inChunks := float64(again) / float64(chunk)
		fmt.Fprintf(table, "%.1f s\t%.0f %%\t%s\t%d\t%d\t%.2f\t\n", moment.Seconds(), 100*moment.Seconds()/whole.took.Seconds(), broken.took.Round(time.Second), broken.read, again, inChunks)
		if inChunks > tenMillionSlots {
			t.Errorf("after a kill at %s %.2f chunks were read again, and there are %d slots", moment, inChunks, tenMillionSlots)
		}
	}
	_ = table.Flush()
	if starts := w.Starts(); starts != 1+kills {
		t.Errorf("there were %d processes of the worker, want %d", starts, 1+kills)
	}
	faults, err := p.files.Glance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults {
		t.Error(fault)
	}
	if p.files.Checked != exports {
		t.Errorf("%d manifests were read", p.files.Checked)
	}
	files, uploads, err := p.files.Unnamed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\n%d manifests, each with the rows of the source; kills have left %d files that no manifest names and %d open uploads\n", p.files.Checked, files, uploads)
}

// rowsRead is how many rows all queries have read since the server began, those that were killed too.
func (p *exportPlay) rowsRead(t *testing.T) (rows uint64) {
	t.Helper()
	if err := p.rows.QueryRow(t.Context(), "SELECT sum(value) FROM system.events WHERE event = 'SelectedRows'").Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// tenMillionRun is what an export took from its first chunk on, and the rows that were read for all of it and until then.
type tenMillionRun struct {
	took           time.Duration
	read, planning uint64
	killed         bool // before it was over
}

// exportWith exports an hour, and kills the worker at a moment after the first chunk was begun, unless that is 0.
func (p *exportPlay) exportWith(t *testing.T, w *Service, name string, hour export.Interval, moment time.Duration) (run tenMillionRun) {
	t.Helper()
	before := p.rowsRead(t)
	definition := export.Definition{
		Name: name, Team: export.Team{ID: 1}, Connection: "lake", Every: export.Duration(time.Hour), ChunkRows: tenMillionChunk,
		Destination: "s3", Settings: json.RawMessage(`{"prefix": "` + exportPrefix + `", "format": "parquet"}`),
	}.WithDefaults()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	started, err := p.Exports.starter.Start(ctx, definition, hour)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var progress export.Progress
		if value, err := p.temporal.QueryWorkflow(ctx, started.WorkflowID, started.RunID, workflows.QueryProgress); err == nil && value.Get(&progress) == nil && progress.Chunks > 0 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: no chunk was begun", name)
		}
		wait(ctx, 20*time.Millisecond)
	}
	run.planning = p.rowsRead(t) - before
	began := time.Now()
	var outcome export.Outcome
	over := make(chan error, 1)
	go func() {
		var err error
		outcome, err = p.Exports.follow(ctx, started)
		over <- err
	}()
	if moment > 0 {
		select {
		case err = <-over:
			over <- err
		case <-time.After(moment):
			run.killed = true
			if err := w.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err = <-over; err != nil || outcome.Status != export.StatusPublished {
		t.Fatalf("%s ended as %+v, %v", name, outcome, err)
	}
	run.took = time.Since(began)
	// Queries of the dead end when ClickHouse notices.
	if left, err := p.queriesLeft(ctx); err != nil || len(left) > 0 {
		t.Fatalf("%v, %v", left, err)
	}
	run.read = p.rowsRead(t) - before
	return run
}
