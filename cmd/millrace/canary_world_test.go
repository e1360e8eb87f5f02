//go:build world

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/proto"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/testworld"
)

// canaries are secrets that are told apart wherever they turn up. Each has a core of letters and digits, which no encoding
// for an address or JSON changes, and an end that needs such an encoding.
type canaries map[string]string

// plant makes a secret of a name.
func (c canaries) plant(name string) string {
	core := name + strings.ReplaceAll(uuid.NewString(), "-", "")
	c[name] = core
	return core + "/+%@: "
}

// key makes a key of 32 bytes, as `openssl rand -base64 32` does, of letters and digits all the same.
func (c canaries) key(name string) string {
	core := (name + strings.ReplaceAll(uuid.NewString(), "-", ""))[:32]
	c[name] = core
	return base64.StdEncoding.EncodeToString([]byte(core))
}

// in names those that some text holds: as they are, in hexadecimal, or in base64 at each of its three alignments.
func (c canaries) in(text []byte) []string {
	var found []string
	for name, core := range c {
		shapes := []string{core, hex.EncodeToString([]byte(core))}
		for shift := range 3 {
			encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + core))
			shapes = append(shapes, encoded[4:len(encoded)-4]) // its ends depend on what is beside it
		}
		if slices.ContainsFunc(shapes, func(shape string) bool { return bytes.Contains(text, []byte(shape)) }) {
			found = append(found, name)
		}
	}
	return found
}

// The search finds what it is to find: a test that cannot find proves nothing.
func TestCanariesAreFound(t *testing.T) {
	planted := canaries{}
	secret := planted.plant("found")
	for _, text := range []string{
		secret, "a" + url.QueryEscape(secret) + "b", fmt.Sprintf("%q", secret), hex.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte("{\"a\":\"" + secret)), base64.StdEncoding.EncodeToString([]byte("12345678" + secret + "c")),
		base64.URLEncoding.EncodeToString([]byte("1" + secret)),
	} {
		if len(planted.in([]byte(text))) != 1 {
			t.Errorf("not found in %s", text)
		}
	}
	if found := planted.in([]byte("found")); len(found) != 0 {
		t.Errorf("found %v in nothing", found)
	}
}

// Secrets are planted in every credential of workers whose runs succeed and fail in all sorts of ways, and never turn up:
// not in histories, logs, answers of the command line, metrics, ledger, plans and manifests, nor in what ClickHouse keeps or
// a process prints when it crashes.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	planted := canaries{}
	role := "role" + w.namespace
	password := planted.plant("postgrespassword")
	admin, address := w.makeRole(role, password)
	with := func(change func(*url.URL)) string {
		changed := *address
		change(&changed)
		return changed.String()
	}
	environment := map[string]string{
		"CANARY_S3_SECRET":      planted.plant("s3secret"),
		"CANARY_S3_TOKEN":       planted.plant("s3token"),
		"CANARY_POSTGRES_URL":   address.String(),
		"CANARY_POSTGRES_WRONG": with(func(u *url.URL) { u.User = url.UserPassword(role, planted.plant("wrongpassword")) }),
		"CANARY_POSTGRES_AWAY":  with(func(u *url.URL) { u.Host = "127.0.0.1:1" }),
		"CANARY_CODEC_KEY":      planted.key("codeckey"),
		"TEMPORAL_API_KEY":      strings.TrimRight(planted.plant("temporalkey"), " "),
		"TEMPORAL_TLS":          "false", // which a key turns on otherwise
		"GOTRACEBACK":           "all",
		"AWS_REGION":            os.Getenv("AWS_REGION"),
	}
	for name, value := range environment {
		w.environment = append(w.environment, name+"="+value)
	}
	const wrong = `region: env:AWS_REGION, access_key_id: env:AWS_ACCESS_KEY_ID, secret_access_key: env:CANARY_S3_SECRET`
	write(t, w.file, `teams:
  - {id: 1, name: shop, token: mr_shop}
connections:
  - name: lake
    s3: {bucket: env:MILLRACE_S3_BUCKET, region: env:AWS_REGION, endpoint: env:MILLRACE_S3_ENDPOINT, access_key_id: env:AWS_ACCESS_KEY_ID, secret_access_key: env:AWS_SECRET_ACCESS_KEY}
  - {name: stranger, s3: {bucket: env:MILLRACE_S3_BUCKET, endpoint: env:MILLRACE_S3_ENDPOINT, `+wrong+`}}
  - {name: session, s3: {bucket: env:MILLRACE_S3_BUCKET, endpoint: env:MILLRACE_S3_ENDPOINT, session_token: env:CANARY_S3_TOKEN, `+wrong+`}}
  - {name: away, s3: {bucket: lake, endpoint: "http://127.0.0.1:1", session_token: env:CANARY_S3_TOKEN, `+wrong+`}}
  - {name: table, postgres: {url: env:CANARY_POSTGRES_URL}}
  - {name: table-wrong, postgres: {url: env:CANARY_POSTGRES_WRONG}}
  - {name: table-away, postgres: {url: env:CANARY_POSTGRES_AWAY}}
exports:
  - {name: done, team: 1, connection: lake, every: 1d, s3: {prefix: events}}
  - {name: stranger, team: 1, connection: stranger, every: 1d, s3: {prefix: events}}
  - {name: session, team: 1, connection: session, every: 1d, s3: {prefix: events}}
  - {name: away, team: 1, connection: away, every: 1d, s3: {prefix: events}}
  - {name: rows, team: 1, connection: table, every: 1d, postgres: {schema: `+role+`, create: true}}
  - {name: rows-unfit, team: 1, connection: table, every: 1d, postgres: {schema: `+role+`, table: unfit}}
  - {name: rows-wrong, team: 1, connection: table-wrong, every: 1d, postgres: {schema: `+role+`}}
  - {name: rows-away, team: 1, connection: table-away, every: 1d, postgres: {schema: `+role+`}}
`)
	var seen bytes.Buffer // all that anybody could read
	keep := func(from string, text []byte) {
		if found := planted.in(text); len(found) > 0 {
			t.Errorf("%s has %v", from, found)
		}
		seen.Write(text)
	}
	said := func(code int, arguments ...string) string {
		out, stderr := w.do(code, arguments...)
		keep("millrace "+strings.Join(arguments, " "), []byte(out+stderr))
		return out + stderr
	}
	said(exitDone, "setup")
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	w.loadPast(day.Add(time.Hour), 100)
	said(exitDone, "apply", "--yes")
	worker := w.start("worker", "--metrics-listen", "127.0.0.1:0")
	metrics := fmt.Sprint(worker.logged("metrics are served")["url"])
	worker.logged("worker is ready")

	span := []string{"--start", clock(day), "--end", clock(day.AddDate(0, 0, 1))}
	for name, kind := range map[string]export.Kind{
		"done": "", "rows": "", "stranger": export.KindAuth, "session": export.KindAuth, "rows-unfit": export.KindSchema, "rows-wrong": export.KindAuth,
	} {
		code := exitNegative
		if name == "done" || name == "rows" {
			code = exitDone
		}
		if text := said(code, append([]string{"run", name}, span...)...); code == exitNegative && !strings.Contains(text, string(kind)+": ") {
			t.Errorf("%s does not fail of %s:\n%s", name, kind, text)
		}
	}
	options, err := config.TemporalOptions()
	if err != nil {
		t.Fatal(err)
	}
	options.Namespace, options.Logger = w.namespace, nil
	connected, err := client.Dial(options)
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	for _, name := range []string{"away", "rows-away"} { // these would be tried for three days
		said(exitDone, append([]string{"run", name, "--detach"}, span...)...)
		id := name + "-" + clock(day.AddDate(0, 0, 1))
		testworld.Eventually(t, patience, func() error {
			described, err := connected.DescribeWorkflowExecution(t.Context(), id, "")
			if err != nil {
				return err
			}
			for _, pending := range described.PendingActivities {
				if pending.GetLastFailure().GetApplicationFailureInfo().GetType() == string(export.KindDestinationUnavailable) {
					return nil
				}
			}
			return fmt.Errorf("%s has not failed yet: %v", id, described.PendingActivities)
		})
	}
	for _, connection := range []string{"lake", "stranger", "session", "away", "table", "table-wrong", "table-away"} {
		code := exitNegative
		if connection == "lake" { // a check of "table" tries the schema public, where the role may do nothing
			code = exitDone
		}
		said(code, "check", connection)
		said(code, "check", connection, "--local", "--json")
	}
	for _, command := range [][]string{{"status"}, {"status", "stranger", "--json"}, {"runs"}, {"runs", "--json"}, append([]string{"verify", "done"}, span...)} {
		said(exitDone, command...)
	}

	// ClickHouse's own password, in both addresses, refused. The engine of the tests has one user only.
	clickhousePassword := planted.plant("clickhousepassword")
	plain := w.environment
	w.environment = append(slices.Clone(plain),
		config.VarClickHouseURL+"="+withPassword(t, w.events.URL, clickhousePassword), config.VarClickHouseHTTPURL+"="+withPassword(t, w.events.HTTPURL, clickhousePassword))
	if text := said(exitFailed, "worker"); !strings.Contains(text, "516") {
		t.Errorf("the password is not refused: %s", text)
	}
	said(exitFailed, "runs")
	w.environment = plain

	answer, err := http.Get(metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	keep("the metrics", text)
	histories := w.histories(t, connected)
	for id, history := range histories {
		keep("the history of "+id, history)
	}
	if len(histories) < 8 {
		t.Errorf("there are %d histories", len(histories))
	}
	for name, table := range w.tables(t) {
		keep("ClickHouse's table "+name, table)
	}
	for _, key := range w.objects() {
		object, err := w.s3().GetObject(t.Context(), &s3.GetObjectInput{Bucket: &w.bucket, Key: aws.String(key)})
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(object.Body)
		object.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		keep("object "+key, text)
	}
	var own string
	if err := admin.QueryRow(t.Context(), fmt.Sprintf("SELECT (SELECT string_agg(p::text, ' ') FROM %s.millrace_plans p) || (SELECT string_agg(r::text, ' ') FROM %[1]s.millrace_runs r)", role)).Scan(&own); err != nil {
		t.Fatal(err)
	}
	keep("Millrace's tables in Postgres", []byte(own))

	// The worker is told to die with all its stacks, and so is one that encrypts.
	w.crash(worker)
	w.environment = append(slices.Clone(plain), config.VarCodecKeys+"=k1=env:CANARY_CODEC_KEY")
	sealing := w.start("worker")
	sealing.logged("worker is ready")
	said(exitDone, append([]string{"run", "done"}, span...)...)
	w.crash(sealing)
	for _, worker := range []*running{worker, sealing} {
		keep("a worker's log and stacks", []byte(worker.stderr()+worker.stdout.String()))
	}
	for id, history := range w.histories(t, connected) {
		keep("the history of "+id, history)
	}

	// What was looked at was there to be looked at.
	for _, want := range []string{"does not fit the access key", "does not accept this user and password", "connection was refused", `"unfit`, role} {
		if !bytes.Contains(seen.Bytes(), []byte(want)) {
			t.Errorf("%q is nowhere: was it looked at?", want)
		}
	}
}

// crash has a process print the stacks of all its goroutines, and die.
func (w *world) crash(process *running) {
	w.t.Helper()
	if err := process.command.Process.Signal(syscall.SIGQUIT); err != nil {
		w.t.Fatal(err)
	}
	process.wait()
	if !strings.Contains(process.stderr(), "goroutine ") {
		w.t.Errorf("it printed no stacks:\n%s", process.stderr())
	}
}

// makeRole makes a role with a schema of its name, and a table there that does not fit, and gives its address.
func (w *world) makeRole(role, password string) (*pgx.Conn, *url.URL) {
	w.t.Helper()
	address, err := url.Parse(testworld.Env(w.t, "MILLRACE_POSTGRES_URL"))
	if err != nil {
		w.t.Fatal(err)
	}
	admin, err := pgx.Connect(w.t.Context(), address.String())
	if err != nil {
		w.t.Fatal(err)
	}
	do := func(statement string) {
		w.t.Helper()
		if _, err := admin.Exec(w.t.Context(), statement); err != nil {
			w.t.Fatalf("%s: %v", role, err)
		}
	}
	do("CREATE ROLE " + role + " LOGIN PASSWORD '" + password + "'")
	do("CREATE SCHEMA " + role + " AUTHORIZATION " + role)
	do("CREATE TABLE " + role + ".unfit (team_id bytea)")
	do("ALTER TABLE " + role + ".unfit OWNER TO " + role)
	w.t.Cleanup(func() {
		for _, statement := range []string{"DROP OWNED BY " + role + " CASCADE", "DROP ROLE " + role} {
			if _, err := admin.Exec(context.Background(), statement); err != nil {
				w.t.Error(err)
			}
		}
		_ = admin.Close(context.Background())
	})
	address.User = url.UserPassword(role, password)
	return admin, address
}

func withPassword(t *testing.T, address, password string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	parsed.User = url.UserPassword("millrace", password)
	return parsed.String()
}

// histories are all that Temporal keeps of each workflow, payloads as they are: events, what is pending, memo, attributes.
func (w *world) histories(t *testing.T, connected client.Client) map[string][]byte {
	t.Helper()
	list, err := connected.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: w.namespace, PageSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]byte{}
	add := func(id string, message proto.Message) {
		raw, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		found[id] = append(found[id], raw...)
	}
	for _, execution := range list.Executions {
		id := execution.Execution.WorkflowId
		described, err := connected.DescribeWorkflowExecution(t.Context(), id, execution.Execution.RunId)
		if err != nil {
			t.Fatal(err)
		}
		add(id, described)
		events := connected.GetWorkflowHistory(t.Context(), id, execution.Execution.RunId, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if err != nil {
				t.Fatal(err)
			}
			add(id, event)
		}
	}
	return found
}

// tables is what ClickHouse has in Millrace's tables, in its list of queries, of errors, and in whatever logs it keeps.
func (w *world) tables(t *testing.T) map[string][]byte {
	t.Helper()
	options, err := clickhouse.ParseDSN(w.events.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var names []string
	if err := conn.QueryRow(t.Context(), "SELECT groupArray(database || '.' || name) FROM system.tables WHERE database = currentDatabase() OR database = 'system' AND (name IN ('processes', 'errors', 'mutations', 'settings') OR name LIKE '%\\_log')").Scan(&names); err != nil {
		t.Fatal(err)
	}
	found := map[string][]byte{}
	for _, name := range names {
		rows, err := conn.Query(t.Context(), "SELECT toString(tuple(*)) FROM "+name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		found[name] = []byte{}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			found[name] = append(found[name], line+"\n"...)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	return found
}
