//go:build world && !minio

package s3

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// begun begins an upload and gives its id.
func (b bucket) begun(t testing.TB, key string) string {
	t.Helper()
	created, err := b.client.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: &b.connection.Bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(created.UploadId)
}

// unfinished has the ids of the open uploads.
func (b bucket) unfinished(t testing.TB) []string {
	t.Helper()
	listed, err := b.client.ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: &b.connection.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, one := range listed.Uploads {
		ids = append(ids, aws.ToString(one.UploadId))
	}
	slices.Sort(ids)
	return ids
}

var initiated = regexp.MustCompile(`<Initiated>[^<]*</Initiated>`)

// aged is the real store, which says of the uploads with these ids that they began so long ago.
func (b bucket) aged(t testing.TB, age time.Duration, ids ...string) bucket {
	return b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Method != http.MethodGet || !r.URL.Query().Has("uploads") {
			pass.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		pass.ServeHTTP(answer, r)
		entries := bytes.Split(answer.Body.Bytes(), []byte("</Upload>"))
		for i, entry := range entries {
			if slices.ContainsFunc(ids, func(id string) bool { return bytes.Contains(entry, []byte(id)) }) {
				entries[i] = initiated.ReplaceAll(entry, []byte("<Initiated>"+time.Now().Add(-age).UTC().Format("2006-01-02T15:04:05.000Z")+"</Initiated>"))
			}
		}
		w.Header().Set("Date", answer.Header().Get("Date"))
		w.Header().Set("Content-Type", "application/xml")
		_, _ = io.Copy(w, bytes.NewReader(bytes.Join(entries, []byte("</Upload>"))))
	})
}

// MinIO lists uploads of one whole key alone, and ends old ones by itself (assumptions/s3_minio_test.go), so these run on
// versitygw.

const ownFolder = "events/shop-events/20261122T100000Z--20261122T110000Z/"

// What was left behind is swept by the export's next run: what is older than give_up_after, of any interval of its own,
// and nothing else. A zombie that still works is not disturbed.
func TestOldUploadsOfTheExportAreSwept(t *testing.T) {
	b := newBucket(t)
	old, young := b.begun(t, ownFolder+"r0001-00000.jsonl"), b.begun(t, ownFolder+"r0001-00000.jsonl")
	justUnder := b.begun(t, ownFolder+"r0001-00001.jsonl")
	others := []string{
		b.begun(t, "events/shop-events-2/20261122T100000Z--20261122T110000Z/r0001-00000.jsonl"),
		b.begun(t, "events/shop/20261122T100000Z--20261122T110000Z/r0001-00000.jsonl"),
		b.begun(t, "shop-events/20261122T100000Z--20261122T110000Z/r0001-00000.jsonl"),
	}
	plan := planOf(t, 10)
	if time.Duration(plan.Definition.GiveUpAfter) != 72*time.Hour {
		t.Fatalf("the definition gives up after %s", plan.Definition.GiveUpAfter)
	}
	limited := b.aged(t, 71*time.Hour+59*time.Minute, justUnder)
	if _, err := limited.open(t, jsonSettings).Prepare(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if got := len(b.unfinished(t)); got != 6 {
		t.Errorf("%d uploads are left of 6 that are younger than give_up_after", got)
	}
	if _, err := b.aged(t, 72*time.Hour+time.Minute, append(others, old)...).open(t, jsonSettings).Prepare(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	want := append(others, young, justUnder)
	slices.Sort(want)
	if got := b.unfinished(t); !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
}

// A sweep that fails, before its effect or after it, does not fail the run, and the next one does what it left.
func TestASweepThatFailsEndsNothing(t *testing.T) {
	for point, left := range map[string]int{"s3.sweep.abort": 2, "s3.sweep.aborted": 1} {
		t.Run(point, func(t *testing.T) {
			b := newBucket(t)
			aged := b.aged(t, 100*time.Hour, b.begun(t, ownFolder+"r0001-00000.jsonl"), b.begun(t, ownFolder+"r0001-00001.jsonl"))
			plan := planOf(t, 10)
			disarm, err := failpoint.Arm(point + "=error@1")
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			if _, err := aged.open(t, jsonSettings).Prepare(t.Context(), plan); err != nil {
				t.Error(err)
			}
			if got := len(b.unfinished(t)); got != left || failpoint.Hits(point) == 0 {
				t.Errorf("%d uploads are left, want %d", got, left)
			}
			if _, err := aged.open(t, jsonSettings).Prepare(t.Context(), plan); err != nil {
				t.Error(err)
			}
			if left := b.unfinished(t); len(left) != 0 {
				t.Errorf("left are %q", left)
			}
		})
	}
}

// Killed in the middle of a sweep, a process leaves what it has not come to for the next, and its run can be done by another.
func TestAProcessKilledWhileItSweepsIsSucceeded(t *testing.T) {
	for point, left := range map[string]int{"s3.sweep.abort": 2, "s3.sweep.aborted": 1} {
		t.Run(point, func(t *testing.T) {
			b := newBucket(t)
			aged := b.aged(t, 100*time.Hour, b.begun(t, ownFolder+"r0001-00000.jsonl"), b.begun(t, ownFolder+"r0001-00001.jsonl"))
			plan := planOf(t, 10)
			isKilled(t, point, childRun{Connection: aged.connection, Plan: plan})
			if got := len(b.unfinished(t)); got != left {
				t.Errorf("%d uploads are left, want %d", got, left)
			}
			if _, err := runOnce(t.Context(), aged.open(t, jsonSettings), plan); err != nil {
				t.Fatalf("the successor: %v", err)
			}
			b.wantRun(t, 0)
		})
	}
}

// Whoever may not list uploads exports all the same, and a check tells him.
func TestWhoMayNotListUploadsIsNotSwept(t *testing.T) {
	b := newBucket(t)
	denied := b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Method == http.MethodGet && r.URL.Query().Has("uploads") {
			refuse(w, http.StatusForbidden, "AccessDenied")
			return
		}
		pass.ServeHTTP(w, r)
	})
	if _, err := runOnce(t.Context(), denied.open(t, jsonSettings), planOf(t, 10)); err != nil {
		t.Error(err)
	}
	var detail string
	err := denied.open(t, jsonSettings).Check(t.Context(), func(step destinations.Step) { detail = step.Detail })
	if err != nil || !strings.HasPrefix(detail, "denied: ") {
		t.Errorf("a check says %q (%v)", detail, err)
	}
	err = denied.openInOrder(t, jsonSettings).Check(t.Context(), func(destinations.Step) {})
	if export.KindOf(err) != export.KindPermission || !strings.Contains(err.Error(), "allow s3:ListBucketMultipartUploads") {
		t.Errorf("where files appear in order a check says %v", err)
	}
}

// A store that does not say what time it is has no ages.
func TestAStoreWithoutAClockIsNotSwept(t *testing.T) {
	b := newBucket(t)
	id := b.begun(t, ownFolder+"r0001-00000.jsonl")
	timeless := b.aged(t, 100*time.Hour, id).between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		answer := httptest.NewRecorder()
		pass.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.Header()["Date"] = nil // not even the test's own server writes one then
		w.WriteHeader(answer.Code)
		_, _ = io.Copy(w, answer.Body)
	})
	if _, err := timeless.open(t, jsonSettings).Prepare(t.Context(), planOf(t, 10)); err != nil {
		t.Fatal(err)
	}
	if got := b.unfinished(t); len(got) != 1 {
		t.Errorf("left are %q, and the age of the one is not known", got)
	}
}

// A sweep leaves alone what a run still needs that was given more time than the one that sweeps.
func TestASweepLeavesUploadsThatAnOrderStillNeeds(t *testing.T) {
	b := newBucket(t)
	d, plan, next := b.openInOrder(t, jsonSettings), planInOrder(t, 0, 1), planInOrder(t, 1, 1)
	next.Definition.GiveUpAfter = export.Duration(time.Minute)
	if _, err := d.Prepare(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	own, err := uploadAll(t.Context(), d, plan)
	if err != nil {
		t.Fatal(err)
	}
	stray := d.(*Destination).chunkKey(planInOrder(t, 5, 1).Run, 0)
	if _, err := b.client.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: &b.connection.Bucket, Key: aws.String(stray)}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.older(t, time.Hour).openInOrder(t, jsonSettings).Prepare(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if left := b.uploads(t); left != 1 {
		t.Errorf("%d uploads are left", left)
	}
	if shown, err := d.(destinations.ShowsInOrder).Show(t.Context(), plan, own); err != nil || len(shown.Receipts) != 1 {
		t.Errorf("the run that needs it is answered %+v, %v", shown, err)
	}
}
