//go:build world

package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// early is an age that everything has, also what the store has written in this second.
const early = -time.Minute

// leftTask wants what is left over of the day, of whatever age.
func leftTask(remove bool) destinations.LeftoverTask {
	return destinations.LeftoverTask{
		Export: "shop-events", Span: export.Interval{Start: tenOClock.Add(-time.Hour), End: tenOClock.Add(24 * time.Hour)}, After: early, Remove: remove,
		By:      export.Author{WorkflowID: "reconcile", RunID: "r", At: tenOClock},
		Working: func(export.Run) bool { return false }, Published: func(export.Run) bool { return false },
	}
}

// givenUp is a plan that everybody has given up as soon as it is written, with its file.
func (b bucket) givenUp(t *testing.T) (export.Plan, export.Receipt) {
	t.Helper()
	plan := planOf(t, 10)
	plan.Definition.GiveUpAfter = export.Duration(early)
	d := b.open(t, jsonSettings)
	if _, err := d.Prepare(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	receipt, err := d.WriteChunk(t.Context(), destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "x", Source: lines{10}})
	if err != nil {
		t.Fatal(err)
	}
	return plan, receipt
}

func (b bucket) leftovers(t *testing.T, task destinations.LeftoverTask) export.Leftovers {
	t.Helper()
	found, err := b.open(t, jsonSettings).(destinations.RemovesLeftovers).RemoveLeftovers(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// dataFiles are the names of the data files in the bucket.
func (b bucket) dataFiles(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, line := range b.contents(t) {
		if name, _, _ := strings.Cut(strings.TrimPrefix(line, "object "), ":"); !strings.Contains(name, "/_millrace/") {
			names = append(names, name[strings.LastIndex(name, "/")+1:])
		}
	}
	slices.Sort(names)
	return names
}

func isClosed(err error) bool {
	var closed *export.ClosedError
	return errors.As(err, &closed)
}

// Of a plan that was given up the files go, after its revision is closed: a zombie that publishes later is refused, and who comes
// next works the next revision. What is young, or at work, or only asked about, stays.
func TestWhatAGivenUpRunHasLeftIsRemoved(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	plan, receipt := b.givenUp(t)
	before := b.contents(t)
	young, working, elsewhere := leftTask(true), leftTask(true), leftTask(true)
	young.After = time.Hour
	working.Working = func(run export.Run) bool { return run == plan.Run }
	elsewhere.Span.End = tenOClock
	for name, task := range map[string]destinations.LeftoverTask{"young": young, "at work": working, "of another time": elsewhere} {
		if found := b.leftovers(t, task); found.Found+found.Revisions+found.Removed != 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
	if found := b.leftovers(t, leftTask(false)); found.Found != 1 || found.Revisions != 1 || found.Removed+found.Closed != 0 || found.Bytes == 0 || len(found.Listed) != 1 {
		t.Errorf("asked about: %+v", found)
	}
	if after := b.contents(t); !slices.Equal(before, after) {
		t.Errorf("before:\n%q\nafter:\n%q", before, after)
	}
	if found := b.leftovers(t, leftTask(true)); found.Found != 1 || found.Closed != 1 || found.Removed != 1 {
		t.Errorf("removed: %+v", found)
	}
	if files := b.dataFiles(t); len(files) != 0 {
		t.Errorf("there is %v", files)
	}
	d := b.open(t, jsonSettings)
	if _, err := d.Publish(t.Context(), export.NewManifest(plan, []export.Receipt{receipt}, export.Proof{}, plan.By)); !isClosed(err) {
		t.Errorf("a zombie publishes: %v", err)
	}
	// A zombie may also write its file again: it is nobody's, and goes the next time.
	if _, err := d.WriteChunk(t.Context(), destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "zombie", Source: lines{10}}); err != nil {
		t.Fatal(err)
	}
	prepared, err := d.Prepare(t.Context(), plan)
	if err != nil || prepared.Closed == nil {
		t.Fatalf("who comes next is answered %+v, %v", prepared, err)
	}
	next := planOf(t, 10)
	next.Run.Revision = 2
	manifest, err := runOnce(t.Context(), d, next)
	if err != nil || manifest.Run.Revision != 2 {
		t.Fatalf("the next revision: %+v, %v", manifest, err)
	}
	if found := b.leftovers(t, leftTask(true)); found.Found != 1 || found.Removed != 1 || found.Closed != 0 {
		t.Errorf("removed again: %+v", found)
	}
	// And then there is nothing, also of the published one, and of the one that it takes the place of.
	again := planOf(t, 7)
	again.Run.Revision, again.Replaces = 3, (&export.Redo{Before: manifest.By.At.Add(time.Minute), Reason: "because"}).Replaces(manifest.Run)
	if _, err := runOnce(t.Context(), d, again); err != nil {
		t.Fatal(err)
	}
	if found := b.leftovers(t, leftTask(true)); found.Found+found.Revisions != 0 {
		t.Errorf("of what is published: %+v", found)
	}
	if want, files := []string{"r0002-00000.jsonl", "r0003-00000.jsonl"}, b.dataFiles(t); !slices.Equal(files, want) {
		t.Errorf("there are %v", files)
	}
}

// A zombie that publishes while it is looked for wins, and nothing of it is removed.
func TestWhatIsPublishedMeanwhileIsNotRemoved(t *testing.T) {
	b := newBucket(t)
	plan, receipt := b.givenUp(t)
	disarm, err := failpoint.Arm("s3.closed.put=wait@1")
	if err != nil {
		t.Fatal(err)
	}
	defer disarm()
	type answer struct {
		found export.Leftovers
		err   error
	}
	answers := make(chan answer, 1)
	remover := b.open(t, jsonSettings).(destinations.RemovesLeftovers)
	go func() {
		found, err := remover.RemoveLeftovers(context.Background(), leftTask(true))
		answers <- answer{found, err}
	}()
	for deadline := time.Now().Add(20 * time.Second); failpoint.Hits("s3.closed.put") == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the revision is not being closed")
		}
	}
	if _, err := b.open(t, jsonSettings).Publish(t.Context(), export.NewManifest(plan, []export.Receipt{receipt}, export.Proof{}, plan.By)); err != nil {
		t.Fatal(err)
	}
	disarm()
	if got := <-answers; got.err != nil || got.found.Found+got.found.Removed+got.found.Closed != 0 {
		t.Errorf("it answers %+v, %v", got.found, got.err)
	}
	if files := b.dataFiles(t); len(files) != 1 {
		t.Errorf("there is %v", files)
	}
}

// Who is killed on the way is succeeded, and no file is removed whose revision is open.
func TestAProcessKilledWhileItRemovesIsSucceeded(t *testing.T) {
	for point, closed := range map[string]bool{"s3.closed.put": false, "s3.closed.answered": true, "s3.remove": true, "s3.removed": true} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			b := newBucket(t)
			plan, _ := b.givenUp(t)
			isKilled(t, point, childRun{Connection: b.connection, Plan: plan, Remove: true})
			prepared, err := b.open(t, jsonSettings).Prepare(t.Context(), plan)
			if err != nil || (prepared.Closed != nil) != closed {
				t.Errorf("after the kill it is answered %+v, %v", prepared, err)
			}
			if left := len(b.dataFiles(t)); (left == 0) != (point == "s3.removed") {
				t.Errorf("after the kill there are %d files", left)
			}
			b.leftovers(t, leftTask(true))
			if files := b.dataFiles(t); len(files) != 0 {
				t.Errorf("there is %v", files)
			}
			if _, err := b.open(t, jsonSettings).Publish(t.Context(), export.NewManifest(plan, nil, export.Proof{}, plan.By)); !isClosed(err) {
				t.Errorf("a zombie publishes: %v", err)
			}
		})
	}
}

// The files of a plan that made other keys, for the export's definition was another, are found by that plan.
func TestLeftoversOfAnotherTemplateAreFound(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	b.givenUp(t)
	const other = `{"prefix": "events", "format": "parquet", "key": "dt={date}/{export}-{interval}-r{revision}-{chunk}"}`
	found, err := b.open(t, other).(destinations.RemovesLeftovers).RemoveLeftovers(t.Context(), leftTask(true))
	if err != nil || found.Removed != 1 {
		t.Errorf("it answers %+v, %v", found, err)
	}
	if files := fmt.Sprint(b.dataFiles(t)); files != "[]" {
		t.Errorf("there is %s", files)
	}
}
