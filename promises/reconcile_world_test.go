//go:build world

package promises

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

// reconcile has the first so many hours of the day reconciled, all runs compared.
func (t *thread) reconcile(definition export.Definition, n int) export.ReconcileReport {
	t.Helper()
	start, end := hour(0).Start, hour(n-1).End
	report, err := t.starter.Reconcile(t.Context(), export.ReconcileTask{Definition: definition, Start: &start, End: &end, All: true})
	if err != nil {
		t.Fatal(err)
	}
	if total := len(report.Standings) + report.States[export.StateProved]; report.Intervals != n || total != n {
		t.Errorf("of %d intervals %d have a state: %+v", n, total, report)
	}
	return report
}

// forget deletes an hour of an export from the ledger, as somebody would who repairs it badly.
func (t *thread) forget(name string, interval export.Interval) {
	t.Helper()
	eventstoretest.Exec(t.T, fmt.Sprintf("ALTER TABLE `%s`.ledger DELETE WHERE export = '%s' AND interval_start = toDateTime(%d, 'UTC') SETTINGS mutations_sync = 2",
		t.events.Database(), name, interval.Start.Unix()))
}

// record is the ledger row of an interval, which has one.
func (t *thread) record(name string, interval export.Interval) eventstore.LedgerRow {
	t.Helper()
	rows, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: name, Interval: interval})
	if err != nil || len(rows) != 1 {
		t.Fatalf("of %s the ledger has %+v, %v", interval, rows, err)
	}
	return rows[0]
}

// (promise 8) Whatever happened to intervals and runs is found, and what can be healed is.
func TestReconcileFindsWhatHappened(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	const n = 15
	const (
		long, untouched, forgotten, skipped, deleted, inserted, removed, altered, failed, underWay, waits, cancelled, pausedFrom = 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
	)
	t.events = behind(t, hour(waits).Start)
	t.load(n, 1)
	t.work()
	t.starter.Namespace = t.Name
	definition := hourly("reconciled", 1)
	t.apply(definition)
	for _, h := range []int{untouched, forgotten, deleted, inserted, removed, altered} {
		t.run(definition, hour(h))
	}
	t.run(definition, export.Interval{Start: hour(long).Start, End: hour(long + 1).End})

	w := newWarehouse(t)
	inTable := w.into("reconciled-rows", 1, "append")
	for _, h := range []int{untouched, deleted, removed} {
		t.run(inTable, hour(h))
	}
	w.do(t, fmt.Sprintf("DELETE FROM SCHEMA.events WHERE inserted_at >= '%s' AND inserted_at < '%s' AND distinct_id = '0'",
		hour(removed).Start.Format(time.RFC3339), hour(removed).End.Format(time.RFC3339)))

	before := t.record(definition.Name, hour(forgotten))
	t.forget(definition.Name, hour(forgotten))
	eventstoretest.Exec(tt, fmt.Sprintf("ALTER TABLE `%s`.events DELETE WHERE inserted_at >= fromUnixTimestamp64Micro(%d) AND inserted_at < fromUnixTimestamp64Micro(%d) AND distinct_id = '0' SETTINGS mutations_sync = 2",
		t.events.Database(), hour(deleted).Start.UnixMicro(), hour(deleted).End.UnixMicro()))
	late, _ := block(hour(inserted).Start.Add(59*time.Minute), 1, 1, `{"late": true}`)
	eventstoretest.LoadPast(tt, t.events, late)
	file := func(h int) string {
		keys := slices.DeleteFunc(ending(t.objects(), ".jsonl"), func(key string) bool { return !strings.Contains(key, "/"+hour(h).Key()+"/") })
		if len(keys) != 1 {
			t.Fatalf("%s has the files %v", hour(h), keys)
		}
		return keys[0]
	}
	removedFile, alteredFile := file(removed), file(altered)
	if _, err := t.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &t.bucket, Key: &removedFile}); err != nil {
		t.Fatal(err)
	}
	mark := strings.Replace(t.markKey(definition.Name, 1), hour(0).Key(), export.Interval{Start: hour(long).Start, End: hour(long + 1).End}.Key(), 1)
	if _, err := t.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &t.bucket, Key: &mark}); err != nil {
		t.Fatal(err)
	}
	t.put(alteredFile, flipped(t.read(alteredFile)), nil)

	nowhere := definition
	nowhere.Connection = "nowhere"
	t.run(nowhere, hour(failed))
	stuck, release := make(chan struct{}), make(chan struct{})
	var once, freed sync.Once
	free := func() { freed.Do(func() { close(release) }) }
	tt.Cleanup(free)
	t.tamper.do(nil, func(string) {
		once.Do(func() { close(stuck) })
		<-release
	}, func(_ string, content []byte) []byte { // by a second attempt
		<-release
		return content
	})
	way := definition
	way.Connection = "tampered"
	running, err := t.starter.Start(t.Context(), way, hour(underWay))
	if err != nil {
		t.Fatal(err)
	}
	<-stuck
	waiting := map[int]starter.Started{}
	for _, h := range []int{waits, cancelled} {
		started, err := t.starter.Start(t.Context(), definition, hour(h))
		if err != nil {
			t.Fatal(err)
		}
		testworld.Eventually(tt, patience, func() error { return t.waitsFor(started, "needs") })
		waiting[h] = started
	}
	if err := t.Client.CancelWorkflow(t.Context(), waiting[cancelled].WorkflowID, waiting[cancelled].RunID); err != nil {
		t.Fatal(err)
	}
	t.ends(waiting[cancelled])
	if _, _, err := t.starter.Pause(t.Context(), definition.Name, export.Pause{Note: "lunch", By: "ada", Since: hour(pausedFrom).Start.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}

	holds := func(report export.ReconcileReport, want map[int]export.IntervalState) map[int]export.Standing {
		t.Helper()
		found := map[int]export.Standing{}
		for _, standing := range report.Standings {
			found[int(standing.Interval.Start.Sub(day)/time.Hour)] = standing
		}
		for h := range n {
			state, wanted := export.StateProved, export.StateProved
			if standing, there := found[h]; there {
				state = standing.State
			}
			if other, there := want[h]; there {
				wanted = other
			}
			if state != wanted {
				t.Errorf("%s is %s, want %s: %+v", hour(h), state, wanted, found[h])
			}
		}
		return found
	}
	want := map[int]export.IntervalState{
		skipped: export.StateMissing, failed: export.StateFailed, cancelled: export.StateMissing, underWay: export.StateRunning, waits: export.StateWaiting,
		pausedFrom: export.StatePaused, pausedFrom + 1: export.StatePaused,
	}
	report := t.reconcile(definition, n)
	found := holds(report, want)
	if found[failed].Kind != export.KindNotFound || found[failed].Why == "" {
		t.Errorf("what failed is told as %+v", found[failed])
	}
	if !strings.Contains(found[waits].Why, "watermark") || !strings.Contains(found[pausedFrom].Why, "lunch (paused by ada") {
		t.Errorf("why is %q and %q", found[waits].Why, found[pausedFrom].Why)
	}
	if report.Restored != 1 || len(report.Records) != 1 || report.Records[0].Interval != hour(forgotten) || report.Whole() {
		t.Errorf("restored were %d, %v", report.Restored, report.Records)
	}
	if diff := cmp.Diff(before, t.record(definition.Name, hour(forgotten)), cmpopts.IgnoreFields(eventstore.LedgerRow{}, "RecordedAt")); diff != "" {
		t.Errorf("the restored record is otherwise (-was +is):\n%s", diff)
	}
	if want := (export.Interval{Start: hour(skipped).Start, End: hour(cancelled).End}); report.Holes == nil || *report.Holes != want {
		t.Errorf("the holes are %s, want %s", report.Holes, want)
	}
	if report.Published != 7 || report.Compared != 7 || len(report.Findings) != 5 {
		t.Errorf("of %d published runs %d were compared: %+v", report.Published, report.Compared, report.Findings)
	}
	if first := report.Findings[0]; first.Run.Start != hour(long).Start || first.Change != export.ChangeRemoved || first.Chunk != -1 {
		t.Errorf("a manifest that is gone is told as %+v", first)
	}
	for h, change := range map[int]export.Change{deleted: export.ChangeDrift, inserted: export.ChangeDrift, removed: export.ChangeRemoved, altered: export.ChangeAltered} {
		at := slices.IndexFunc(report.Findings, func(f export.Finding) bool { return f.Run.Interval == hour(h) })
		if at < 0 || report.Findings[at].Change != change {
			t.Errorf("%s is not told as %s: %+v", hour(h), change, report.Findings)
			continue
		}
		finding := report.Findings[at]
		rows := uint64(h + 1)
		switch h {
		case deleted, inserted:
			now := rows - 1
			if h == inserted {
				now = rows + 1
			}
			if finding.Ledger == nil || finding.Ledger.Rows != rows || finding.Now == nil || finding.Now.Rows != now {
				t.Errorf("%s had %d rows and has %d; it is told as %+v", hour(h), rows, now, finding)
			}
		default:
			if file := map[int]string{removed: removedFile, altered: alteredFile}[h]; finding.Chunk != 0 || !strings.HasSuffix(file, finding.Location) || !strings.Contains(finding.What, finding.Location) {
				t.Errorf("%s is told as %+v", file, finding)
			}
		}
		t.Log(finding.Change, finding.What)
	}

	// The record is there again, so the next one has nothing to restore. What is missing and what failed is filled.
	if again := t.reconcile(definition, n); again.Restored != 0 {
		t.Errorf("restored again: %v", again.Records)
	}
	free()
	t.ends(running)
	t.promise(time.Now())
	t.ends(waiting[waits])
	if progress, err := t.backfill(export.Backfill{Definition: definition, Start: &report.Holes.Start, End: &report.Holes.End}); err != nil || progress.Published != 3 || progress.AlreadyDone != 6 {
		t.Errorf("the backfill ended with %+v, %v", progress, err)
	}
	for _, h := range []int{skipped, failed, cancelled, underWay, waits} {
		delete(want, h)
	}
	report = t.reconcile(definition, n)
	holds(report, want)
	if report.Holes != nil || report.Published != 12 || report.Compared != 12 || len(report.Findings) != 5 {
		t.Errorf("afterwards it is %+v", report)
	}
	// By another definition the rows would be others, which is no drift. What lies at the destination is told all the same.
	narrower := definition
	narrower.Columns = []string{"uuid", "event"}
	start, end := hour(untouched).Start, hour(removed).End
	other, err := t.starter.Reconcile(t.Context(), export.ReconcileTask{Definition: narrower, Start: &start, End: &end})
	if err != nil || other.Changed[export.ChangeUntold] != 6 || other.Changed[export.ChangeDrift] != 0 || other.Changed[export.ChangeRemoved] != 1 {
		t.Errorf("by another definition it is %+v, %v", other, err)
	}
	t.reconciledHistories(definition)
	t.revises(definition, n, []int{deleted, inserted, removed, altered})

	// What a database holds is compared by the hash that it computes, too.
	start = hour(untouched).Start
	rows, err := t.starter.Reconcile(t.Context(), export.ReconcileTask{Definition: inTable, Start: &start, End: &end, All: true})
	if err != nil || rows.Compared != 3 || len(rows.Findings) != 2 || rows.States[export.StateProved] != 3 || rows.States[export.StateMissing] != 3 {
		t.Fatalf("in a table it is %+v, %v", rows, err)
	}
	if drift := rows.Findings[0]; drift.Run.Interval != hour(deleted) || drift.Change != export.ChangeDrift || drift.Ledger.Rows != deleted+1 || drift.Now.Rows != deleted {
		t.Errorf("in a table, drift is told as %+v", drift)
	}
	// There nobody could tell which rows to replace.
	rows, err = t.starter.Reconcile(t.Context(), export.ReconcileTask{Definition: inTable, Start: &start, End: &end, All: true, Revise: true})
	if err != nil || rows.ChangedRuns != 2 || rows.Healed != 0 || len(rows.Revisions) != 2 || rows.Revisions[0].Kind != export.KindConfig || rows.Whole() {
		t.Errorf("to be revised in a table it is %+v, %v", rows, err)
	}
	if altered := rows.Findings[1]; altered.Run.Interval != hour(removed) || altered.Change != export.ChangeAltered {
		t.Errorf("in a table, a row that is gone is told as %+v", altered)
	}
}

// reconciledHistories replays what Reconcile has left.
func (t *thread) reconciledHistories(definition export.Definition) {
	t.Helper()
	none := 0
	future := time.Now().Add(48 * time.Hour).Truncate(24 * time.Hour)
	_, err := t.starter.Reconcile(t.Context(), export.ReconcileTask{Definition: definition, End: &future, Sample: &none})
	if err == nil || export.KindOf(err) != export.KindConfig || !strings.Contains(err.Error(), "has not ended yet") {
		t.Errorf("a range with an end in the future ends with %v", err)
	}
	answer, err := t.Client.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: `WorkflowType = "` + workflows.NameReconcile + `"`})
	if err != nil || len(answer.Executions) != 5 {
		t.Fatalf("there are %d reconciliations, %v", len(answer.GetExecutions()), err)
	}
	for i, kind := range []string{"reconciled and found wanting", "reconciled again", "reconciled after a backfill", "reconciled by another definition", "reconciled in vain"} {
		execution := answer.Executions[len(answer.Executions)-1-i].Execution // the latest is first
		t.history(kind, starter.Started{WorkflowID: execution.WorkflowId, RunID: execution.RunId})
	}
}

// TestThePageOnReconcile runs every command of the page, as TestThePageOnTemporal does.
func TestThePageOnReconcile(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.load(24, 1)
	t.work()
	t.apply(shopEvents(tt))
	for _, block := range blocks(tt, "../docs/reconcile.md") {
		if block.language != "yaml" {
			continue
		}
		read, err := config.Parse("millrace.yaml", []byte(block.text))
		if err != nil || read.Reconcile == nil || read.Reconcile.String() != "every day at 03:30 Europe/Berlin" || !read.Reconcile.Fill || !read.Reconcile.Remove {
			t.Errorf("docs/reconcile.md:%d: %+v, %v", block.line, read, err)
		}
	}
	t.page("../docs/reconcile.md", 5)
}
