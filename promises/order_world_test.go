//go:build world

package promises

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// orderedReader lists a folder over and over, as a reader does that takes files as they appear and remembers the last name:
// whatever appears at or before that name he will never see.
type orderedReader struct {
	seen   []string
	missed []string
	err    error
	ended  chan struct{}
}

// mostLooks bounds the looks of a reader, who looks as fast as the store answers.
const mostLooks = 1_000_000

// reads begins to read a folder, until stop is called, which looks once more.
func (t *thread) reads(folder string) (stop func() *orderedReader) {
	t.Helper()
	reader := &orderedReader{ended: make(chan struct{})}
	reading, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(reader.ended)
		known := map[string]bool{}
		for range mostLooks {
			last := reading.Err() != nil
			listed, err := t.s3.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &t.bucket, Prefix: aws.String(folder)})
			if err != nil {
				reader.err = err
				return
			}
			for _, object := range listed.Contents {
				key := *object.Key
				if known[key] {
					continue
				}
				known[key] = true
				if n := len(reader.seen); n > 0 && key < reader.seen[n-1] {
					reader.missed = append(reader.missed, key+" after "+reader.seen[n-1])
				}
				reader.seen = append(reader.seen, key)
			}
			if last {
				return
			}
		}
		reader.err = fmt.Errorf("it has looked %d times", mostLooks)
	}()
	t.Cleanup(cancel)
	return func() *orderedReader {
		cancel()
		<-reader.ended
		return reader
	}
}

// Four runs of one export, begun in any order, one of them terminated in the middle of a chunk and begun again: a reader who
// takes files by their names, and never looks back, misses none, and what comes too late stands apart.
func TestFilesOfAStrictExportAppearInOrder(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	var blocks []eventstore.Block
	for n := range 5 {
		for i := range 3 {
			made, _ := block(hour(n).Start.Add(time.Duration(i)*time.Minute), 1, 1000, `{}`)
			blocks = append(blocks, made)
		}
	}
	eventstoretest.LoadPast(tt, t.events, blocks...)
	t.work()
	definition := hourly("ordered", 1)
	definition.Order = export.OrderStrict
	definition.ChunkRows = 1000
	stop := t.reads("events/ordered/")

	// Planned, and ended by nobody: it holds the others.
	t.holdsTheOrder(definition, hour(1))
	var later []starter.Started
	for _, n := range []int{4, 2, 3} {
		started, err := t.starter.Start(t.Context(), definition, hour(n))
		if err != nil {
			t.Fatal(err)
		}
		testworld.Eventually(tt, patience, func() error { return t.waitsFor(started, "has to be published first") })
		later = append(later, started)
	}
	again, err := t.starter.Start(t.Context(), definition, hour(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, started := range append(later, again) {
		outcome := t.outcome(started.WorkflowID, started.RunID)
		if outcome.Status != export.StatusPublished || outcome.Run.Revision != export.FirstRevision || outcome.Rows != 3000 {
			t.Errorf("%s ended with %+v", started.WorkflowID, outcome)
		}
	}
	t.history("shown in order", again)
	t.history("shown in order after another", later[2])

	tooLate := t.run(definition, hour(0))
	t.history("too late for the order", tooLate)
	outcome := t.outcome(tooLate.WorkflowID, tooLate.RunID)
	if outcome.Status != export.StatusPublished || outcome.Run.Revision != 2 || outcome.Rows != 3000 {
		t.Errorf("the run that came too late ended with %+v", outcome)
	}
	reader := stop()
	if reader.err != nil || len(reader.missed) > 0 || len(reader.seen) != 12 {
		t.Errorf("the reader has seen %d files, and missed %q: %v", len(reader.seen), reader.missed, reader.err)
	}
	for n := range 5 {
		revision, folder := 1, "ordered/"
		if n == 0 {
			revision, folder = 2, "_revisions/ordered/"
		}
		manifest := t.manifest(fmt.Sprintf("events/_millrace/ordered/%s/r%04d/manifest.json", hour(n).Key(), revision))
		if manifest.Proof.Level != export.ProofReadback || len(manifest.Receipts) != 3 || !strings.HasPrefix(manifest.Receipts[0].Location, folder) {
			t.Errorf("%s: %+v", hour(n), manifest)
		}
	}
	report, err := t.starter.Verify(t.Context(), definition, export.Interval{Start: hour(0).Start, End: hour(4).End})
	if err != nil || !report.Whole() {
		t.Errorf("verified: %+v, %v", report, err)
	}
	for n := range 5 {
		t.leaves(hour(n), 0)
	}
}

// A run that was cancelled takes back what does not show yet; reset to before that, it finds it gone and writes it again.
func TestAStrictRunThatWasCancelledAndResetWritesAgain(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	var blocks []eventstore.Block
	for n := range 2 {
		made, _ := block(hour(n).Start, 1, 2000, `{}`)
		blocks = append(blocks, made)
	}
	eventstoretest.LoadPast(tt, t.events, blocks...)
	t.work()
	definition := hourly("reset", 1)
	definition.Order = export.OrderStrict
	definition.ChunkRows = 1000

	t.holdsTheOrder(definition, hour(0))
	started, err := t.starter.Start(t.Context(), definition, hour(1))
	if err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(tt, patience, func() error { return t.waitsFor(started, "has to be published first") })
	t.leaves(hour(1), 2)
	if err := t.Client.CancelWorkflow(t.Context(), started.WorkflowID, started.RunID); err != nil {
		t.Fatal(err)
	}
	t.ends(started)
	t.history("cancelled before it showed", started)
	t.leaves(hour(1), 0)
	if outcome := t.outcome(t.run(definition, hour(0)).WorkflowID, ""); outcome.Status != export.StatusPublished {
		t.Errorf("the earlier run ended with %+v", outcome)
	}
	again := t.resetToShow(started)
	if outcome := t.outcome(again.WorkflowID, again.RunID); outcome.Status != export.StatusPublished || outcome.Run.Revision != 1 || outcome.Rows != 2000 {
		t.Errorf("it ended with %+v", outcome)
	}
	t.history("written again before it showed", again)
	t.leaves(hour(1), 0)
}

// holdsTheOrder has a run of an interval planned, and ended by nobody.
func (t *thread) holdsTheOrder(definition export.Definition, interval export.Interval) {
	t.Helper()
	definition.Connection = "slow"
	t.slow.be(time.Minute)
	started, err := t.starter.Start(t.Context(), definition, interval)
	if err != nil {
		t.Fatal(err)
	}
	t.slow.awaitParts(t.T, 1)
	if err := t.Client.TerminateWorkflow(t.Context(), started.WorkflowID, started.RunID, "by a test"); err != nil {
		t.Fatal(err)
	}
	t.slow.be(0)
}

// leaves waits until so many uploads of an interval are open.
func (t *thread) leaves(interval export.Interval, wanted int) {
	t.Helper()
	testworld.Eventually(t.T, patience, func() error {
		listed, err := t.s3.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &t.bucket})
		if err != nil {
			return err
		}
		open := 0
		for _, upload := range listed.Uploads {
			if strings.Contains(*upload.Key, interval.Key()) {
				open++
			}
		}
		if open != wanted {
			return fmt.Errorf("%d uploads are open, not %d", open, wanted)
		}
		return nil
	})
}

// resetToShow resets a run that was cancelled to the moment before its files were to show.
func (t *thread) resetToShow(started starter.Started) starter.Started {
	t.Helper()
	decided, to := int64(0), int64(0)
	events := t.Client.GetWorkflowHistory(t.Context(), started.WorkflowID, started.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
			decided = event.GetEventId()
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			if event.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == "ShowRun" {
				to = decided
			}
		}
	}
	reset, err := t.Client.ResetWorkflowExecution(t.Context(), &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: t.Name, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: started.WorkflowID, RunId: started.RunID},
		Reason: "test", RequestId: uuid.NewString(), WorkflowTaskFinishEventId: to,
	})
	if err != nil {
		t.Fatal(err)
	}
	return starter.Started{WorkflowID: started.WorkflowID, RunID: reset.GetRunId()}
}
