//go:build world

package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

// What failed for a bucket that was not there is done by one command once it is.
func TestWhatFailedIsRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	later := w.bucket + "-later"
	w.environment = append(w.environment, "MILLRACE_S3_BUCKET="+later)
	// Days, so that the schedule starts nothing of its own meanwhile.
	write(t, w.file, `teams:
  - {id: 1, name: shop, token: mr_shop}
connections:
  - name: lake
    s3: {bucket: env:MILLRACE_S3_BUCKET, region: env:AWS_REGION, endpoint: env:MILLRACE_S3_ENDPOINT, access_key_id: env:AWS_ACCESS_KEY_ID, secret_access_key: env:AWS_SECRET_ACCESS_KEY}
exports:
  - {name: shop-days, team: 1, connection: lake, every: 1d, s3: {prefix: events, format: parquet}}
`)
	up := w.start("up")
	up.logged("worker is ready")
	w.do(exitDone, "apply", "--yes")
	days := func(from, to int) (start, end string) {
		today := time.Now().UTC().Truncate(24 * time.Hour)
		return clock(today.AddDate(0, 0, from)), clock(today.AddDate(0, 0, to))
	}
	start, end := days(-5, -2)
	if _, said := w.do(exitDone, "run", "shop-days", "--failed", "--end", end); said != "nothing of shop-days is to be repeated: no interval's last run failed\n" {
		t.Errorf("with nothing to repeat it says\n%s", said)
	}
	w.do(exitNegative, "run", "shop-days", "--start", start, "--end", end)

	// Status says so, and when the export is paused for it.
	out, _ := w.do(exitDone, "status")
	if !regexp.MustCompile(`\nshop-days: all 3 runs have failed since 20\S+Z, the last of not_found: .* What to do: docs/runbooks/not_found.md; unless a run succeeds it is paused at 20\S+Z\n`).MatchString(out) {
		t.Errorf("status says\n%s", out)
	}
	var status statusAnswer
	if w.doJSON(&status, exitDone, "status"); status.Failing["shop-days"].Runs != 3 || !status.Failing["shop-days"].PausesAt.Equal(status.Failing["shop-days"].Since.Add(24*time.Hour)) {
		t.Errorf("status: %+v", status.Failing)
	}
	var results []runResult
	w.doJSON(&results, exitNegative, "run", "shop-days", "--failed", "--end", end)
	if len(results) != 3 {
		t.Fatalf("repeated %+v", results)
	}
	for i, result := range results {
		if result.Kind != export.KindNotFound || result.Repeats == nil || result.Repeats.Kind != export.KindNotFound || result.Repeats.WorkflowID != result.WorkflowID {
			t.Errorf("%s again ended with %q, repeating %+v", result.Run, result.Kind, result.Repeats)
		}
		if i > 0 && !results[i-1].Run.End.Equal(result.Run.Start) {
			t.Errorf("%s comes after %s: the oldest is to be first", result.Run, results[i-1].Run)
		}
	}

	if _, err := w.s3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &later}); err != nil {
		t.Fatal(err)
	}
	first, middle := days(-4, -3)
	status = statusAnswer{}
	out, said := w.do(exitDone, "run", "shop-days", "--failed", "--start", first, "--end", middle, "--parallel", "2")
	if !strings.Contains(said, "1 interval of shop-days failed, and will be repeated:\n  "+first+"–"+middle+" not_found: ") || strings.Count(out, "published") != 1 {
		t.Errorf("it prints\n%s%s", said, out)
	}
	if w.doJSON(&status, exitDone, "status"); len(status.Failing) > 0 {
		t.Errorf("after a run that was published: %+v", status.Failing)
	}
	var left []recordedRun
	w.doJSON(&left, exitDone, "runs", "shop-days", "--failed")
	if len(left) != 2 || left[0].Status != eventstore.StatusFailed {
		t.Errorf("still to be repeated is %+v", left)
	}
	w.doJSON(&results, exitDone, "run", "shop-days", "--failed", "--end", end)
	if len(results) != 2 || results[0].Outcome.Status != export.StatusPublished || results[1].Outcome.Status != export.StatusPublished {
		t.Errorf("repeated %+v", results)
	}
	w.doJSON(&results, exitDone, "run", "shop-days", "--failed", "--end", end)
	if len(results) != 0 {
		t.Errorf("repeated what is done: %+v", results)
	}
	// Of runs over two days, the one is done by runs of a day each, and the other in half: what is left of it is done.
	midnight := time.Now().UTC().Truncate(24 * time.Hour)
	w.recordFailed("shop-days", midnight.AddDate(0, 0, -5), 48*time.Hour)
	w.recordFailed("shop-days", midnight.AddDate(0, 0, -3), 48*time.Hour)
	for _, want := range []int{1, 0} {
		w.doJSON(&results, exitDone, "run", "shop-days", "--failed")
		if len(results) != want || want == 1 && (results[0].Outcome.Status != export.StatusPublished || !results[0].Run.Start.Equal(midnight.AddDate(0, 0, -3))) {
			t.Errorf("of two days repeated %+v, want %d", results, want)
		}
	}
	// An interval of a length that the export has no more is not guessed at.
	w.recordFailed("shop-days", time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -9), time.Hour)
	if _, said := w.do(exitDone, "run", "shop-days", "--failed"); !strings.Contains(said, " failed, and is no interval of the export's grid (1d) by now") {
		t.Errorf("of an interval that is none it says\n%s", said)
	}
	up.interrupt()
	if code := up.wait(); code != exitDone {
		t.Errorf("up drained with exit code %d", code)
	}
}

// recordFailed writes into the ledger that a run failed, as a worker does.
func (w *world) recordFailed(name string, start time.Time, length time.Duration) {
	w.t.Helper()
	store, err := eventstore.Open(w.t.Context(), w.events)
	if err != nil {
		w.t.Fatal(err)
	}
	defer store.Close()
	if err := store.RecordRun(w.t.Context(), eventstore.LedgerRow{
		Run:    export.Run{Export: name, Interval: export.Interval{Start: start, End: start.Add(length)}, Revision: export.FirstRevision},
		Status: eventstore.StatusFailed, Team: export.Team{ID: 1}, ErrorKind: export.KindQuota, Error: "the bucket is full",
	}); err != nil {
		w.t.Fatal(err)
	}
}
