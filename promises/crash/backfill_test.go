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

	"go.temporal.io/api/workflowservice/v1"

	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// The backfill that is broken: 2,000 intervals of a minute, or MILLRACE_CRASH_INTERVALS.
const (
	backfilledMinutes = 2000
	backfillWorkers   = 2
	rowsPerMinute     = 500
)

// TestABackfillOfTwoThousandIntervalsLosesAndDoublesNone kills one of two workers now and then while people pause, resume, narrow
// and widen a backfill. Every interval must be published and in the ledger once, with the rows that the table has.
// `make test/crash RUN=TwoThousand SEED=1` repeats the choices; how they meet is the machine's.
func TestABackfillOfTwoThousandIntervalsLosesAndDoublesNone(t *testing.T) {
	intervals, seed := number(t, "MILLRACE_CRASH_INTERVALS", backfilledMinutes), uint64(number(t, "MILLRACE_CRASH_SEED", int(rand.Uint32())))
	fmt.Printf("make test/crash RUN=TwoThousand SEED=%d repeats this run\n", seed)
	span := export.Interval{Start: past, End: past.Add(time.Duration(intervals) * time.Minute)}
	p := raiseStill(t, seed, eventstoretest.Past{Start: span.Start, Hours: (intervals + 59) / 60, RowsPerHour: 60 * rowsPerMinute, Teams: 1})
	for i := range backfillWorkers {
		p.Workers = append(p.Workers, p.start(t, ServiceConfig{Name: fmt.Sprintf("worker-%d", i+1), Args: []string{"worker"}, Started: "worker is ready"}))
	}
	definition := export.Definition{
		Name: "two-thousand", Team: export.Team{ID: 1}, Connection: "lake", Every: export.Duration(time.Minute),
		Destination: "s3", Settings: json.RawMessage(`{"prefix": "` + exportPrefix + `", "format": "parquet"}`),
	}.WithDefaults()
	began := time.Now()
	if _, err := p.Exports.starter.StartBackfill(t.Context(), export.Backfill{Definition: definition, Start: &span.Start, End: &span.End, Parallel: 12}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Minute)
	defer cancel()
	over, led := make(chan struct{}), make(chan map[string]int)
	go func() { led <- p.leadAndKill(ctx, definition.Name, rand.New(rand.NewPCG(seed, 2000)), over) }()
	progress, err := p.Exports.starter.FollowBackfill(ctx, definition.Name, nil)
	close(over)
	done := <-led
	if err != nil || progress.Published+progress.AlreadyDone != intervals || progress.Failed != 0 {
		t.Fatalf("it ended with %+v, %v", progress, err)
	}
	fmt.Printf("%d intervals in %s: %d published by its runs, %d found published; %v\n", intervals, time.Since(began).Round(time.Second), progress.Published, progress.AlreadyDone, done)
	for _, kind := range []string{"kill", workflows.UpdatePause, workflows.UpdateSetParallelism} {
		if done[kind] == 0 {
			t.Errorf("nobody has done this: %s", kind)
		}
	}
	p.onceInTheLedger(t, definition.Name, intervals)
	faults, err := p.files.Glance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults {
		t.Error(fault)
	}
	if p.files.Checked != intervals || p.files.Closed != 0 {
		t.Errorf("%d manifests were read, and %d closed revisions, want %d and none", p.files.Checked, p.files.Closed, intervals)
	}
	fmt.Printf("%d manifests, the files of each with the rows of the source\n", p.files.Checked)
	p.printHistories(t, progress.Executions, intervals)
}

// leadAndKill does as people and bad luck do, until the backfill is over, and counts what it did.
func (p *exportPlay) leadAndKill(ctx context.Context, name string, random *rand.Rand, over <-chan struct{}) map[string]int {
	done := map[string]int{}
	wish := func(update string, wish workflows.Wish) {
		if _, err := p.Exports.starter.ControlBackfill(ctx, name, update, wish); err == nil {
			done[update]++
		}
	}
	for {
		select {
		case <-over:
			return done
		case <-time.After(lasting(random, 2*time.Second, 20*time.Second)):
		}
		switch choice := random.IntN(6); choice {
		case 0, 1:
			if err := p.Workers[random.IntN(len(p.Workers))].Signal(syscall.SIGKILL); err == nil {
				done["kill"]++
			}
		case 2, 3:
			wish(workflows.UpdatePause, workflows.Wish{Note: "by the test"})
			select {
			case <-over:
			case <-time.After(lasting(random, time.Second, 5*time.Second)):
			}
			wish(workflows.UpdateResume, workflows.Wish{})
		default:
			wish(workflows.UpdateSetParallelism, workflows.Wish{Parallel: 4 + random.IntN(13)})
		}
	}
}

// onceInTheLedger holds that every interval is in the ledger, published as its first revision and proved, and nothing else is.
func (p *exportPlay) onceInTheLedger(t *testing.T, name string, intervals int) {
	t.Helper()
	var rows, different, proved, others uint64
	if err := p.rows.QueryRow(t.Context(), "SELECT count(), uniqExact(interval_start), countIf(status = 'published' AND revision = 1 AND proof = 'readback' AND source_rows = stored_rows AND source_hash = stored_hash AND source_hash != ''), countIf(status != 'published') FROM ledger FINAL WHERE export = ?", name).
		Scan(&rows, &different, &proved, &others); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("ledger: %d rows of %d intervals, %d published once and proved on both sides, %d others\n", rows, different, proved, others)
	if want := uint64(intervals); rows != want || different != want || proved != want || others != 0 {
		t.Errorf("want %d of each, and no others", want)
	}
}

// printHistories tells how large the histories have become, of the backfill's executions and of its runs.
func (p *exportPlay) printHistories(t *testing.T, executions, intervals int) {
	t.Helper()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\thistories\tmost events\tlargest\t")
	for _, kind := range []string{workflows.NameBackfill, workflows.NameExport} {
		var count int
		var events, bytes int64
		var page []byte
		for {
			answer, err := p.temporal.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
				Namespace: p.namespace, PageSize: 1000, NextPageToken: page, Query: fmt.Sprintf("WorkflowType = %q", kind),
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, execution := range answer.Executions {
				count++
				events, bytes = max(events, execution.HistoryLength), max(bytes, execution.HistorySizeBytes)
			}
			if page = answer.NextPageToken; len(page) == 0 {
				break
			}
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d kB\t\n", kind, count, events, bytes/1000)
		if kind == workflows.NameBackfill && count != executions {
			t.Errorf("%d executions of the backfill are seen, it counts %d", count, executions)
		}
	}
	_ = table.Flush()
	if executions < intervals/200 {
		t.Errorf("it continued as new %d times only", executions-1)
	}
}
