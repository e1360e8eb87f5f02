//go:build world

package promises

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/internal/testworld/testtemporal"
	"github.com/millrace/millrace/worker"
	"github.com/millrace/millrace/workflows"
)

// typed is an input as somebody types it, for the first hour; REPLACE is done on it.
const typed = `{"name": "shop-events", "team": 1, "connection": "lake", "every": "1h", "start": "2026-03-01T00:00:00Z", "end": "2026-03-01T01:00:00Z", "s3": {"prefix": "events"}}`

// Whatever is wrong with a run that was started by hand: it ends at once, with a kind to filter by and a sentence that
// names field, value and remedy.
func TestBadInputGetsAClearAnswer(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.work()
	for _, c := range []struct {
		what, old, new string
		kind           export.Kind
		message        string
	}{
		{"unknown connection", `"lake"`, `"lak"`, export.KindConfig, `shop-events 2026-03-01T00:00:00Z–2026-03-01T01:00:00Z r1: connection "lak" is not in …/millrace.yaml: the connections there are lake, slow, tampered, nowhere, stranger, warehouse`},
		{"bucket missing", `"lake"`, `"nowhere"`, export.KindNotFound, `shop-events 2026-03-01T00:00:00Z–2026-03-01T01:00:00Z r1: list events/_millrace/shop-events/20260301T000000Z--20260301T010000Z/: bucket "BUCKET-missing" at http://…: the bucket does not exist: create it, or correct bucket in the connection (NoSuchBucket)`},
		{"wrong keys", `"lake"`, `"stranger"`, export.KindAuth, `shop-events 2026-03-01T00:00:00Z–2026-03-01T01:00:00Z r1: list events/_millrace/shop-events/20260301T000000Z--20260301T010000Z/: bucket "BUCKET" at http://…: the secret does not fit the access key: correct secret_access_key in the connection (SignatureDoesNotMatch)`},
		{"interval in the future", `"2026-03-01T01:00:00Z"`, `"2096-03-01T01:00:00Z"`, export.KindConfig, `interval 2026-03-01T00:00:00Z–2096-03-01T01:00:00Z ends in the future, it is …Z now: wait until it has ended, or give an earlier one`},
		{"start after end", `"2026-03-01T00:00:00Z"`, `"2026-03-01T02:00:00Z"`, export.KindConfig, `start 2026-03-01T02:00:00Z is not before end 2026-03-01T01:00:00Z: an interval is [start, end), give a later end`},
		{"off the grid", `"2026-03-01T00:00:00Z"`, `"2026-03-01T00:30:00Z"`, export.KindConfig, `start 2026-03-01T00:30:00Z is not a boundary of the export's grid (every 1h): the nearest are 2026-03-01T00:00:00Z and 2026-03-01T01:00:00Z`},
		{"no interval", `"start": "2026-03-01T00:00:00Z", "end": "2026-03-01T01:00:00Z", `, ``, export.KindConfig, `start and end are missing: a run that no schedule starts must say its interval, as RFC 3339 times`},
		{"unknown field", `"every"`, `"evry"`, export.KindConfig, `export "shop-events": unknown field "evry": the fields are name, title, team, model, columns, filters, connection, every, offset, time_zone, earlier, chunk_rows, chunk_bytes, give_up_after, pause_after, proof, order, start, end and redo_before in a run's input, and one block named after the destination, such as "s3"`},
		{"unknown field of the destination", `"prefix"`, `"prefx"`, export.KindConfig, `shop-events 2026-03-01T00:00:00Z–2026-03-01T01:00:00Z r1: export "shop-events": s3: unknown field "prefx": the fields are prefix, format, compression, key, max_file_size`},
		{"unknown destination", `"s3"`, `"s4"`, export.KindConfig, `shop-events 2026-03-01T00:00:00Z–2026-03-01T01:00:00Z r1: export "shop-events": unknown field or destination "s4": the destinations are postgres, s3`},
		{"not JSON of an export", typed, `["shop-events"]`, export.KindConfig, `definition must be a JSON object, such as {"name": "shop-events", …}, not array`},
		{"no input", typed, ``, export.KindConfig, `the workflow has no input: give the definition of an export as JSON; examples/export-shop-events.json is one to copy`},
	} {
		t.Run(c.what, func(tt *testing.T) {
			t := t.in(tt)
			failed := t.fails(strings.Replace(typed, c.old, c.new, 1))
			if failed.Type() != string(c.kind) || !failed.NonRetryable() {
				t.Errorf("its kind is %q (for good: %v), wanted %s", failed.Type(), failed.NonRetryable(), c.kind)
			}
			message := strings.ReplaceAll(failed.Message(), t.bucket, "BUCKET")
			if missing := missingLine(message, c.message); missing != "" || c.message == "" {
				t.Errorf("\ngot    %s\nwanted %s", message, c.message)
			}
			if strings.Contains(message, "not-the-secret") || strings.Contains(message, testworld.Env(t.T, "AWS_SECRET_ACCESS_KEY")) {
				t.Errorf("the message has a secret: %s", message)
			}
		})
	}
	if found := t.objects(); len(found) != 0 {
		t.Errorf("something was written: %v", found)
	}
	// All but the two that have no name are found by it, with their kind.
	testworld.Eventually(tt, patience, func() error {
		runs, err := t.starter.Runs(t.Context(), "shop-events", 100)
		if err == nil && len(runs) != 10 {
			err = fmt.Errorf("%d are found", len(runs))
		}
		for _, run := range runs {
			if run.ErrorKind == "" {
				err = fmt.Errorf("%s has no kind", run.WorkflowID)
			}
		}
		return err
	})
}

// fails starts Export by hand and gives what it ended with.
func (t *thread) fails(input string) *temporal.ApplicationError {
	t.Helper()
	request := &workflowservice.StartWorkflowExecutionRequest{
		Namespace: t.Namespace.Name, WorkflowId: uuid.NewString(), RequestId: uuid.NewString(),
		WorkflowType: &commonpb.WorkflowType{Name: workflows.NameExport}, TaskQueue: &taskqueuepb.TaskQueue{Name: workflows.QueueControl},
	}
	if input != "" {
		request.Input = &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(input)}}}
	}
	started, err := t.Client.WorkflowService().StartWorkflowExecution(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = t.Client.GetWorkflow(t.Context(), request.WorkflowId, started.RunId).Get(t.Context(), nil)
	var failed *temporal.ApplicationError
	if !errors.As(err, &failed) {
		t.Fatalf("it ended with %v", err)
	}
	if took := time.Since(began); took > patience {
		t.Errorf("it ended after %s", took)
	}
	return failed
}

func TestAWorkerRefusesANamespaceWithoutSearchAttributes(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.Namespace = testtemporal.New(tt)
	err := worker.Run(t.Context(), t.worker(nil))
	want := strings.ReplaceAll("namespace \"NAMESPACE\" has no search attribute MillraceDestination, MillraceErrorKind, MillraceExport, MillraceIntervalEnd: run `millrace setup`, or\n"+
		"  temporal operator search-attribute create --namespace NAMESPACE --name MillraceDestination --type Keyword\n"+
		"  temporal operator search-attribute create --namespace NAMESPACE --name MillraceErrorKind --type Keyword\n"+
		"  temporal operator search-attribute create --namespace NAMESPACE --name MillraceExport --type Keyword\n"+
		"  temporal operator search-attribute create --namespace NAMESPACE --name MillraceIntervalEnd --type Datetime", "NAMESPACE", t.Namespace.Name)
	if err == nil || err.Error() != want {
		t.Fatalf("got    %v\nwanted %s", err, want)
	}
	// The lines that it prints are the remedy.
	for line := range strings.Lines(want) {
		if command, is := strings.CutPrefix(strings.TrimSpace(line), "temporal "); is {
			if output, err := t.shell("temporal " + command); err != nil {
				t.Fatalf("%s: %v\n%s", command, err, output)
			}
		}
	}
	testworld.Eventually(tt, patience, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return worker.Run(ctx, t.worker(cancel))
	})
}
