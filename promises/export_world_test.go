//go:build world

package promises

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/workflows"
)

const allowAll = enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL

func TestADayBackfilledTwiceIsExportedOnce(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	ids := t.load(24, 1)
	t.work()
	t.apply(hourly("shop-events", 1))
	backfill := func() {
		t.Helper()
		err := t.Client.ScheduleClient().GetHandle(t.Context(), "shop-events").Backfill(t.Context(), client.ScheduleBackfillOptions{
			// Both ends are taken in, and a start's time is the end of its interval.
			Backfill: []client.ScheduleBackfill{{Start: hour(0).End, End: hour(23).End, Overlap: allowAll}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	backfill()
	if got := t.outcomes("shop-events", 24); got[export.StatusPublished] != 24 {
		t.Fatalf("the backfill ended with %v", got)
	}
	manifests := t.manifests()
	if len(manifests) != 24 {
		t.Fatalf("there are %d manifests", len(manifests))
	}
	for n := range 24 {
		manifest, found := manifests[hour(n).Key()]
		if !found || manifest.Rows != uint64(n+1) {
			t.Errorf("%s: its manifest says %d rows, wanted %d", hour(n), manifest.Rows, n+1)
		}
		if want := "shop-events-" + hour(n).End.Format(time.RFC3339); manifest.By.WorkflowID != want {
			t.Errorf("%s was published by %s, wanted %s", hour(n), manifest.By.WorkflowID, want)
		}
	}
	if got, want := uuids(t.rows("shop-events")), slices.Sorted(slices.Values(ids[1])); !slices.Equal(got, want) {
		t.Errorf("the files have %d rows, loaded were %d", len(got), len(want))
	}

	before := t.objects()
	backfill()
	if got := t.outcomes("shop-events", 48); got[export.StatusPublished] != 24 || got[export.StatusAlreadyDone] != 24 {
		t.Errorf("after the second backfill the outcomes are %v", got)
	}
	if after := t.objects(); !maps.Equal(before, after) {
		t.Errorf("the second backfill changed the bucket:\nbefore %v\nafter  %v", before, after)
	}
}

func TestATriggerExportsTheLastIntervalThatHasEnded(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.work()
	definition := hourly("shop-events", 1)
	t.apply(definition)
	grid, err := definition.Grid()
	if err != nil {
		t.Fatal(err)
	}
	before := grid.LastEnded(time.Now())
	if err := t.Client.ScheduleClient().GetHandle(t.Context(), "shop-events").Trigger(t.Context(), client.ScheduleTriggerOptions{Overlap: allowAll}); err != nil {
		t.Fatal(err)
	}
	t.outcomes("shop-events", 1)
	manifests := t.manifests()
	if _, found := manifests[before.Key()]; !found && before == grid.LastEnded(time.Now()) {
		t.Errorf("%s has no manifest, there are %v", before, slices.Collect(maps.Keys(manifests)))
	}
	if len(manifests) != 1 {
		t.Errorf("one trigger made %d manifests", len(manifests))
	}
}

func TestTwoExecutionsOfAnIntervalAtOnceLeaveOneSetOfFiles(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	ids := t.load(1, 1, 2, 3)
	t.work()
	definition := hourly("shop-events", 0)
	definition.Team = export.Team{All: true}
	interval := hour(0)
	var runs []client.WorkflowRun
	for _, id := range []string{"one", "other"} {
		run, err := t.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.QueueControl},
			workflows.NameExport, export.Input{Definition: definition, Start: &interval.Start, End: &interval.End})
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, run)
	}
	counts, publisher := map[export.Status]int{}, ""
	for _, run := range runs {
		outcome := t.outcome(run.GetID(), run.GetRunID())
		counts[outcome.Status]++
		if outcome.Status == export.StatusPublished {
			publisher = run.GetRunID()
		}
		if outcome.Rows != 3 {
			t.Errorf("%s says %d rows", run.GetID(), outcome.Rows)
		}
	}
	if counts[export.StatusPublished] != 1 || counts[export.StatusAlreadyDone] != 1 {
		t.Errorf("the outcomes are %v", counts)
	}
	manifest := t.manifests()[interval.Key()]
	if manifest.By.RunID != publisher {
		t.Errorf("the manifest is by %s, %s says that it published", manifest.By.RunID, publisher)
	}
	objects := t.objects()
	if files := ending(objects, ".jsonl"); len(files) != len(manifest.Receipts) || len(objects) != len(files)+2 {
		t.Errorf("beside one plan and one manifest of %d files there are %v", len(manifest.Receipts), slices.Sorted(maps.Keys(objects)))
	}
	want := slices.Sorted(slices.Values(slices.Concat(ids[1], ids[2], ids[3])))
	if got := uuids(t.rows("shop-events")); !slices.Equal(got, want) {
		t.Errorf("the files have %v, loaded were %v", got, want)
	}
}

func TestTwoTeamsNeverSeeEachOthersRows(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	ids := t.load(3, 1, 2)
	t.work()
	for team, name := range map[int64]string{1: "shop-events", 2: "blog-events"} {
		for n := range 3 {
			if _, err := t.starter.Start(t.Context(), hourly(name, team), hour(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for team, name := range map[int64]string{1: "shop-events", 2: "blog-events"} {
		t.outcomes(name, 3)
		rows := t.rows(name)
		for _, row := range rows {
			if row["team_id"] != float64(team) {
				t.Errorf("%s has a row of team %v", name, row["team_id"])
			}
		}
		if got, want := uuids(rows), slices.Sorted(slices.Values(ids[team])); !slices.Equal(got, want) {
			t.Errorf("%s has %d rows, team %d sent %d", name, len(got), team, len(want))
		}
	}
}

func TestAnEmptyIntervalHasAManifestToo(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.work()
	started, err := t.starter.Start(t.Context(), hourly("shop-events", 1), hour(3))
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := t.starter.Follow(t.Context(), started, nil)
	if err != nil || outcome.Status != export.StatusPublished || outcome.Rows != 0 || outcome.Files != 0 {
		t.Fatalf("it ended with %+v, %v", outcome, err)
	}
	manifest, found := t.manifests()[hour(3).Key()]
	if !found || len(manifest.Receipts) != 0 || len(ending(t.objects(), ".jsonl")) != 0 {
		t.Errorf("the manifest is %+v", manifest)
	}
}

// A run that comes before the watermark waits, and says for what; it takes no interval that is not complete.
func TestARunWaitsForTheWatermark(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	ended := time.Now().UTC().Truncate(time.Minute)
	definition := hourly("shop-events", 1)
	definition.Every = export.Duration(time.Minute)
	interval := export.Interval{Start: ended.Add(-time.Minute), End: ended}
	t.events = behind(t, interval.Start.Add(-time.Minute))
	t.work()
	started, err := t.starter.Start(t.Context(), definition, interval)
	if err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(tt, patience, func() error { return t.waitsFor(started, "needs "+interval.End.Format(time.RFC3339)) })
	if found := t.manifests(); len(found) != 0 {
		t.Errorf("there are manifests: %v", found)
	}
	t.promise(interval.End)
	if outcome := t.outcome(started.WorkflowID, started.RunID); outcome.Status != export.StatusPublished {
		t.Errorf("it ended with %+v", outcome)
	}
	if closing := t.manifests()[interval.Key()].Closing; closing.Rule != export.RuleWatermark || !strings.HasPrefix(closing.Watermark, interval.End.Format("2006-01-02T15:04:05")) {
		t.Errorf("it closed by %+v", closing)
	}
}

func TestARunThatTheWatermarkDoesNotReachGivesUpInTime(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	ended := time.Now().UTC().Truncate(time.Minute)
	definition := hourly("shop-events", 1)
	definition.Every, definition.GiveUpAfter = export.Duration(time.Minute), export.Duration(time.Minute)
	interval := export.Interval{Start: ended.Add(-time.Minute), End: ended}
	t.events = behind(t, interval.Start.Add(-time.Minute))
	t.work()
	started, err := t.starter.Start(t.Context(), definition, interval)
	if err != nil {
		t.Fatal(err)
	}
	err = t.Client.GetWorkflow(t.Context(), started.WorkflowID, started.RunID).Get(t.Context(), nil)
	var failed *temporal.ApplicationError
	if !errors.As(err, &failed) || failed.Type() != string(export.KindSourceBehind) {
		t.Fatalf("it ended with %v, want the kind %s", err, export.KindSourceBehind)
	}
	t.history("gave up on the watermark", started)
	for _, words := range []string{"gave up after 1m", "needs " + interval.End.Format(time.RFC3339), "held by partition kafka/topic/0"} {
		if !strings.Contains(failed.Message(), words) {
			t.Errorf("the failure does not say %q: %s", words, failed.Message())
		}
	}
	if found := t.manifests(); len(found) != 0 {
		t.Errorf("there are manifests: %v", found)
	}
	runs, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: definition.Name})
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 1 || runs[0].ErrorKind != export.KindSourceBehind {
		t.Errorf("the ledger has %+v", runs)
	}
}
