//go:build world

package promises

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// trigger has a schedule start a run now, and waits until it has ended, however.
func (t *thread) trigger(name string) starter.Started {
	t.Helper()
	before, err := t.starter.Runs(t.Context(), name, 1000)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, run := range before {
		known[run.RunID] = true
	}
	if err := t.Client.ScheduleClient().GetHandle(t.Context(), name).Trigger(t.Context(), client.ScheduleTriggerOptions{Overlap: allowAll}); err != nil {
		t.Fatal(err)
	}
	var started starter.Started
	testworld.Eventually(t.T, patience, func() error {
		runs, err := t.starter.Runs(t.Context(), name, 1000)
		if err != nil {
			return err
		}
		for _, run := range runs {
			if !known[run.RunID] {
				started = starter.Started{WorkflowID: run.WorkflowID, RunID: run.RunID}
				return nil
			}
		}
		return fmt.Errorf("%s has started nothing", name)
	})
	t.ends(started)
	return started
}

// age puts a failed run of an export into the ledger, like its last but for a time ago.
func (t *thread) age(name string, hours int) {
	t.Helper()
	eventstoretest.Exec(t.T, fmt.Sprintf("INSERT INTO `%[1]s`.ledger SELECT * REPLACE (interval_start - 3600 * %[3]d AS interval_start, interval_end - 3600 * %[3]d AS interval_end, "+
		"recorded_at - INTERVAL %[3]d HOUR AS recorded_at, started_at - INTERVAL %[3]d HOUR AS started_at, 1 AS precedence) "+
		"FROM `%[1]s`.ledger FINAL WHERE export = '%[2]s' ORDER BY recorded_at DESC LIMIT 1 SETTINGS async_insert = 0", t.events.Database(), name, hours))
}

// (promise 9) An export whose runs have failed for a day by nothing but what its user has to mend is paused, by the first run of
// its schedule that fails then, and says how to go on. A pause of people's stays as it is, and who resumes has a day again.
func TestAnExportWhoseUserHasSomethingToMendIsPaused(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.starter.Namespace = t.Name
	t.work()
	definition := hourly("mislaid", 1)
	definition.Connection = "nowhere"
	t.apply(definition)
	notPaused := func(when string) {
		t.Helper()
		if state := t.describe(definition.Name).Schedule.State; state.Paused {
			t.Errorf("%s it is paused: %s", when, state.Note)
		}
	}
	t.trigger(definition.Name)
	notPaused("after one failure")
	t.age(definition.Name, 25)
	t.run(definition, hour(0))
	notPaused("after a run by hand that failed")
	failed := t.trigger(definition.Name)
	t.history("failed and paused", failed)
	status, err := t.starter.Export(t.Context(), definition.Name, 1)
	if err != nil || !status.Paused || status.PausedBy != export.PausedByMillrace || status.PausedSince == nil {
		t.Fatalf("after a day of failures: %+v, %v", status, err)
	}
	for _, part := range []string{" runs have failed since ", "the last of not_found: " + export.KindNotFound.Sentence(), export.KindNotFound.Runbook(), "millrace resume mislaid --fill"} {
		if !strings.Contains(status.Note, part) {
			t.Errorf("its note does not say %q: %s", part, status.Note)
		}
	}
	shown, err := t.shell("temporal workflow metadata --workflow-id " + failed.WorkflowID + " --run-id " + failed.RunID)
	if err != nil || !strings.Contains(shown, "The export is paused") || !strings.Contains(shown, "millrace resume mislaid --fill") {
		t.Errorf("the run's details do not say it: %v\n%s", err, shown)
	}
	note := t.describe(definition.Name).Schedule.State.Note
	t.trigger(definition.Name)
	if again := t.describe(definition.Name).Schedule.State.Note; again != note {
		t.Errorf("the next failure has written the note anew: %s", again)
	}

	resumed, changed, err := t.starter.Resume(t.Context(), definition.Name, "ada@laptop")
	if err != nil || !changed || resumed.Missed == nil || resumed.Missed.Start.After(time.Now().Add(-25*time.Hour)) || resumed.Missed.Start.Before(time.Now().Add(-28*time.Hour)) {
		t.Fatalf("resumed: %+v, %+v, %t, %v", resumed, resumed.Missed, changed, err)
	}
	t.trigger(definition.Name)
	notPaused("just resumed,")

	// By people, with a note of theirs.
	other := definition
	other.Name = "mislaid-too"
	t.apply(other)
	if _, _, err := t.starter.Pause(t.Context(), other.Name, export.Pause{Note: "lunch", By: "ada@laptop", Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	t.trigger(other.Name)
	t.age(other.Name, 25)
	t.trigger(other.Name)
	if status, err := t.starter.Export(t.Context(), other.Name, 1); err != nil || status.Note != "lunch" || status.PausedBy != "ada@laptop" {
		t.Errorf("a pause of people's has become %+v, %v", status, err)
	}

	// What it may never be paused for, and never is to be.
	world, never := definition, definition
	world.Name, never.Name, never.PauseAfter = "unlucky", "patient", export.PauseNever
	for _, one := range []export.Definition{world, never} {
		t.apply(one)
		t.trigger(one.Name)
		t.age(one.Name, 25)
	}
	row := t.record(world.Name, t.failedIntervals(world.Name)[1])
	row.Run.Interval = hour(0)
	row.ErrorKind, row.Error = export.KindDestinationUnavailable, "it does not answer"
	if err := t.events.RecordRun(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	for _, one := range []export.Definition{world, never} {
		t.trigger(one.Name)
		if state := t.describe(one.Name).Schedule.State; state.Paused {
			t.Errorf("%s is paused: %s", one.Name, state.Note)
		}
	}
}

// failedIntervals are those that the ledger has of an export whose runs have all failed, the latest first.
func (t *thread) failedIntervals(name string) []export.Interval {
	t.Helper()
	rows, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: name, Failed: true})
	if err != nil || len(rows) < 2 {
		t.Fatalf("the ledger has %+v, %v", rows, err)
	}
	var found []export.Interval
	for _, row := range rows {
		found = append(found, row.Run.Interval)
	}
	return found
}
