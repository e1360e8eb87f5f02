//go:build world

package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// An export is paused with a note that others read, resumed with what the pause left out, and deleted with what runs.
func TestAnExportIsPausedResumedAndDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(exitDone, "setup")
	w.do(exitDone, "apply", "--yes")
	matches := func(what, text, want string) {
		t.Helper()
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("%s says\n%s\nwant %s", what, text, want)
		}
	}

	_, message := w.do(exitUsage, "runs", "nope")
	matches("runs of an export that is not there", message, `^millrace: no export is named "nope": the exports are shop-events; `)
	_, message = w.do(exitNegative, "check", "shop-events", "--local")
	matches("check of an export as a connection", message, `millrace: connection "shop-events" does not work yet; an export has that name, and is checked by: millrace check --export shop-events\n$`)

	out, _ := w.do(exitDone, "pause", "shop-events", "--note", "the bucket moves")
	const paused = `the bucket moves \(paused by \S+@\S+ at 20\d\d-\S+Z\)\n`
	matches("pause", out, `^shop-events is paused: `+paused)
	_, message = w.do(exitNegative, "pause", "shop-events", "--note", "I was late")
	matches("a second pause", message, `^millrace: shop-events is paused already: `+paused)
	out, _ = w.do(exitDone, "status", "shop-events")
	matches("status", out, `paused since 20\d\d-\S+Z by \S+@\S+: the bucket moves\nwhat falls due meanwhile is started by nobody: .millrace resume shop-events. ends the pause\n`)
	var changes []starter.Change
	if w.doJSON(&changes, exitDone, "apply", "--yes"); changes[0].Action != starter.ActionNone {
		t.Errorf("apply finds a difference in a pause: %+v", changes)
	}
	var status statusAnswer
	if w.doJSON(&status, exitDone, "status"); !status.Exports[0].Paused || status.Exports[0].PausedBy == "" || status.Exports[0].PausedSince == nil {
		t.Errorf("status: %+v", status.Exports[0])
	}
	out, _ = w.do(exitDone, "resume", "shop-events")
	matches("resume", out, `^shop-events goes on. It was paused: `+paused)
	if _, message = w.do(exitNegative, "resume", "shop-events"); message != "millrace: shop-events is not paused\n" {
		t.Errorf("a second resume says %s", message)
	}

	// One that was paused a while ago, and one by Temporal's own tools.
	schedule := w.temporal().ScheduleClient().GetHandle(t.Context(), "shop-events")
	since := time.Now().Add(-5 * time.Minute).UTC().Truncate(time.Second)
	pauseAs := func(notes string) {
		t.Helper()
		if err := schedule.Pause(t.Context(), client.SchedulePauseOptions{Note: notes}); err != nil {
			t.Fatal(err)
		}
		testworld.Eventually(t, patience, func() error {
			now, err := schedule.Describe(t.Context())
			if err == nil && now.Schedule.State.Note != notes {
				err = fmt.Errorf("its notes are %q", now.Schedule.State.Note)
			}
			return err
		})
	}
	pauseAs(export.Pause{Note: "lunch", By: "ada@laptop", Since: since}.String())
	var resumed pauseAnswer
	w.doJSON(&resumed, exitDone, "resume", "shop-events")
	if missed := resumed.Missed; missed == nil || !missed.Start.Equal(since.Truncate(time.Minute)) || missed.End.Before(since.Add(4*time.Minute)) ||
		missed.End.After(time.Now()) || resumed.By != "ada@laptop" || resumed.Note != "lunch" {
		t.Errorf("resumed after five minutes: %+v", resumed)
	}
	pauseAs(export.Pause{Note: "tea", By: "ada@laptop", Since: since}.String())
	resumed = pauseAnswer{}
	if w.doJSON(&resumed, exitDone, "resume", "shop-events", "--fill"); resumed.Missed == nil || resumed.Backfill != starter.BackfillID("shop-events") {
		t.Errorf("resumed and filled: %+v", resumed)
	}
	if progress, err := w.temporal().DescribeWorkflowExecution(t.Context(), resumed.Backfill, ""); err != nil || progress.WorkflowExecutionInfo.Type.Name != "Backfill" {
		t.Errorf("the backfill is %v, %v", progress, err)
	}
	// Nobody works for the backfill yet.
	out, _ = w.do(exitDone, "status", "shop-events")
	matches("status beside a backfill", out, `\nshop-events: a backfill is under way: workflow backfill-shop-events; no worker tells where it stands\n`)
	pauseAs(export.Pause{Note: "supper", By: "ada@laptop", Since: since.Add(-10 * time.Minute)}.String())
	out, message = w.do(exitNegative, "resume", "shop-events", "--fill")
	matches("resume beside another backfill", out, `^shop-events goes on. It was paused: supper .*\nWhat fell due meanwhile was not started. To fill it:\n  millrace backfill shop-events --start \S+ --end \S+\n$`)
	matches("resume beside another backfill", message, `^millrace: it is not filled now, for another backfill is under way: fill it when that has ended, which .millrace backfill shop-events --follow. shows\n$`)
	out, _ = w.do(exitDone, "pause", "shop-events", "--note", "night")
	matches("pause beside a backfill", out, `\na backfill goes on, and is paused by: millrace backfill shop-events --pause\n$`)
	_, message = w.do(exitUsage, "backfill", "shop-events", "--start", clock(since.Add(-time.Hour).Truncate(time.Minute)))
	matches("a backfill beside another", message, `is under way, as workflow backfill-shop-events, from 20\d\d-\S+Z to 20\d\d-\S+Z: it is of another range`)
	w.do(exitDone, "resume", "shop-events")
	pauseAs(export.Pause{Note: "all failed.", By: export.PausedByMillrace, Since: since, From: since.Add(-time.Hour).Truncate(time.Minute)}.String())
	resumed = pauseAnswer{}
	if w.doJSON(&resumed, exitDone, "resume", "shop-events"); resumed.Missed == nil || !resumed.Missed.Start.Equal(since.Add(-time.Hour).Truncate(time.Minute)) || resumed.By != export.PausedByMillrace {
		t.Errorf("resumed after a pause for failures: %+v", resumed)
	}
	pauseAs("by the UI")
	out, _ = w.do(exitDone, "resume", "shop-events")
	matches("resume of a pause by the UI", out, `^shop-events goes on. It was paused: by the UI\nSince when is not known. .*\n  millrace reconcile shop-events --fill\n$`)

	// Without a loader a run waits for the watermark, and is cancelled.
	if _, message = w.do(exitUsage, "delete", "shop-events"); message != "millrace: nothing was changed, for there is no terminal to ask at: give --yes to delete\n" {
		t.Errorf("delete without a terminal says %s", message)
	}
	worker := w.start("worker")
	worker.logged("worker is ready")
	if err := schedule.Trigger(t.Context(), client.ScheduleTriggerOptions{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL}); err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(t, patience, func() error {
		w.doJSON(&status, exitDone, "status", "shop-events")
		if status.Exports[0].Running == 0 {
			return fmt.Errorf("nothing runs: %+v", status.Exports[0])
		}
		return nil
	})
	var deleted starter.Deleted
	w.doJSON(&deleted, exitDone, "delete", "shop-events", "--yes")
	if deleted.Cancelled == 0 || !deleted.Backfill || deleted.Running > 0 || deleted.Definition.Name != "shop-events" {
		t.Errorf("delete: %+v", deleted)
	}
	if w.doJSON(&status, exitDone, "status"); len(status.Exports) > 0 {
		t.Errorf("after delete there are %+v", status.Exports)
	}
	testworld.Eventually(t, patience, func() error {
		filling, err := w.temporal().DescribeWorkflowExecution(t.Context(), starter.BackfillID("shop-events"), "")
		if err == nil && filling.WorkflowExecutionInfo.Status != enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED {
			err = fmt.Errorf("the backfill is %s", filling.WorkflowExecutionInfo.Status)
		}
		return err
	})
	var ledger []recordedRun
	if w.doJSON(&ledger, exitDone, "runs", "shop-events"); len(ledger) == 0 || ledger[0].Status != eventstore.StatusCancelled || ledger[0].ErrorKind != export.KindCancelled {
		t.Errorf("the ledger has %+v", ledger)
	}
	_, message = w.do(exitUsage, "delete", "shop-events", "--yes")
	matches("a second delete", message, `^millrace: no export is named "shop-events"`)

	// To programs a backfill is told line by line.
	w.do(exitDone, "apply", "--yes")
	store, err := eventstore.Open(t.Context(), w.events)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.PublishWatermarks(t.Context(), []eventstore.Mark{{Source: "kafka/topic/0", Topic: "topic", Partitions: 1, At: since, Owner: "test"}}); err != nil {
		t.Fatal(err)
	}
	until := since.Truncate(time.Minute)
	w.do(exitDone, "backfill", "shop-events", "--start", clock(until.Add(-3*time.Minute)), "--end", clock(until), "--detach")
	out, _ = w.do(exitDone, "backfill", "shop-events", "--follow", "--json")
	var last export.BackfillProgress
	for line := range strings.Lines(out) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%v in the line %s", err, line)
		}
	}
	if last.State != export.BackfillDone || last.Published != 3 {
		t.Errorf("a backfill that was followed ended with %s", out)
	}

	out, _ = w.do(exitDone, "delete", "shop-events", "--yes")
	if strings.Contains(out, "backfill is cancelled") {
		t.Errorf("delete tells of a backfill that had ended before:\n%s", out)
	}
	for _, want := range []string{"shop-events is deleted; ", "left: what was exported, at s3:lake, prefix events\n", "left: the ledger, which `millrace runs shop-events` lists\n", "left: the export in your file"} {
		if !strings.Contains(out, want) {
			t.Errorf("delete does not say %q:\n%s", want, out)
		}
	}
}

// temporal is a client of the world's namespace.
func (w *world) temporal() client.Client {
	w.t.Helper()
	options, err := config.TemporalOptions()
	if err != nil {
		w.t.Fatal(err)
	}
	options.Namespace = w.namespace
	connected, err := client.Dial(options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(connected.Close)
	return connected
}
