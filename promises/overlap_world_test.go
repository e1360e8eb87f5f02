//go:build world

package promises

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

// span is some hours of the tests' day, the last one taken in.
func span(first, last int) export.Interval {
	return export.Interval{Start: hour(first).Start, End: hour(last).End}
}

// planned writes the plan of an hour and nothing else, as a worker leaves it that is killed then, or whose run fails.
func (t *thread) planned(definition export.Definition, n int) {
	t.Helper()
	definition, err := destinations.Normalize(definition)
	if err != nil {
		t.Fatal(err)
	}
	_, block, err := t.config.Connection(definition.Connection)
	if err != nil {
		t.Fatal(err)
	}
	kind, err := destinations.Lookup(definition.Destination)
	if err != nil {
		t.Fatal(err)
	}
	destination, err := kind.Open(t.Context(), block, definition.Settings, destinations.ShapeOf(definition))
	if err != nil {
		t.Fatal(err)
	}
	rows := uint64(n + 1)
	prepared, err := destination.Prepare(t.Context(), export.Plan{
		Version: export.PlanVersion, Run: export.Run{Export: definition.Name, Interval: hour(n), Revision: export.FirstRevision},
		Definition: definition, DefinitionHash: definition.Hash(), Closing: export.Closing{Rule: export.RuleWatermark, Watermark: "w"},
		Rows: rows, Chunks: []export.Chunk{{Rows: rows}}, By: export.Author{WorkflowID: "killed", RunID: "killed"},
	})
	if err != nil || prepared.Plan.By.WorkflowID != "killed" {
		t.Fatalf("the plan of hour %d: %+v, %v", n, prepared, err)
	}
}

// once wants each of some ids once among those that were exported.
func (t *thread) once(what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if slices.Equal(got, want) {
		return
	}
	seen := map[string]int{}
	for _, id := range got {
		seen[id]++
	}
	twice, missing := 0, 0
	for _, times := range seen {
		if times > 1 {
			twice++
		}
	}
	for _, id := range want {
		if seen[id] == 0 {
			missing++
		}
	}
	t.Errorf("%s: %d rows of %d are missing, and %d are there more than once", what, missing, len(want), twice)
}

// (promise 8) An hourly export is backfilled by days that are partly published: some hours are, some are under way, some were
// begun and left, and live runs of others start in the middle. Each row is there once, in a bucket and in a table, and whoever
// comes later, by hours or by days, finds everything done.
func TestABackfillByDaysLeavesHoursToThoseWhoHaveThem(tt *testing.T) {
	for _, where := range []string{"s3", "postgres"} {
		tt.Run(where, func(tt *testing.T) {
			tt.Parallel()
			t := newThread(tt)
			const n = 48
			ids := t.load(n, 1)
			definition, exported := hourly("overlapped", 1), func() []string { return uuids(t.rows("overlapped")) }
			if where == "postgres" {
				w := newWarehouse(t)
				definition = w.into("overlapped", 1, "append")
				exported = func() []string { return w.list(t, "SELECT uuid::text FROM %s.events") }
			}
			t.work()
			for _, published := range []int{3, 4, 30} {
				t.run(definition, hour(published))
			}
			for _, left := range []int{10, 25} {
				t.planned(definition, left)
			}
			var live []starter.Started
			start := func(n int) {
				t.Helper()
				started, err := t.starter.Start(t.Context(), definition, hour(n))
				if err != nil {
					t.Fatal(err)
				}
				live = append(live, started)
			}
			start(7)
			start(8)
			byDays := hours(definition, n)
			byDays.Step, byDays.Parallel = export.Duration(24*time.Hour), 2
			if _, err := t.starter.StartBackfill(t.Context(), byDays); err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{0, 12, 23, 24, 31, 47} {
				start(n)
			}
			progress, err := t.starter.FollowBackfill(t.Context(), definition.Name, nil)
			if err != nil || progress.Intervals != 2 || progress.Published+progress.AlreadyDone != 2 {
				t.Errorf("the backfill by days ended with %+v, %v", progress, err)
			}
			for _, run := range live {
				if outcome := t.outcome(run.WorkflowID, run.RunID); outcome.Status != export.StatusPublished && outcome.Status != export.StatusAlreadyDone {
					t.Errorf("%s ended with %+v", run.WorkflowID, outcome)
				}
			}
			t.once(where, exported(), ids[1])
			t.history("backfilled by days", starter.Started{WorkflowID: starter.BackfillID(definition.Name)})
			for _, step := range []time.Duration{0, 24 * time.Hour, 8 * time.Hour} {
				again := hours(definition, n)
				again.Step = export.Duration(step)
				if progress, err := t.backfill(again); err != nil || progress.Published != 0 || progress.AlreadyDone != progress.Intervals {
					t.Errorf("again by %s it ended with %+v, %v", step, progress, err)
				}
			}
			t.once(where+", again", exported(), ids[1])
			report, err := t.starter.Verify(t.Context(), definition, span(0, n-1))
			rows := uint64(0)
			for _, one := range report.Intervals {
				rows += one.Rows
			}
			if err != nil || !report.Whole() || rows != n*(n+1)/2 {
				t.Errorf("verified: %d rows, %v, %+v", rows, err, report)
			}
		})
	}
}

// (promise 8) The ways that a run over several hours can go: none is anybody's, and it is one run; some are, and it is cut; a run of one
// of its hours finds it claimed, and works the whole; and an hour that is left over between two others' is a run by itself.
func TestARunOverSeveralHours(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	ids := t.load(12, 1)
	t.work()

	whole := hourly("whole", 1)
	first := t.run(whole, span(0, 11))
	t.history("over several intervals", first)
	if outcome := t.outcome(first.WorkflowID, first.RunID); outcome.Status != export.StatusPublished || outcome.Rows != 78 {
		t.Errorf("twelve hours end with %+v", outcome)
	}
	within := t.run(whole, hour(5))
	t.history("covered already", within)
	if outcome := t.outcome(within.WorkflowID, within.RunID); outcome.Status != export.StatusAlreadyDone || !strings.Contains(outcome.Note, "with all of "+span(0, 11).String()) {
		t.Errorf("an hour of them ends with %+v", outcome)
	}
	t.once("whole", uuids(t.rows("whole")), ids[1])

	cut := hourly("cut", 1)
	for _, n := range []int{3, 5} {
		t.run(cut, hour(n))
	}
	parts := t.run(cut, span(0, 11))
	t.history("cut where others have a part", parts)
	if outcome := t.outcome(parts.WorkflowID, parts.RunID); outcome.Status != export.StatusPublished || outcome.Rows != 78-4-6 || outcome.Files != 3 {
		t.Errorf("what was left of them ends with %+v", outcome)
	}
	var runs []string
	for _, manifest := range t.manifests() {
		if manifest.Run.Export == "cut" && manifest.By.WorkflowID != "" {
			runs = append(runs, fmt.Sprintf("%d-%d r%d", int(manifest.Run.Start.Sub(day).Hours()), int(manifest.Run.End.Sub(day).Hours()), manifest.Run.Revision))
		}
	}
	slices.Sort(runs)
	if want := []string{"0-3 r1", "3-4 r1", "4-5 r2", "5-6 r1", "6-12 r1"}; !slices.Equal(runs, want) {
		t.Errorf("it was cut into %v, want %v", runs, want)
	}
	single := starter.Started{WorkflowID: export.Run{Export: "cut", Interval: hour(4), Revision: 1}.WorkflowID(t.grid(cut))}
	t.history("claimed alone between others'", single)
	t.once("cut", uuids(t.rows("cut")), ids[1])

	dryRun := estimateOf(cut, span(0, 11), false)
	dryRun.Past, dryRun.Step = true, export.Duration(6*time.Hour)
	if estimate, err := t.starter.Estimate(t.Context(), dryRun); err != nil || estimate.Intervals != 2 || estimate.Left.Runs != 0 || estimate.Published.Runs != 5 {
		t.Errorf("by steps of six hours what is done is estimated as %+v, %v", estimate, err)
	}
	dryRun.Redo = true
	if estimate, err := t.starter.Estimate(t.Context(), dryRun); err != nil || estimate.Left.Runs != 2 || estimate.Published.Runs != 0 {
		t.Errorf("a redo of what is done is estimated as %+v, %v", estimate, err)
	}

	joined := hourly("joined", 1)
	joined.Connection = "tampered"
	release := t.hold()
	longer, err := t.starter.Start(t.Context(), joined, span(0, 11))
	if err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(tt, patience, func() error {
		if claims := ending(t.objects(), hour(11).Key()+"/r0001/plan.json"); len(claims) < 3 { // of whole, cut and joined
			return fmt.Errorf("not claimed yet: %v", claims)
		}
		return nil
	})
	joins, err := t.starter.Start(t.Context(), joined, hour(5))
	if err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(tt, patience, func() error {
		var progress export.Progress
		value, err := t.Client.QueryWorkflow(t.Context(), joins.WorkflowID, joins.RunID, workflows.QueryProgress)
		if err == nil {
			err = value.Get(&progress)
		}
		if err == nil && !progress.Run.Interval.Equal(span(0, 11)) {
			err = fmt.Errorf("the hour stands at %+v", progress)
		}
		return err
	})
	release()
	t.ends(longer)
	t.ends(joins)
	t.history("joined the longer run", joins)
	statuses := map[export.Status]int{}
	for _, run := range []starter.Started{longer, joins} {
		outcome := t.outcome(run.WorkflowID, run.RunID)
		statuses[outcome.Status]++
		if !outcome.Run.Interval.Equal(span(0, 11)) || outcome.Rows != 78 {
			t.Errorf("%s ended with %+v", run.WorkflowID, outcome)
		}
	}
	if statuses[export.StatusPublished] != 1 || statuses[export.StatusAlreadyDone] != 1 {
		t.Errorf("the two ended as %v", statuses)
	}
	t.once("joined", uuids(t.rows("joined")), ids[1])

	// Where files appear in order, claims hold nobody back: they are no runs that could still show any.
	inOrder := hourly("in-order", 1)
	inOrder.Order = export.OrderStrict
	for _, interval := range []export.Interval{span(0, 5), hour(6), span(7, 11)} {
		run := t.run(inOrder, interval)
		if outcome := t.outcome(run.WorkflowID, run.RunID); outcome.Status != export.StatusPublished || outcome.Run.Revision != export.FirstRevision {
			t.Errorf("in order, %s ended with %+v", interval, outcome)
		}
	}
	t.once("in order", uuids(t.rows("in-order")), ids[1])

	// An hour that the ledger has forgotten is one of the longer run's, whose row is written again, once.
	t.forget("whole", hour(0))
	report := t.reconcile(whole, 12)
	if report.States[export.StateProved] != 12 || report.Restored != 1 {
		t.Errorf("reconciled: %+v", report)
	}
	// A redo by hours does the longer run again, once.
	again := hours(whole, 12)
	again.Redo, again.RedoReason, again.Parallel = true, "the reader has lost it", 1
	if progress, err := t.backfill(again); err != nil || progress.Published != 1 || progress.AlreadyDone != 11 || progress.Rows != 78 {
		t.Errorf("the redo ended with %+v, %v", progress, err)
	}
	if manifest := t.manifest("events/_millrace/whole/" + span(0, 11).Key() + "/r0002/manifest.json"); manifest.Rows != 78 || manifest.Replaces == nil || manifest.Replaces.Reason != "the reader has lost it" {
		t.Errorf("the second revision is %+v", manifest)
	}

	tooLong := export.Interval{Start: day.Add(-1001 * time.Hour), End: day}
	refused, err := t.starter.Start(t.Context(), whole, tooLong)
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.PlainFailure(t.Client.GetWorkflow(t.Context(), refused.WorkflowID, refused.RunID).Get(t.Context(), nil)); export.KindOf(err) != export.KindConfig || !strings.Contains(err.Error(), "more than 1000 intervals of 1h") {
		t.Errorf("1001 hours end with %v", err)
	}
}

func (t *thread) grid(definition export.Definition) export.Grid {
	t.Helper()
	grid, err := definition.Grid()
	if err != nil {
		t.Fatal(err)
	}
	return grid
}

// (promise 8) Runs of hours and of several hours start at the same moment, under ids of all sorts, several of each: all of them end,
// and each row is there once. The seed tells which.
func TestRunsOfOverlappingIntervalsRace(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	const n, rounds, each = 8, 4, 8
	ids := t.load(n, 1)
	t.work()
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds {
		definition := hourly(fmt.Sprintf("raced-%d", round), 1)
		asked := []export.Interval{span(0, n-1), span(0, n-1)}
		for range each {
			first := random.IntN(n)
			last := first + random.IntN(n-first)
			if random.IntN(2) == 0 {
				last = first
			}
			asked = append(asked, span(first, last))
		}
		var runs sync.WaitGroup
		for i, interval := range asked {
			runs.Go(func() {
				run, err := t.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: fmt.Sprintf("%s by %d", definition.Name, i), TaskQueue: workflows.QueueControl},
					workflows.NameExport, export.Input{Definition: definition, Start: &interval.Start, End: &interval.End})
				if err == nil {
					err = run.Get(t.Context(), nil)
				}
				if err != nil {
					t.Errorf("%s, %s: %v", definition.Name, interval, err)
				}
			})
		}
		runs.Wait()
		t.once(fmt.Sprintf("round %d of %v", round, asked), uuids(t.rows(definition.Name)), ids[1])
	}
}
