//go:build world

package promises

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/proto"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/codec"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/internal/testworld/testtemporal"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

// sealed is the thread with keys, each the id and a letter that its bytes are made of.
func (t *thread) sealed(keys ...string) *thread {
	t.Helper()
	var made []codec.Key
	for _, given := range keys {
		id, letter, _ := strings.Cut(given, "=")
		key, err := codec.NewKey(id, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(letter), 32)))
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, key)
	}
	within, c := *t, codec.New(made...)
	var err error
	within.Client, err = client.Dial(client.Options{
		HostPort: t.Address, Namespace: t.Name, Logger: testtemporal.Quiet{},
		DataConverter: codec.DataConverter(c), FailureConverter: codec.FailureConverter(c),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(within.Client.Close)
	within.failures = codec.FailureConverter(c)
	within.starter = &starter.Starter{Temporal: within.Client, Namespace: t.Name, DataConverter: codec.DataConverter(c)}
	return &within
}

// stored is the history of a run as the server has it.
func (t *thread) stored(started starter.Started) *historypb.History {
	t.Helper()
	history := &historypb.History{}
	events := t.Client.GetWorkflowHistory(t.Context(), started.WorkflowID, started.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		history.Events = append(history.Events, event)
	}
	return history
}

// hides fails the test where one of the words stands in a history in clear.
func (t *thread) hides(history *historypb.History, words ...string) {
	t.Helper()
	content, err := proto.Marshal(history)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range words {
		if bytes.Contains(content, []byte(word)) {
			t.Errorf("the history has %q in clear", word)
		}
	}
}

// With a key, Temporal stores of a run what finds it, and nothing of what it does: not the bucket, not the settings, not
// the plan, not what went wrong. Who has the key sees all of it.
func TestWhatGoesToTemporalIsEncrypted(tt *testing.T) {
	tt.Parallel()
	plain := newThread(tt)
	plain.load(4, 1)
	t := plain.sealed("k1=a")
	stop := t.work()
	words := []string{plain.bucket, `"lake"`, "jsoneachrow", "_millrace", "chunk 1/1", "plan_hash", "definition", "watermark"}

	definition := hourly("sealed", 1)
	t.apply(definition)
	if change := t.diff(definition); change.Action != starter.ActionNone {
		t.Errorf("applied again: %+v", change.Fields)
	}
	published := t.run(definition, hour(1))
	history := plain.stored(published)
	plain.hides(history, words...)
	if size := len(history.Events); size < 30 {
		t.Errorf("the history has %d events only", size)
	}
	if outcome := t.outcome(published.WorkflowID, published.RunID); outcome.Rows != 2 || !strings.Contains(outcome.Manifest, plain.bucket) {
		t.Errorf("who has the key reads %+v", outcome)
	}
	var progress export.Progress
	if value, err := t.Client.QueryWorkflow(t.Context(), published.WorkflowID, published.RunID, workflows.QueryProgress); err != nil || value.Get(&progress) != nil || progress.Step != "done" {
		t.Errorf("its progress is %+v, %v", progress, err)
	}
	if err := plain.Client.GetWorkflow(t.Context(), published.WorkflowID, published.RunID).Get(t.Context(), &export.Outcome{}); err == nil {
		t.Error("who has no key reads the outcome")
	}
	if runs, err := t.starter.Runs(t.Context(), "sealed", 1); err != nil || len(runs) != 1 || !runs[0].End.Equal(hour(1).End) {
		t.Errorf("found by its attributes: %+v, %v", runs, err)
	}

	// So are the rows of a sample.
	estimated := t.estimate(estimateOf(definition, hour(1), true))
	plain.hides(plain.stored(estimated), append(words, "flight")...)
	var estimate export.Estimate
	if err := t.Client.GetWorkflow(t.Context(), estimated.WorkflowID, estimated.RunID).Get(t.Context(), &estimate); err != nil || len(estimate.Sample.Rows) != 2 || *estimate.Sample.Rows[0][2] != "flight" {
		t.Errorf("who has the key reads %+v, %v", estimate, err)
	}

	// A failure is encrypted as well, but for its kind.
	missing := hourly("sealed-missing", 1)
	missing.Connection = "nowhere"
	failed := t.run(missing, hour(1))
	plain.hides(plain.stored(failed), append(words, "nowhere", "bucket")...)
	_, err := t.starter.Follow(t.Context(), failed, nil)
	if export.KindOf(err) != export.KindNotFound || !strings.Contains(err.Error(), plain.bucket+"-missing") {
		t.Errorf("who has the key is told %v", err)
	}

	// Clear JSON, as typed into the UI, is worked all the same.
	typed := plain.run(hourly("typed", 1), hour(2))
	if outcome := t.outcome(typed.WorkflowID, typed.RunID); outcome.Rows != 3 {
		t.Errorf("of a clear input it made %+v", outcome)
	}
	if content, err := proto.Marshal(plain.stored(typed)); err != nil || !bytes.Contains(content, []byte("jsoneachrow")) {
		t.Errorf("the clear input is not seen in clear, so nothing else would be: %v", err)
	}
	stop()

	// A worker with the wrong key, or with none, works nothing, ends nothing, and says which key it needs.
	t.needsKey(plain.sealed("k9=z"), definition, hour(3), `a payload is encrypted with key "k1", and the keys here are "k9"`)
	t.needsKey(plain.sealed(), definition, hour(2), `a payload is encrypted with key "k1", and there is no key here`)

	// A new key comes first, and the old one stays for what it has encrypted.
	rotated := plain.sealed("k2=b", "k1=a")
	rotated.work()
	if change := rotated.diff(definition); len(change.Fields) != 1 || change.Fields[0] != (starter.FieldChange{Field: "schedule.encrypted_with", From: "k1", To: "k2"}) {
		t.Errorf("with a new key the diff is %s %+v", change.Action, change.Fields)
	}
	for _, n := range []int{2, 3} {
		if outcome := rotated.outcome(definition.Name+"-"+clockOf(hour(n)), ""); outcome.Rows != uint64(n+1) {
			t.Errorf("the run that waited for its key ended with %+v", outcome)
		}
	}
	rotated.apply(definition)
	if change := rotated.diff(definition); change.Action != starter.ActionNone {
		t.Errorf("after apply the diff is %s %+v", change.Action, change.Fields)
	}
	if _, err := t.starter.Definition(t.Context(), definition.Name); err == nil ||
		!strings.Contains(err.Error(), `a payload is encrypted with key "k2", and the keys here are "k1": add that key to MILLRACE_CODEC_KEYS, behind the first`) {
		t.Errorf("without the new key one is told %v", err)
	}
}

func clockOf(interval export.Interval) string { return interval.End.Format("2006-01-02T15:04:05Z") }

// needsKey starts a run that a worker which cannot decrypt takes up first, and leaves it waiting.
func (t *thread) needsKey(without *thread, definition export.Definition, interval export.Interval, told string) {
	t.Helper()
	stop := without.work()
	defer stop()
	started, err := t.starter.Start(t.Context(), definition, interval)
	if err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(t.T, patience, func() error {
		for _, event := range without.stored(started).Events {
			failure := event.GetWorkflowTaskFailedEventAttributes().GetFailure()
			if failure == nil {
				continue
			}
			if said := without.failures.FailureToError(failure); strings.Contains(said.Error(), told) {
				return nil
			} else if said != nil {
				return said
			}
		}
		return errors.New("no task of the workflow has failed")
	})
	description, err := t.Client.DescribeWorkflowExecution(t.Context(), started.WorkflowID, started.RunID)
	if err != nil {
		t.Fatal(err)
	}
	if status := description.WorkflowExecutionInfo.Status; status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		t.Errorf("the run is %s for want of a key", status)
	}
}

// TestThePageOnEncryption runs the commands of docs/encryption.md, with a worker that has the key, and holds what they print
// against the page.
func TestThePageOnEncryption(tt *testing.T) {
	tt.Parallel()
	plain := newThread(tt)
	plain.load(4, 1)
	plain.sealed("k1=a").work()
	binary := plain.build()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // the page's port may be taken
	if err != nil {
		tt.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		tt.Fatal(err)
	}
	environment := "export MILLRACE_CODEC_KEY=" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("a"), 32)) + "\n"
	page, commands := blocks(tt, "../docs/encryption.md"), 0
	for i, block := range page {
		text := strings.NewReplacer("bin/millrace", binary, "127.0.0.1:8234", address).Replace(block.text)
		switch block.language {
		case "sh env":
			environment += text
		case "sh stays up":
			commands++
			plain.staysUp(environment+"exec "+text, "the codec answers")
		case "sh":
			commands++
			sees := ""
			if i+1 < len(page) && page[i+1].language == "text" {
				sees = page[i+1].text
			}
			output, err := plain.shell(environment + text)
			if missing := missingLine(output, sees); err != nil || missing != "" {
				tt.Fatalf("docs/encryption.md:%d: %v; the page says that one sees\n%s\nbut one sees\n%s", block.line, err, missing, output)
			}
		}
	}
	if commands < 6 {
		tt.Errorf("the page has %d commands only", commands)
	}
}

// build builds the real program, and gives its path.
func (t *thread) build() string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "millrace")
	if built, err := exec.Command("go", "build", "-o", path, "../cmd/millrace").CombinedOutput(); err != nil {
		t.Fatalf("build millrace: %v: %s", err, built)
	}
	return path
}

// staysUp starts a command that stays up until the test ends, and waits until it has logged a message.
func (t *thread) staysUp(text, logs string) {
	t.Helper()
	command := exec.Command("bash", "-eu", "-c", text)
	command.Dir = ".."
	command.Env = append(os.Environ(), "TEMPORAL_NAMESPACE="+t.Name)
	said, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	found, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		looking := true
		for scanner := bufio.NewScanner(said); scanner.Scan(); { // to its end, or the command would wait for us
			if looking && strings.Contains(scanner.Text(), logs) {
				close(found)
				looking = false
			}
		}
	}()
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt) // it may have ended
		<-ended
		if err := command.Wait(); err != nil {
			t.Errorf("%s ended with %v", text, err)
		}
	})
	select {
	case <-found:
	case <-ended:
		t.Fatalf("%s never said that %s", text, logs)
	}
}
