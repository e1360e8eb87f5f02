//go:build world

package promises

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"
	"go.temporal.io/sdk/converter"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/namespace"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/internal/testworld/testtemporal"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/worker"
	"github.com/millrace/millrace/workflows"

	_ "github.com/millrace/millrace/destinations/postgres" // registers itself
	_ "github.com/millrace/millrace/destinations/s3"       // registers itself
)

// patience is how long a test waits for what takes a moment on a quiet machine.
const patience = 90 * time.Second

// thread is a Millrace of a test's own: namespace, database, bucket and configuration.
type thread struct {
	*testing.T
	testtemporal.Namespace
	starter *starter.Starter
	events  *eventstore.Store
	config  *config.Config
	bucket  string
	s3      *s3.Client
	slow    *slowWay
	tamper  *tamperedWay
	// failures decrypts failures, where the thread has keys; see sealed.
	failures converter.FailureConverter
}

// connections are those of the tests; %[1]s is the bucket, %[2]s the store's address, %[3]s the way to it that a test can
// make slow, and %[4]s the one on which somebody tampers.
const connections = `
connections:
  - name: lake
    s3: {bucket: %[1]s, region: "env:AWS_REGION", endpoint: "%[2]s", access_key_id: "env:AWS_ACCESS_KEY_ID", secret_access_key: "env:AWS_SECRET_ACCESS_KEY"}
  - name: slow
    s3: {bucket: %[1]s, region: "env:AWS_REGION", endpoint: "%[3]s", access_key_id: "env:AWS_ACCESS_KEY_ID", secret_access_key: "env:AWS_SECRET_ACCESS_KEY"}
  - name: tampered
    s3: {bucket: %[1]s, region: "env:AWS_REGION", endpoint: "%[4]s", access_key_id: "env:AWS_ACCESS_KEY_ID", secret_access_key: "env:AWS_SECRET_ACCESS_KEY"}
  - name: nowhere
    s3: {bucket: %[1]s-missing, region: "env:AWS_REGION", endpoint: "%[2]s", access_key_id: "env:AWS_ACCESS_KEY_ID", secret_access_key: "env:AWS_SECRET_ACCESS_KEY"}
  - name: stranger
    s3: {bucket: %[1]s, region: "env:AWS_REGION", endpoint: "%[2]s", access_key_id: "env:AWS_ACCESS_KEY_ID", secret_access_key: "file:wrong-secret"}
  - name: warehouse
    postgres: {url: "env:MILLRACE_POSTGRES_URL"}
`

// newThread makes all but the worker, with the watermark at now.
func newThread(t *testing.T) *thread {
	t.Helper()
	made := &thread{T: t, Namespace: testtemporal.New(t), events: eventstoretest.New(t), bucket: testworld.Name(t)}
	made.starter = &starter.Starter{Temporal: made.Client, Namespace: made.Name}
	if _, err := namespace.Create(t.Context(), made.Client, made.Name, workflows.SearchAttributes()); err != nil {
		t.Fatal(err)
	}
	endpoint := testworld.Env(t, "MILLRACE_S3_ENDPOINT")
	made.s3 = s3.New(s3.Options{
		BaseEndpoint: &endpoint, Region: testworld.Env(t, "AWS_REGION"), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(testworld.Env(t, "AWS_ACCESS_KEY_ID"), testworld.Env(t, "AWS_SECRET_ACCESS_KEY"), ""),
	})
	if _, err := made.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &made.bucket}); err != nil {
		t.Fatal(err)
	}
	made.slow = newSlowWay(t, endpoint)
	made.tamper = newTamperedWay(t, endpoint)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "wrong-secret"), []byte("not-the-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	made.config, err = config.Parse(filepath.Join(folder, "millrace.yaml"), fmt.Appendf(nil, connections, made.bucket, endpoint, made.slow.address, made.tamper.address))
	if err != nil {
		t.Fatal(err)
	}
	made.promise(time.Now())
	return made
}

// promise publishes the watermark, as a loader of one partition would.
func (t *thread) promise(at time.Time) {
	t.Helper()
	if err := t.events.PublishWatermarks(t.Context(), []eventstore.Mark{{
		Source: "kafka/topic/0", Topic: "topic", Partitions: 1, At: at.UTC().Truncate(time.Microsecond), Owner: "test",
	}}); err != nil {
		t.Fatal(err)
	}
}

// work runs a worker until stop is called or the test ends.
func (t *thread) work() (stop func()) {
	t.Helper()
	return t.workBy(t.worker(nil))
}

// workBy runs a worker of another configuration.
func (t *thread) workBy(config worker.Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	config.Ready = func() { close(ready) }
	go func() { ended <- worker.Run(ctx, config) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("the worker did not start: %v", err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func (t *thread) worker(ready func()) worker.Config {
	quiet := slog.New(slog.DiscardHandler)
	return worker.Config{
		Temporal: t.Client, Namespace: t.Name, Log: quiet, Ready: ready,
		Steps: &activities.Steps{Events: t.events, Connections: t.config, Log: quiet},
	}
}

// hourly is an export of one team's events every hour, as plain JSON lines.
func hourly(name string, team int64) export.Definition {
	return export.Definition{
		Name: name, Team: export.Team{ID: team}, Model: export.Model{Name: export.ModelEvents}, Connection: "lake", Every: export.Duration(time.Hour),
		Destination: "s3", Settings: json.RawMessage(`{"prefix": "events", "format": "jsoneachrow", "compression": "none"}`),
	}.WithDefaults()
}

// apply makes or changes the schedule of a definition.
func (t *thread) apply(definition export.Definition) starter.Change {
	t.Helper()
	changes, err := t.starter.Diff(t.Context(), []export.Definition{definition})
	if err != nil {
		t.Fatal(err)
	}
	applied, err := t.starter.Apply(t.Context(), changes[0])
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

// day is the day in the past that tests load rows of.
var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func hour(n int) export.Interval {
	return export.Interval{Start: day.Add(time.Duration(n) * time.Hour), End: day.Add(time.Duration(n+1) * time.Hour)}
}

// block makes rows of a team that arrive together; their uuids come back.
func block(arrival time.Time, team int64, rows int, properties string) (eventstore.Block, []string) {
	made := eventstore.Block{Source: "kafka/topic/0", Arrival: arrival, Token: uuid.NewString()}
	var ids []string
	for i := range rows {
		id := uuid.New()
		ids = append(ids, id.String())
		made.Offsets = append(made.Offsets, uint64(arrival.UnixMicro())+uint64(i))
		made.Rows = append(made.Rows, event.Row{
			TeamID: team, UUID: id, Event: "flight", DistinctID: fmt.Sprint(i), Timestamp: arrival, Properties: properties, ReceivedAt: arrival,
		})
	}
	return made, ids
}

// load loads some rows into each hour, of several teams: team 1 has n+1 rows in hour n, and so on. The ids of team 1 by
// hour come back.
func (t *thread) load(hours int, teams ...int64) map[int64][]string {
	t.Helper()
	ids := map[int64][]string{}
	var blocks []eventstore.Block
	for n := range hours {
		for i, team := range teams {
			made, added := block(hour(n).Start.Add(time.Duration(i)*time.Minute), team, n+1, `{"n": 1}`)
			blocks = append(blocks, made)
			ids[team] = append(ids[team], added...)
		}
	}
	eventstoretest.LoadPast(t.T, t.events, blocks...)
	return ids
}

// objects lists what lies in the bucket: key, entity tag and the time of its last change.
func (t *thread) objects() map[string]string {
	t.Helper()
	found := map[string]string{}
	pages := s3.NewListObjectsV2Paginator(t.s3, &s3.ListObjectsV2Input{Bucket: &t.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range page.Contents {
			found[*object.Key] = *object.ETag + " " + object.LastModified.Format(time.RFC3339Nano)
		}
	}
	return found
}

// ending are the keys that end so, sorted.
func ending(objects map[string]string, suffix string) []string {
	var keys []string
	for key := range objects {
		if strings.HasSuffix(key, suffix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (t *thread) read(key string) []byte {
	t.Helper()
	answer, err := t.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &t.bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// openUploads counts the multipart uploads that are under way.
func (t *thread) openUploads() int {
	t.Helper()
	answer, err := t.s3.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String(t.bucket)})
	if err != nil {
		t.Fatal(err)
	}
	return len(answer.Uploads)
}

// manifests reads all manifests in the bucket, by interval.
func (t *thread) manifests() map[string]export.Manifest {
	t.Helper()
	found := map[string]export.Manifest{}
	for _, key := range ending(t.objects(), "/manifest.json") {
		manifest := t.manifest(key)
		found[manifest.Run.Interval.Key()] = manifest
	}
	return found
}

func (t *thread) manifest(key string) export.Manifest {
	t.Helper()
	var manifest export.Manifest
	if err := json.Unmarshal(t.read(key), &manifest); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return manifest
}

// rows are the lines of all files of an export, decoded.
func (t *thread) rows(name string) []map[string]any {
	t.Helper()
	var rows []map[string]any
	for _, key := range ending(t.objects(), ".jsonl") {
		if !strings.HasPrefix(key, "events/"+name+"/") {
			continue
		}
		for line := range bytes.Lines(t.read(key)) {
			var row map[string]any
			if err := json.Unmarshal(line, &row); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// uuids are the ids in rows, sorted.
func uuids(rows []map[string]any) []string {
	var ids []string
	for _, row := range rows {
		ids = append(ids, fmt.Sprint(row["uuid"]))
	}
	slices.Sort(ids)
	return ids
}

// outcomes waits until an export has that many ended runs, and gives them by their status.
func (t *thread) outcomes(name string, wanted int) map[export.Status]int {
	t.Helper()
	counts := map[export.Status]int{}
	testworld.Eventually(t.T, patience, func() error {
		runs, err := t.starter.Runs(t.Context(), name, 1000)
		if err != nil {
			return err
		}
		if len(runs) < wanted {
			return fmt.Errorf("%d runs of %d are visible", len(runs), wanted)
		}
		for _, run := range runs {
			if run.Closed == nil {
				return fmt.Errorf("%s has not ended", run.WorkflowID)
			}
		}
		clear(counts)
		for _, run := range runs {
			counts[t.outcome(run.WorkflowID, run.RunID).Status]++
		}
		return nil
	})
	return counts
}

func (t *thread) outcome(id, run string) export.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var outcome export.Outcome
	if err := t.Client.GetWorkflow(ctx, id, run).Get(ctx, &outcome); err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return outcome
}

// waitsFor looks whether the pending activity of a run says so.
func (t *thread) waitsFor(started starter.Started, words string) error {
	description, err := t.Client.DescribeWorkflowExecution(t.Context(), started.WorkflowID, started.RunID)
	if err != nil {
		return err
	}
	for _, pending := range description.PendingActivities {
		if strings.Contains(pending.GetLastFailure().GetMessage(), words) {
			return nil
		}
	}
	return fmt.Errorf("no pending activity says %q: %v", words, description.PendingActivities)
}

// behind gives an event store whose watermark has come to at, and no farther.
func behind(t *thread, at time.Time) *eventstore.Store {
	t.Helper()
	store := eventstoretest.New(t.T)
	if err := store.PublishWatermarks(t.Context(), []eventstore.Mark{{
		Source: "kafka/topic/0", Topic: "topic", Partitions: 1, At: at, Owner: "test",
	}}); err != nil {
		t.Fatal(err)
	}
	return store
}
