//go:build world

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/testworld"
)

// patience is how long a test waits for what takes a moment on a quiet machine.
const patience = time.Minute

// binary is the real program, built once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "millrace-test")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "millrace")
	built, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build millrace: %w: %s", err, built)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// world is a Millrace of a test's own: database, topic, namespace, bucket and configuration.
type world struct {
	t           *testing.T
	events      eventstore.Config
	namespace   string
	bucket      string
	file        string
	environment []string
}

// newWorld makes namespace and bucket; database and topic are for the program to make.
func newWorld(t *testing.T) *world {
	t.Helper()
	name := testworld.Name(t)
	w := &world{t: t, events: eventstoretest.Config(t), namespace: name, bucket: name, file: filepath.Join(t.TempDir(), "millrace.yaml")}
	w.environment = append(os.Environ(),
		config.VarClickHouseURL+"="+w.events.URL, config.VarClickHouseHTTPURL+"="+w.events.HTTPURL,
		config.VarKafkaTopic+"="+name, config.VarConfig+"="+w.file, config.VarListen+"=127.0.0.1:0",
		"TEMPORAL_NAMESPACE="+name, "MILLRACE_S3_BUCKET="+name,
	)
	w.makeNamespace()
	if _, err := w.s3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &w.bucket}); err != nil {
		t.Fatalf("create bucket: %v", err)
	}
	example, err := os.ReadFile("../../examples/millrace.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.file, string(example))
	return w
}

func (w *world) makeNamespace() {
	w.t.Helper()
	namespaces, err := client.NewNamespaceClient(client.Options{HostPort: testworld.Env(w.t, "TEMPORAL_ADDRESS"), Logger: nil})
	if err != nil {
		w.t.Fatal(err)
	}
	defer namespaces.Close()
	if err := namespaces.Register(w.t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: w.namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	}); err != nil {
		w.t.Fatalf("register namespace: %v", err)
	}
	// The frontend learns of a new namespace with a delay.
	options, err := config.TemporalOptions()
	if err != nil {
		w.t.Fatal(err)
	}
	options.Namespace, options.Logger = w.namespace, nil
	connected, err := client.Dial(options)
	if err != nil {
		w.t.Fatal(err)
	}
	defer connected.Close()
	testworld.Eventually(w.t, patience, func() error {
		_, err := connected.ListWorkflow(w.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1})
		return err
	})
}

func (w *world) s3() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(testworld.Env(w.t, "MILLRACE_S3_ENDPOINT")), Region: testworld.Env(w.t, "AWS_REGION"), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(testworld.Env(w.t, "AWS_ACCESS_KEY_ID"), testworld.Env(w.t, "AWS_SECRET_ACCESS_KEY"), ""),
	})
}

// objects lists the keys in the bucket.
func (w *world) objects() []string {
	w.t.Helper()
	var keys []string
	pages := s3.NewListObjectsV2Paginator(w.s3(), &s3.ListObjectsV2Input{Bucket: &w.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, object := range page.Contents {
			keys = append(keys, aws.ToString(object.Key))
		}
	}
	return keys
}

// running is a started program.
type running struct {
	t       *testing.T
	command *exec.Cmd
	stdout  bytes.Buffer
	ended   chan struct{}

	mu   sync.Mutex
	logs []map[string]any
	text strings.Builder // standard error
}

// start starts millrace. It is killed when the test ends, if it has not ended by then.
func (w *world) start(arguments ...string) *running {
	w.t.Helper()
	path, err := binary()
	if err != nil {
		w.t.Fatal(err)
	}
	r := &running{t: w.t, command: exec.Command(path, arguments...), ended: make(chan struct{})}
	r.command.Env = w.environment
	r.command.Stdout = &r.stdout
	stderr, err := r.command.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := r.command.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		r.read(stderr)
		_ = r.command.Wait() // how it ended is in its ProcessState
	}()
	w.t.Cleanup(func() {
		_ = r.command.Process.Kill() // it may have ended
		<-r.ended
		if w.t.Failed() {
			w.t.Logf("millrace %s:\n%s", strings.Join(arguments, " "), r.stderr())
		}
	})
	return r
}

func (r *running) read(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		r.mu.Lock()
		r.text.WriteString(lines.Text() + "\n")
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) == nil {
			r.logs = append(r.logs, line)
		}
		r.mu.Unlock()
	}
}

func (r *running) stderr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// logged waits for a log line with this message.
func (r *running) logged(message string) map[string]any {
	r.t.Helper()
	var found map[string]any
	testworld.Eventually(r.t, patience, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, line := range r.logs {
			if line["msg"] == message {
				found = line
				return nil
			}
		}
		return fmt.Errorf("did not log %q:\n%s", message, r.text.String())
	})
	return found
}

// wait waits for the end and returns the exit code.
func (r *running) wait() int {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.t.Fatalf("did not end within %s:\n%s", patience, r.stderr())
	}
	return r.command.ProcessState.ExitCode()
}

// interrupt is Ctrl-C.
func (r *running) interrupt() {
	r.t.Helper()
	if err := r.command.Process.Signal(syscall.SIGINT); err != nil {
		r.t.Fatal(err)
	}
}

// do runs a command to its end and expects an exit code; it returns standard output and standard error.
func (w *world) do(code int, arguments ...string) (out, err string) {
	w.t.Helper()
	r := w.start(arguments...)
	if got := r.wait(); got != code {
		w.t.Fatalf("millrace %s: exit code %d, want %d:\n%s%s", strings.Join(arguments, " "), got, code, r.stdout.String(), r.stderr())
	}
	return r.stdout.String(), r.stderr()
}

// doJSON runs a command with --json, expects an exit code, and reads its answer.
func (w *world) doJSON(into any, code int, arguments ...string) {
	w.t.Helper()
	out, _ := w.do(code, append(arguments, "--json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		w.t.Fatalf("millrace %s: %v:\n%s", strings.Join(arguments, " "), err, out)
	}
}

// loaded counts the rows of each uuid in the events table.
func (w *world) loaded() (map[string]uint64, error) {
	options, err := clickhouse.ParseDSN(w.events.URL)
	if err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	rows, err := conn.Query(w.t.Context(), "SELECT toString(uuid), count() FROM events GROUP BY uuid")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[string]uint64{}
	for rows.Next() {
		var id string
		var count uint64
		if err := rows.Scan(&id, &count); err != nil {
			return nil, err
		}
		counts[id] = count
	}
	return counts, rows.Err()
}

// send posts one event and says whether it was accepted.
func send(ctx context.Context, address, distinctID, id string) error {
	body := fmt.Sprintf(`{"api_key":"mr_shop","batch":[{"event":"visit","distinct_id":%q,"uuid":%q,"properties":{"n":1}}]}`, distinctID, id)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/batch/", strings.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, err := io.ReadAll(answer.Body)
		return errors.Join(fmt.Errorf("answered %s: %s", answer.Status, text), err)
	}
	return nil
}
