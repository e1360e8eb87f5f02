//go:build world

package promises

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdkpb "go.temporal.io/api/sdk/v1"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

// hours is a backfill of the first so many hours of the day.
func hours(definition export.Definition, n int) export.Backfill {
	start, end := hour(0).Start, hour(n-1).End
	return export.Backfill{Definition: definition, Start: &start, End: &end}
}

// backfill starts a backfill and follows it to its end.
func (t *thread) backfill(wanted export.Backfill) (export.BackfillProgress, error) {
	t.Helper()
	if _, err := t.starter.StartBackfill(t.Context(), wanted); err != nil {
		t.Fatal(err)
	}
	return t.starter.FollowBackfill(t.Context(), wanted.Definition.Name, nil)
}

// publishedOnce holds the ledger and the manifests against the intervals that are to be published, each once.
func (t *thread) publishedOnce(name string, intervals int) {
	t.Helper()
	rows, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: name, Limit: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, row := range rows {
		if row.Status == eventstore.StatusPublished {
			seen[row.Run.Interval.Key()]++
			if row.Run.Revision != export.FirstRevision {
				t.Errorf("%s was published as revision %d", row.Run, row.Run.Revision)
			}
		}
	}
	for interval, times := range seen {
		if times != 1 {
			t.Errorf("%s is in the ledger %d times", interval, times)
		}
	}
	manifests := 0
	for _, key := range ending(t.objects(), "/manifest.json") {
		if strings.HasPrefix(key, "events/_millrace/"+name+"/") {
			manifests++
		}
	}
	if len(seen) != intervals || manifests != intervals {
		t.Errorf("%d intervals are in the ledger and %d have manifests, want %d", len(seen), manifests, intervals)
	}
}

// (promise 8) What is published is left alone, and the rest is published once, whichever end is first.
func TestABackfillPublishesWhatIsMissing(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	const n = 12
	ids := t.load(n, 1)
	t.work()
	for _, newestFirst := range []bool{false, true} {
		definition := hourly(fmt.Sprintf("backfilled-%t", newestFirst), 1)
		for _, before := range []int{3, 4, n - 1} {
			t.run(definition, hour(before))
		}
		objects := t.objects()
		wanted := hours(definition, n)
		wanted.NewestFirst = newestFirst
		progress, err := t.backfill(wanted)
		if err != nil {
			t.Fatal(err)
		}
		if progress.State != export.BackfillDone || progress.Intervals != n || progress.Published != n-3 || progress.AlreadyDone != 3 || progress.Failed != 0 || progress.Running != 0 {
			t.Errorf("it ended with %+v", progress)
		}
		if want := n*(n+1)/2 - (4 + 5 + n); progress.Rows != uint64(want) {
			t.Errorf("its runs had %d rows, want %d", progress.Rows, want)
		}
		t.publishedOnce(definition.Name, n)
		slices.Sort(ids[1])
		if got := uuids(t.rows(definition.Name)); !slices.Equal(got, ids[1]) {
			t.Errorf("the files have %d rows, want those %d that were loaded", len(got), len(ids[1]))
		}
		for key, tag := range t.objects() {
			if was, there := objects[key]; there && was != tag {
				t.Errorf("%s was written again", key)
			}
		}
		t.history("backfilled", starter.Started{WorkflowID: starter.BackfillID(definition.Name)})
		// Once more, it finds nothing to do, and starts no run.
		again, err := t.backfill(wanted)
		if err != nil || again.AlreadyDone != n || again.Published != 0 {
			t.Errorf("the second time it ended with %+v, %v", again, err)
		}
	}
}

// progressIs waits until the backfill of an export stands so.
func (t *thread) progressIs(name string, holds func(export.BackfillProgress) bool) export.BackfillProgress {
	t.Helper()
	var progress export.BackfillProgress
	testworld.Eventually(t.T, patience, func() (err error) {
		if progress, err = t.starter.BackfillProgress(t.Context(), name); err != nil {
			return err
		}
		if !holds(progress) {
			return fmt.Errorf("it stands so: %+v", progress)
		}
		return nil
	})
	return progress
}

// wish has the backfill take a wish that it must not refuse.
func (t *thread) wish(name, update string, wish workflows.Wish) export.BackfillProgress {
	t.Helper()
	progress, err := t.starter.ControlBackfill(t.Context(), name, update, wish)
	if err != nil {
		t.Fatalf("%s %+v: %v", update, wish, err)
	}
	return progress
}

// refuses holds that a wish is refused in these words, and changes nothing.
func (t *thread) refuses(name, update string, wish workflows.Wish, words string) {
	t.Helper()
	before, err := t.starter.BackfillProgress(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = t.starter.ControlBackfill(t.Context(), name, update, wish)
	if export.KindOf(err) != export.KindConfig || !strings.Contains(fmt.Sprint(err), words) {
		t.Errorf("%s %+v: %v, want a refusal that says %q", update, wish, err, words)
	}
	if after, err := t.starter.BackfillProgress(t.Context(), name); err != nil || after.State != before.State || after.Parallel != before.Parallel {
		t.Errorf("%s %+v changed %+v into %+v, %v", update, wish, before, after, err)
	}
}

// A backfill is paused, narrowed, widened, resumed and cancelled by people, and refuses what makes no sense.
func TestABackfillIsLedByPeople(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	definition := hourly("led", 1)
	const n = 40
	// No worker yet: it stands at its beginning.
	wanted := hours(definition, n)
	if _, err := t.starter.StartBackfill(t.Context(), wanted); err != nil {
		t.Fatal(err)
	}
	stop := t.work()
	t.wish("led", workflows.UpdatePause, workflows.Wish{Note: "ann moves the lake"})
	paused := t.progressIs("led", func(p export.BackfillProgress) bool { return p.State == export.BackfillPaused && p.Running == 0 })
	if paused.Note != "ann moves the lake" || paused.Published == n {
		t.Errorf("paused it is %+v", paused)
	}
	t.refuses("led", workflows.UpdatePause, workflows.Wish{}, "paused already")
	t.refuses("led", workflows.UpdateSetParallelism, workflows.Wish{Parallel: 0}, "from 1 to 64")
	t.refuses("led", workflows.UpdateSetParallelism, workflows.Wish{Parallel: 65}, "from 1 to 64")
	t.refuses("led", workflows.UpdatePause, workflows.Wish{Parallel: 3}, "paused already")
	if narrow := t.wish("led", workflows.UpdateSetParallelism, workflows.Wish{Parallel: 1}); narrow.Parallel != 1 || narrow.State != export.BackfillPaused {
		t.Errorf("narrowed it is %+v", narrow)
	}
	// The same range is joined, another one refused.
	if joined, err := t.starter.StartBackfill(t.Context(), wanted); err != nil || joined.WorkflowID != starter.BackfillID("led") {
		t.Errorf("the same backfill again: %+v, %v", joined, err)
	}
	if _, err := t.starter.StartBackfill(t.Context(), hours(definition, 3)); export.KindOf(err) != export.KindConfig || !strings.Contains(fmt.Sprint(err), "another backfill") {
		t.Errorf("another backfill meanwhile: %v", err)
	}
	// A restart of the worker changes nothing.
	stop()
	t.work()
	if still := t.progressIs("led", func(p export.BackfillProgress) bool { return true }); still.State != export.BackfillPaused || still.Published != paused.Published {
		t.Errorf("after a restart it is %+v, was %+v", still, paused)
	}
	t.wish("led", workflows.UpdateResume, workflows.Wish{})
	t.wish("led", workflows.UpdateSetParallelism, workflows.Wish{Parallel: 3})
	done, err := t.starter.FollowBackfill(t.Context(), "led", nil)
	if err != nil || done.Published != n {
		t.Errorf("it ended with %+v, %v", done, err)
	}
	t.publishedOnce("led", n)
	t.history("backfill led by people", starter.Started{WorkflowID: starter.BackfillID("led")})
	if _, err := t.starter.ControlBackfill(t.Context(), "led", workflows.UpdatePause, workflows.Wish{}); export.KindOf(err) != export.KindConfig {
		t.Errorf("to pause one that has ended: %v", err)
	}
	if _, err := t.starter.ControlBackfill(t.Context(), "never", workflows.UpdateResume, workflows.Wish{}); export.KindOf(err) != export.KindConfig || !strings.Contains(fmt.Sprint(err), "millrace backfill never") {
		t.Errorf("to resume one that never was: %v", err)
	}
}

// hold has every chunk of connection "tampered" wait before it is written, until it is released.
func (t *thread) hold() (release func()) {
	held := make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	t.tamper.do(func(string) { <-held }, nil, nil)
	return release
}

// Cancelled, a backfill ends its runs; what they had published stays, and the next goes on from there.
func TestACancelledBackfillIsTakenUpAgain(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.load(6, 1)
	t.work()
	definition := tampered("cancelled", export.ProofReadback)
	release := t.hold()
	wanted := hours(definition, 6)
	wanted.Parallel = 2
	if _, err := t.starter.StartBackfill(t.Context(), wanted); err != nil {
		t.Fatal(err)
	}
	t.progressIs("cancelled", func(p export.BackfillProgress) bool { return p.Running == 2 })
	t.wish("cancelled", workflows.UpdateCancel, workflows.Wish{Note: "wrong range"})
	progress, err := t.starter.FollowBackfill(t.Context(), "cancelled", nil)
	if export.KindOf(err) != export.KindCancelled || progress.State != export.BackfillCancelling || progress.Running != 0 || progress.Note != "wrong range" {
		t.Errorf("it ended with %+v, %v", progress, err)
	}
	t.history("backfill cancelled", starter.Started{WorkflowID: starter.BackfillID("cancelled")})
	runs, err := t.starter.Runs(t.Context(), "cancelled", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		if run.Closed == nil {
			t.Errorf("%s is under way", run.WorkflowID)
		}
	}
	release()
	if progress, err := t.backfill(wanted); err != nil || progress.Published+progress.AlreadyDone != 6 {
		t.Errorf("taken up again it ended with %+v, %v", progress, err)
	}
	t.publishedOnce("cancelled", 6)
}

// A run of somebody else that is under way is awaited, and counts as done before.
func TestABackfillAwaitsWhatRuns(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.load(3, 1)
	t.work()
	definition := tampered("awaited", export.ProofReadback)
	release := t.hold()
	theirs, err := t.starter.Start(t.Context(), definition, hour(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := t.starter.StartBackfill(t.Context(), hours(definition, 3)); err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(tt, patience, func() error {
		return t.waitsFor(starter.Started{WorkflowID: starter.BackfillID("awaited")}, "is under way")
	})
	release()
	progress, err := t.starter.FollowBackfill(t.Context(), "awaited", nil)
	if err != nil || progress.Published != 2 || progress.AlreadyDone != 1 || progress.Failed != 0 {
		t.Errorf("it ended with %+v, %v", progress, err)
	}
	t.ends(theirs)
	t.publishedOnce("awaited", 3)
}

// A run that fails stops the others only when that is wanted, and people see that the backfill has failed.
func TestABackfillTellsOfFailures(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.work()
	for _, stop := range []bool{false, true} {
		definition := hourly(fmt.Sprintf("failing-%t", stop), 1)
		// The schema of a model that is not there is the user's mistake, and ends each run at once.
		definition.Model = export.Model{Name: "nothing", Query: "SELECT * FROM not_there", Arrival: "at", Key: []string{"id"}, Team: "team", Settle: export.Duration(time.Minute)}
		wanted := hours(definition, 6)
		wanted.Parallel, wanted.StopAtFailure = 1, stop
		progress, err := t.backfill(wanted)
		want := 6
		if stop {
			want = 1
		}
		if err == nil || progress.Failed != want || len(progress.Failures) != want || progress.Published != 0 {
			t.Errorf("stop=%t: it ended with %+v, %v", stop, progress, err)
		}
		if !strings.Contains(fmt.Sprint(err), "millrace run "+definition.Name+" --failed") {
			t.Errorf("stop=%t: its error is %v", stop, err)
		}
		t.history("backfill with failures", starter.Started{WorkflowID: starter.BackfillID(definition.Name)})
	}
}

// Without a start it begins with the earliest row, and without an end it goes on until the present.
func TestABackfillOfEverything(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.load(3, 1)
	t.work()
	definition := hourly("everything", 1)
	definition.Every = export.Duration(7 * 24 * time.Hour)
	grid, err := definition.Grid()
	if err != nil {
		t.Fatal(err)
	}
	first := grid.Containing(day).Start
	intervals, err := grid.Split(export.Interval{Start: first, End: grid.LastEnded(time.Now()).End})
	if err != nil {
		t.Fatal(err)
	}
	progress, err := t.backfill(export.Backfill{Definition: definition, NewestFirst: true})
	if err != nil || progress.Published < len(intervals) || !progress.Span.Start.Equal(first) || progress.Rows != 6 {
		t.Errorf("it ended with %+v, %v, want %d intervals from %s", progress, err, len(intervals), first)
	}
	t.publishedOnce("everything", progress.Intervals)
	// Nobody's rows begin nowhere.
	if progress, err := t.backfill(export.Backfill{Definition: hourly("nobody", 77)}); err != nil || progress.Intervals != 0 {
		t.Errorf("of a team without rows: %+v, %v", progress, err)
	}
}

// A long backfill goes on in as many executions as keep its histories short, and loses and doubles nothing between them.
func TestALongBackfillContinuesAsNew(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.work()
	definition := hourly("long", 1)
	definition.Every = export.Duration(24 * time.Hour)
	grid, err := definition.Grid()
	if err != nil {
		t.Fatal(err)
	}
	const days = 120
	start := grid.LastEnded(time.Now()).End.AddDate(0, 0, -days)
	t.run(definition, grid.Containing(start.AddDate(0, 0, days/2)))
	progress, err := t.backfill(export.Backfill{Definition: definition, Start: &start, Parallel: 8})
	if err != nil || progress.Published+progress.AlreadyDone != progress.Intervals || progress.AlreadyDone != 1 || progress.Intervals < days || progress.Executions < 2 {
		t.Errorf("it ended with %+v, %v", progress, err)
	}
	t.publishedOnce("long", progress.Intervals)
}

// TestThePageOnBackfills runs every command of the page, as TestThePageOnTemporal does.
func TestThePageOnBackfills(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.load(24, 1)
	t.work()
	t.apply(shopEvents(tt))
	for _, block := range blocks(tt, "../docs/backfills.md") {
		if strings.HasPrefix(block.text, "exports:") {
			rest := "    team: 1\n    connection: lake\n    s3: {}\n"
			read, err := config.Parse("millrace.yaml", []byte(strings.TrimRight(block.text, "\n")+"\n"+rest))
			if err != nil || len(read.Exports) != 1 || len(read.Exports[0].Earlier) != 1 {
				t.Errorf("docs/backfills.md:%d: %v", block.line, err)
			}
			continue
		}
		if block.language != "yaml" || !strings.HasPrefix(block.text, "backfills:") {
			continue
		}
		read, err := config.Parse("millrace.yaml", []byte(block.text))
		if err != nil || read.Backfills.Budget().Hours == "" || read.Backfills.Reads()["max_threads"] != "1" {
			t.Errorf("docs/backfills.md:%d: %v", block.line, err)
		}
	}
	t.page("../docs/backfills.md", 5)
}

// shopEvents is the definition in the example of a backfill.
func shopEvents(t *testing.T) export.Definition {
	t.Helper()
	content, err := os.ReadFile("../examples/backfill-shop-events.json")
	if err != nil {
		t.Fatal(err)
	}
	backfill, err := export.ParseBackfill(content)
	if err != nil {
		t.Fatal(err)
	}
	return backfill.Definition
}

// (promise 8) While the watermark lags behind, chunks of a backfill give their slots back and say why, and live runs go on;
// when it has caught up, the backfill does, too.
func TestABackfillGivesWay(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.events = behind(t, day) // of its own, for a watermark never goes back
	t.load(6, 1)
	caughtUp := t.lag(40 * time.Second)
	registry := prometheus.NewRegistry()
	governed := t.worker(nil)
	governed.Registerer = registry
	t.workBy(governed)
	testworld.Eventually(tt, patience, func() error {
		if allowed := gauge(tt, registry, "millrace_bulk_chunks_allowed"); allowed > 0 {
			return fmt.Errorf("%v chunks are allowed", allowed)
		}
		return nil
	})
	definition := hourly("gives-way", 1)
	if _, err := t.starter.StartBackfill(t.Context(), hours(definition, 6)); err != nil {
		t.Fatal(err)
	}
	first := starter.Started{WorkflowID: "gives-way-" + clockOf(hour(0))}
	testworld.Eventually(tt, patience, func() error {
		return t.waitsFor(first, "gives way to live work: 0 of 0 chunks at once: the watermark is")
	})
	testworld.Eventually(tt, patience, func() error {
		details := t.currentDetails(starter.BackfillID("gives-way"))
		if !strings.Contains(details, "A worker's governor: 0 chunks of 0 places, 2 at most: the watermark is") {
			return fmt.Errorf("its details are\n%s", details)
		}
		return nil
	})
	// What is due now is not held back by any of that.
	live := t.run(hourly("due", 1), hour(3))
	if outcome := t.outcome(live.WorkflowID, live.RunID); outcome.Status != export.StatusPublished {
		t.Errorf("a live run ended with %+v", outcome)
	}
	if progress, err := t.starter.BackfillProgress(t.Context(), "gives-way"); err != nil || progress.Published != 0 || progress.Running == 0 {
		t.Errorf("meanwhile the backfill is %+v, %v", progress, err)
	}
	caughtUp()
	if progress, err := t.starter.FollowBackfill(t.Context(), "gives-way", nil); err != nil || progress.Published != 6 {
		t.Errorf("it ended with %+v, %v", progress, err)
	}
	t.publishedOnce("gives-way", 6)
}

// lag has the watermark move on, so far behind the clock, until the test ends; after caughtUp it is a second behind.
func (t *thread) lag(behind time.Duration) (caughtUp func()) {
	t.Helper()
	var lag atomic.Int64
	lag.Store(int64(behind))
	mark := func(ctx context.Context) error {
		return t.events.PublishWatermarks(ctx, []eventstore.Mark{{
			Source: "kafka/topic/0", Topic: "topic", Partitions: 1, At: time.Now().Add(-time.Duration(lag.Load())).UTC().Truncate(time.Microsecond), Owner: "test",
		}})
	}
	if err := mark(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var moving sync.WaitGroup
	moving.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if err := mark(ctx); err != nil && ctx.Err() == nil {
					t.Errorf("publish the watermark: %v", err)
				}
			}
		}
	})
	t.Cleanup(func() {
		stop()
		moving.Wait()
	})
	return func() { lag.Store(int64(time.Second)) }
}

// currentDetails are what the UI shows of a workflow that is under way.
func (t *thread) currentDetails(id string) string {
	t.Helper()
	var metadata sdkpb.WorkflowMetadata
	value, err := t.Client.QueryWorkflow(t.Context(), id, "", "__temporal_workflow_metadata")
	if err != nil {
		t.Fatal(err)
	}
	if err := value.Get(&metadata); err != nil {
		t.Fatal(err)
	}
	return metadata.CurrentDetails
}

// gauge reads a metric that has no labels.
func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
