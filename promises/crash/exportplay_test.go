//go:build crash

package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/namespace"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/internal/testworld/testtemporal"
	"github.com/millrace/millrace/workflows"
)

// exportPlay is a play with workers, and a store and a database to export to.
type exportPlay struct {
	*play
	files     *StoreJudge
	tables    *TableJudge
	temporal  client.Client // past the proxies
	namespace string
	began     time.Time
	since     time.Time // of the scheduled exports
}

const (
	exportPerSecond = 80
	exportPrefix    = "exports"
)

// raiseExports puts captures, loaders, clients and workers on the stage, with a past to export from the first moment.
func raiseExports(t *testing.T, seed uint64, broken string) *exportPlay {
	t.Helper()
	p := &exportPlay{play: newPlay(t), began: time.Now().UTC()}
	loadPast(t, p.store, seed)
	p.shortenAges(t)
	addresses := p.startCaptures(t, 1, broken)
	p.startLoaders(t, 2, broken, "--session-timeout", "2s")
	p.clients = StartClients(addresses, p.judge.kafka, exportPerSecond, seed)
	t.Cleanup(p.clients.Close)
	p.reach(t)
	p.Asleep, p.Phases = NewAsleep(), NewPhases()
	t.Cleanup(p.Asleep.Close)
	for i := range workersOnStage {
		p.Workers = append(p.Workers, p.start(t, ServiceConfig{
			Name: fmt.Sprintf("worker-%d", i+1), Args: []string{"worker", "--slots-live", "4"}, Broken: broken, Started: "worker is ready",
		}))
	}
	p.Exports = StartExporter(p.temporal, p.namespace, families(p.tables.schema), p.intervals, 500*time.Millisecond, 60, seed)
	t.Cleanup(p.Exports.Close)
	p.schedule(t)
	return p
}

// raiseStill puts a past on the stage and nothing that moves, for a test that brings its own exports and workers.
func raiseStill(t *testing.T, seed uint64, rows eventstoretest.Past) *exportPlay {
	t.Helper()
	p := &exportPlay{play: newPlay(t)}
	p.Asleep = NewAsleep()
	p.reach(t)
	p.Exports = StartExporter(p.temporal, p.namespace, nil, nil, time.Second, 0, seed)
	t.Cleanup(p.Exports.Close)
	eventstoretest.GeneratePast(t, p.store, rows)
	if err := p.store.PublishWatermarks(t.Context(), []eventstore.Mark{{
		Source: "kafka/topic/0", Topic: "topic", Partitions: 1, At: time.Now().UTC().Truncate(time.Microsecond), Owner: "test",
	}}); err != nil {
		t.Fatal(err)
	}
	return p
}

// families are the exports that are broken: the two formats and ways of writing of S3, and the two modes of Postgres.
func families(schema string) []family {
	any := func(export.Interval) bool { return true }
	table := `{"schema": "` + schema + `", "table": "%s", "mode": "MODE", "create": true}`
	return []family{
		{name: "parquet", destination: "s3", chunkRows: 1000, settings: `{"prefix": "` + exportPrefix + `", "format": "parquet"}`, intervals: 3, fits: isNarrow},
		{name: "lines", destination: "s3", chunkRows: 3000, settings: `{"prefix": "` + exportPrefix + `", "format": "jsoneachrow", "compression": "zstd"}`, intervals: 2, fits: any},
		{name: "large", destination: "s3", chunkRows: 5000, settings: `{"prefix": "` + exportPrefix + `", "format": "jsoneachrow", "compression": "none"}`, intervals: 2, fits: isWide},
		{name: "appended", destination: "postgres", chunkRows: 1500, settings: strings.Replace(table, "MODE", "append", 1), intervals: 4, fits: isNarrow},
		{name: "merged", destination: "postgres", chunkRows: 1500, settings: strings.Replace(table, "MODE", "merge", 1), intervals: 4, fits: isNarrow},
	}
}

// past is the hour of which some minutes are there from the beginning.
var past = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// pastMinutes are the rows and the width of each minute of the past.
var pastMinutes = []struct{ rows, width int }{{1200, 40}, {1200, 40}, {0, 0}, {1500, 9000}, {1, 40}, {3500, 40}, {1100, 16000}, {800, 40}}

// copied is how many events of the first minute come again in the second, with other values: what a merge takes the newest of.
const copied = 60

func pastMinute(n int) export.Interval {
	return export.Interval{Start: past.Add(time.Duration(n) * time.Minute), End: past.Add(time.Duration(n+1) * time.Minute)}
}

func isWide(i export.Interval) bool {
	n := int(i.Start.Sub(past) / time.Minute)
	return n >= 0 && n < len(pastMinutes) && pastMinutes[n].width > 1000
}

func isNarrow(i export.Interval) bool { return !isWide(i) }

// loadPast loads the past, by the fixture that takes the constraint away for it.
func loadPast(t *testing.T, store *eventstore.Store, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 99))
	const each = 400 // rows in a block, so that the widest is no larger than a loader's
	var blocks []eventstore.Block
	var first []uuid.UUID
	offset := uint64(0)
	for n, minute := range pastMinutes {
		var block eventstore.Block
		for i := range minute.rows {
			if i%each == 0 {
				if i > 0 {
					blocks = append(blocks, block)
				}
				block = eventstore.Block{Source: "past/1/0", Arrival: pastMinute(n).Start.Add(time.Duration(i/each) * time.Second), Token: uuid.NewString()}
			}
			id := uuid.New()
			if n == 0 {
				first = append(first, id)
			}
			if n == 1 && i < copied {
				id = first[i]
			}
			text := make([]byte, minute.width)
			for k := range text {
				text[k] = 'a' + byte(random.Uint32()%26)
			}
			block.Offsets = append(block.Offsets, offset)
			block.Rows = append(block.Rows, event.Row{
				TeamID: 1, UUID: id, Event: "past", DistinctID: fmt.Sprint(i), Timestamp: block.Arrival, ReceivedAt: block.Arrival,
				Properties: fmt.Sprintf(`{"n": %d, "text": %q}`, n, text),
			})
			offset++
		}
		if len(block.Rows) > 0 {
			blocks = append(blocks, block)
		}
	}
	eventstoretest.LoadPast(t, store, blocks...)
}

// intervals are those that can be exported now: the past, and the last minutes that have ended.
func (p *exportPlay) intervals() (all []export.Interval) {
	for n := range pastMinutes {
		all = append(all, pastMinute(n))
	}
	end := time.Now().UTC().Truncate(time.Minute)
	for n := range 3 {
		if start := end.Add(-time.Duration(n+1) * time.Minute); start.After(p.began) {
			all = append(all, export.Interval{Start: start, End: start.Add(time.Minute)})
		}
	}
	return all
}

// reach opens the ways to Temporal, store and database: the workers' through relays and proxies, the judges' past them.
func (p *exportPlay) reach(t *testing.T) {
	t.Helper()
	made := testtemporal.New(t)
	p.namespace = made.Name
	if _, err := namespace.Create(t.Context(), made.Client, made.Name, workflows.SearchAttributes()); err != nil {
		t.Fatal(err)
	}
	pastProxy := func(part, port string) string {
		address, err := p.World.Address(part, port)
		if err != nil {
			t.Fatal(err)
		}
		return address
	}
	var err error
	if p.temporal, err = client.Dial(client.Options{HostPort: pastProxy(temporalPart, temporalLine), Namespace: made.Name, Logger: testtemporal.Quiet{}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.temporal.Close)
	p.watchTemporal(t)

	name := testworld.Name(t)
	if p.Store, err = StartStoreRelay(testworld.Env(t, "MILLRACE_S3_ENDPOINT")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Store.Close)
	endpoint, key, secret := "http://"+pastProxy(storePart, storeLine), testworld.Env(t, "AWS_ACCESS_KEY_ID"), testworld.Env(t, "AWS_SECRET_ACCESS_KEY")
	store := s3.New(s3.Options{BaseEndpoint: &endpoint, Region: testworld.Env(t, "AWS_REGION"), UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(key, secret, "")})
	if _, err := store.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}

	database, err := url.Parse(testworld.Env(t, "MILLRACE_POSTGRES_URL"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Database, err = StartDatabaseRelay(database.Host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Database.Close)
	direct, relayed := *database, *database
	direct.Host, relayed.Host = pastProxy(databasePart, databaseLine), p.Database.Address
	connection, err := pgx.Connect(t.Context(), direct.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close(t.Context()) }()
	if _, err := connection.Exec(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}

	config := filepath.Join(p.folder, "workers.yaml")
	text := fmt.Sprintf(`
teams:
  - {id: 1, name: crash, token: %s}
connections:
  - name: lake
    s3: {bucket: %s, region: "env:AWS_REGION", endpoint: %q, access_key_id: "env:AWS_ACCESS_KEY_ID", secret_access_key: "env:AWS_SECRET_ACCESS_KEY"}
  - name: warehouse
    postgres: {url: "env:MILLRACE_CRASH_DATABASE"}
`, token, name, p.Store.Address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = append(p.env, "MILLRACE_CONFIG="+config, "MILLRACE_CRASH_DATABASE="+relayed.String(), "TEMPORAL_NAMESPACE="+made.Name)
	p.Places = &Places{store: store, bucket: name, prefix: exportPrefix, databaseURL: direct.String(), schema: name}
	p.files = &StoreJudge{
		rows: p.rows, store: store, bucket: name, prefix: exportPrefix, endpoint: endpoint,
		spoiled: func(run string) bool { return p.Exports.IsSpoiled(run) }, key: fmt.Sprintf("'%s', '%s'", key, secret),
		known: map[string]string{}, files: map[string]bool{}, expected: map[string]amount{},
	}
	p.tables = &TableJudge{rows: p.rows, url: direct.String(), schema: name, expected: map[string]amount{}, settled: map[string]int{}}
}

// schedule has two exports run every minute by Temporal's schedules, which nobody starts again.
func (p *exportPlay) schedule(t *testing.T) {
	t.Helper()
	for _, f := range families(p.tables.schema) {
		if f.name != "parquet" && f.name != "appended" {
			continue
		}
		changes, err := p.Exports.starter.Diff(t.Context(), []export.Definition{p.scheduled(f)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Exports.starter.Apply(t.Context(), changes[0]); err != nil {
			t.Fatal(err)
		}
	}
	p.since = time.Now().UTC().Truncate(exportsEvery)
}

func (p *exportPlay) scheduled(f family) export.Definition {
	name := scheduledPrefix + "-" + f.name
	return export.Definition{
		Name: name, Team: export.Team{ID: 1}, Connection: map[string]string{"s3": "lake", "postgres": "warehouse"}[f.destination],
		Every: export.Duration(exportsEvery), ChunkRows: f.chunkRows, Destination: f.destination, Settings: json.RawMessage(f.settingsOf(name)),
	}.WithDefaults()
}

// unpublished are the runs that have not come to their end: those that were started, resets and second executions of them,
// and those that schedules owe by now.
func (p *exportPlay) unpublished(ctx context.Context, due time.Time) (left []string, err error) {
	for _, t := range p.Exports.openRuns() {
		left = append(left, t.name())
	}
	count, err := p.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Namespace: p.namespace, Query: "ExecutionStatus = 'Running' AND WorkflowType = 'Export' AND NOT WorkflowId STARTS_WITH '" + scheduledPrefix + "'",
	})
	if err != nil {
		return left, fmt.Errorf("count the open workflows: %w", err)
	}
	if count.Count > int64(len(left)) {
		left = append(left, fmt.Sprintf("%d workflows run", count.Count))
	}
	for _, f := range families(p.tables.schema) {
		if f.name != "parquet" && f.name != "appended" {
			continue
		}
		for end := p.since.Add(exportsEvery); !end.After(due); end = end.Add(exportsEvery) {
			run := &target{definition: p.scheduled(f), interval: export.Interval{Start: end.Add(-exportsEvery), End: end}}
			is := f.destination == "postgres" && p.tables.Published(run)
			if f.destination == "s3" {
				if is, err = p.files.Published(ctx, run); err != nil {
					return left, err
				}
			}
			if !is {
				left = append(left, run.name())
			}
		}
	}
	return left, nil
}
