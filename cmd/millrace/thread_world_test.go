//go:build world

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// The main job by its commands: an event over HTTP becomes a row, and the row a file, once.
func TestAnEventBecomesAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	up := w.start("up")
	address := up.logged("capture takes events")["address"].(string)
	up.logged("worker is ready")
	up.logged("kafka takes events")

	began := time.Now().Truncate(time.Minute)
	sent := map[string]bool{}
	for i := range 5 {
		id := uuid.NewString()
		if err := send(t.Context(), address, fmt.Sprint("person", i), id); err != nil {
			t.Fatal(err)
		}
		sent[id] = true
	}
	testworld.Eventually(t, patience, func() error {
		counts, err := w.loaded()
		for id := range sent {
			if err == nil && counts[id] != 1 {
				err = fmt.Errorf("event %s is there %d times", id, counts[id])
			}
		}
		return err
	})
	end := time.Now().Truncate(time.Minute).Add(time.Minute)

	var checkedLake checked
	w.doJSON(&checkedLake, exitDone, "check", "lake")
	if !checkedLake.OK || checkedLake.Kind != "s3" || len(checkedLake.Steps) < 3 {
		t.Errorf("check of a good connection: %+v", checkedLake)
	}

	var changes []starter.Change
	w.doJSON(&changes, exitDone, "apply", "--dry-run")
	if len(changes) != 1 || changes[0].Action != starter.ActionCreate {
		t.Fatalf("dry run: %+v", changes)
	}
	if _, message := w.do(exitUsage, "apply"); message != "millrace: nothing was changed, for there is no terminal to ask at: give --yes to apply, or --dry-run to look only\n" {
		t.Errorf("apply without a terminal says %s", message)
	}
	w.doJSON(&changes, exitDone, "apply", "--yes")
	w.doJSON(&changes, exitDone, "apply", "--yes")
	if changes[0].Action != starter.ActionNone {
		t.Errorf("applied twice, the second time it is %s: %+v", changes[0].Action, changes[0].Fields)
	}

	testworld.Eventually(t, 2*time.Minute, func() error {
		if now := time.Now(); now.Before(end) {
			return fmt.Errorf("%s is not over at %s", end, now)
		}
		return nil
	})
	run := []string{"run", "shop-events", "--start", clock(began), "--end", clock(end)}
	var first, second []runResult
	w.doJSON(&first, exitDone, run...)
	var rows uint64
	for _, result := range first {
		rows += result.Outcome.Rows
	}
	if rows != uint64(len(sent)) {
		t.Errorf("exported %d rows, want %d: %+v", rows, len(sent), first)
	}
	done := w.objects()
	w.doJSON(&second, exitDone, run...)
	for _, result := range second {
		if result.Outcome.Status != export.StatusAlreadyDone {
			t.Errorf("%s again is %s, want already_done", result.Run, result.Outcome.Status)
		}
	}
	for _, result := range second {
		manifest := result.Run.Interval.Key() + "/r0001/manifest.json"
		if count := len(slices.DeleteFunc(w.objects(), func(key string) bool { return !strings.HasSuffix(key, manifest) })); count != 1 {
			t.Errorf("%d manifests %s, want 1", count, manifest)
		}
	}
	// The schedule goes on meanwhile, so only objects of these intervals are compared.
	for _, key := range w.objects() {
		for _, result := range second {
			if strings.Contains(key, result.Run.Interval.Key()) && !slices.Contains(done, key) {
				t.Errorf("the second call wrote %s", key)
			}
		}
	}

	var status statusAnswer
	w.doJSON(&status, exitDone, "status", "shop-events")
	if status.Watermark.At == nil || len(status.Exports[0].Last) == 0 || len(status.Exports[0].Warnings) > 0 {
		t.Errorf("status: %+v", status)
	}
	var verified export.VerifyReport
	w.doJSON(&verified, exitDone, "verify", "shop-events", "--start", clock(began), "--end", clock(end))
	if !verified.Whole() || len(verified.Intervals) != len(first) {
		t.Errorf("verify: %+v", verified)
	}
	var ledger []recordedRun
	w.doJSON(&ledger, exitDone, "runs", "shop-events")
	var recorded uint64
	for _, run := range ledger {
		if run.Status != eventstore.StatusPublished || run.Proof != export.ProofReadback || run.Source == nil || run.Stored == nil || *run.Source != *run.Stored {
			t.Errorf("runs: %+v", run)
		}
		if !run.Start.Before(began) && !run.End.After(end) {
			recorded += run.Rows
		}
	}
	if recorded != uint64(len(sent)) {
		t.Errorf("the ledger has %d rows of %d", recorded, len(sent))
	}
	if table, _ := w.do(exitDone, "runs", "--since", clock(began)); !strings.Contains(table, "readback  "+ledger[0].Source.HashText()) {
		t.Errorf("runs prints\n%s", table)
	}
	table, _ := w.do(exitDone, "status")
	if !strings.Contains(table, "shop-events  1m     1     s3:lake") {
		t.Errorf("status prints\n%s", table)
	}

	_, message := w.do(exitUsage, "run", "nope", "--start", clock(began), "--end", clock(end))
	if want := "millrace: no export is named \"nope\": the exports are shop-events; create it with `millrace apply -f " + w.file + "`\n"; message != want {
		t.Errorf("got  %swant %s", message, want)
	}
	for _, wrong := range []struct{ start, end, want string }{
		{clock(began), "2100-01-01T00:00:00Z", `^millrace: .* has more than 1,000 intervals of 1m, which is what one call takes: use .millrace backfill shop-events --start \S+ --end 2100-01-01T00:00:00Z.\n$`},
		{clock(began), clock(time.Now().Truncate(time.Minute).Add(time.Hour)), `^millrace: end \S+ is in the future, it is \S+ now: the last whole interval that has ended is \S+–\S+\n$`},
		{clock(began.Add(time.Second)), clock(end), `^millrace: start \S+01Z is not a boundary of the export's grid \(every 1m\): the nearest are \S+ and \S+\n$`},
	} {
		_, message := w.do(exitUsage, "run", "shop-events", "--start", wrong.start, "--end", wrong.end)
		if !regexp.MustCompile(wrong.want).MatchString(message) {
			t.Errorf("got  %swant %s", message, wrong.want)
		}
	}
	up.interrupt()
	if code := up.wait(); code != exitDone {
		t.Errorf("up drained with exit code %d", code)
	}
}

func TestCheckOfAMissingBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.environment = append(w.environment, "MILLRACE_S3_BUCKET="+w.bucket+"-not")
	var report checked
	w.doJSON(&report, exitNegative, "check", "lake", "--local")
	if report.OK {
		t.Errorf("a bucket that is not there is fine: %+v", report)
	}
	out, message := w.do(exitNegative, "check", "lake", "--local")
	if !strings.Contains(out, "FAILED") || message != "millrace: connection \"lake\" does not work yet\n" {
		t.Errorf("prints\n%s%s", out, message)
	}
}
