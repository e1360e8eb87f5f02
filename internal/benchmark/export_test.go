//go:build bench

// Package benchmark measures Millrace against its rivals, both in one run. `make bench` runs it and keeps what it
// prints below docs/benchmarks. It asserts no times; it fails only when what was written is wrong.
package benchmark

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// pairs is how often all are measured in turn.
const pairs = 5

// TestExportToParquetAgainstInsertIntoS3 writes the same rows to the same store: by runs of Millrace with each level of
// proof, and by ClickHouse's own INSERT INTO FUNCTION s3(…) with the same settings of the format and no proof.
func TestExportToParquetAgainstInsertIntoS3(t *testing.T) {
	rows := number(t, "MILLRACE_BENCH_ROWS", 5_000_000)
	past := newPast(t, rows)
	counted := newCounting(t, testworld.Env(t, "MILLRACE_S3_ENDPOINT"))
	worker := startWorkerOn(t, past, bucketAt("lake", testworld.Env(t, "MILLRACE_S3_ENDPOINT"))+bucketAt("counted", counted.URL))
	starts := newStarter(t)

	fmt.Printf("machine: %d CPUs, %s/%s, %s; ClickHouse %s\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), past.version)
	fmt.Printf("rows: %d, %d B of properties on average; Parquet, zstd; %d rounds, each thing once in a round\n", rows, past.properties/rows, pairs)
	fmt.Printf("stream and readback: a run from its start to its end, with that level of proof; INSERT has no proof.\n")
	fmt.Printf("encoding: the same rows by HTTP to nowhere; hash: count and hash of the source alone; verify: the files read back alone, as the workflow Verify does it.\n")
	for _, layout := range []struct {
		name      string
		chunkRows uint64
	}{
		{"one chunk, one file", uint64(rows)},
		{"four chunks, four files, in parallel", uint64(rows) / 4},
	} {
		b := intoFiles{past: past, starts: starts, chunkRows: layout.chunkRows, counted: counted, costs: costs{meter: newMeter(t, worker, "clickhouse", "s3", "temporal"), used: map[string]map[string][]float64{}}}
		fmt.Printf("\n%s\n", layout.name)
		b.compare(t)
	}
	fmt.Printf("\npeak memory of the worker (VmHWM): %d MiB, after %d runs\n", peak(t, worker), 4*(pairs+1))
}

// intoFiles compares one layout of files.
type intoFiles struct {
	past      *past
	starts    *starter.Starter
	chunkRows uint64
	counted   *counting
	costs     costs
}

func (b *intoFiles) compare(t *testing.T) {
	things := []string{"stream", "readback", "INSERT", "encoding", "hash", "verify"}
	ratios := []struct{ of, to string }{{"stream", "INSERT"}, {"readback", "INSERT"}, {"hash", "stream"}, {"verify", "readback"}}
	fmt.Printf("%6s", "round")
	for _, thing := range things {
		fmt.Printf(" %9s", thing)
	}
	for _, ratio := range ratios {
		fmt.Printf(" %16s", ratio.of+"÷"+ratio.to)
	}
	fmt.Println()
	values, times, events := make([][]float64, len(ratios)), map[string]map[string][]float64{"stream": {}, "readback": {}}, 0
	for round := range pairs + 1 {
		took, used, runs := map[string]time.Duration{}, map[string]map[string]float64{}, map[string]map[string]time.Duration{}
		name := testworld.Name(t)
		for _, thing := range things {
			used[thing] = b.costs.meter.during(t, func() {
				switch thing {
				case "stream":
					took[thing], runs[thing], _ = b.past.export(t, b.starts, definition(name+"-stream", b.chunkRows), export.ProofStream)
				case "readback":
					took[thing], runs[thing], events = b.past.export(t, b.starts, definition(name, b.chunkRows), export.ProofReadback)
				case "INSERT":
					took[thing] = b.past.insert(t, name)
				case "encoding":
					took[thing] = b.past.encode(t)
				case "hash":
					took[thing] = b.past.hash(t)
				case "verify":
					took[thing] = b.past.verify(t, b.starts, name, b.chunkRows)
				}
			})
		}
		if round == 0 {
			continue // the first warms all up
		}
		fmt.Printf("%6d", round)
		for _, thing := range things {
			fmt.Printf(" %8.2fs", took[thing].Seconds())
			b.costs.add(thing, used[thing])
		}
		for n, ratio := range ratios {
			values[n] = append(values[n], took[ratio.of].Seconds()/took[ratio.to].Seconds())
			fmt.Printf(" %16.2f", values[n][round-1])
		}
		fmt.Println()
		for level, run := range runs {
			for _, step := range steps {
				times[level][step] = append(times[level][step], run[step].Seconds())
			}
		}
	}
	fmt.Printf("%6s %59s", "median", "")
	for n := range ratios {
		fmt.Printf(" %16.2f", median(values[n]))
	}
	fmt.Println()
	printSteps("stream", times["stream"])
	printSteps("readback", times["readback"])
	b.costs.print()
	before := b.counted.requests.Load()
	through := definition(testworld.Name(t), b.chunkRows)
	through.Connection = "counted"
	b.past.export(t, b.starts, through, export.ProofReadback)
	fmt.Printf("a run with readback: %d events in its history, %d requests to S3\n", events, b.counted.requests.Load()-before)
}

// past is a table with one full hour of yesterday.
type past struct {
	store    *eventstore.Store
	config   eventstore.Config
	interval export.Interval
	rows     int
	// properties is the size of all rows' properties, in bytes.
	properties int
	version    string
	conn       clickhouse.Conn
}

func newPast(t *testing.T, rows int) *past {
	t.Helper()
	config := eventstoretest.Config(t)
	store, err := eventstore.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if _, err := store.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	start := time.Now().UTC().Truncate(24 * time.Hour).Add(-14 * time.Hour)
	p := &past{store: store, config: config, rows: rows, interval: export.Interval{Start: start, End: start.Add(time.Hour)}}
	const source, block = "bench/topic/0", 100_000
	random := testworld.Rand(t)
	for first := 0; first < rows; first += block {
		size := min(block, rows-first)
		// In floating point: the product of an hour and so many rows is beyond 64 bits.
		arrival := start.Add(time.Duration(float64(time.Hour) * float64(first) / float64(rows))).Truncate(time.Microsecond)
		loaded := somethingLikeEvents(random, source, arrival, first, size)
		for _, row := range loaded.Rows {
			p.properties += len(row.Properties)
		}
		eventstoretest.LoadPast(t, store, loaded)
	}
	if err := store.PublishWatermarks(t.Context(), []eventstore.Mark{{Source: source, Topic: "topic", Partition: 0, Partitions: 1, At: p.interval.End, Offset: uint64(rows), Owner: "bench"}}); err != nil {
		t.Fatal(err)
	}
	options, err := clickhouse.ParseDSN(config.URL)
	if err != nil {
		t.Fatal(err)
	}
	options.ReadTimeout = 10 * time.Minute
	if p.conn, err = clickhouse.Open(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.conn.Close() })
	if err := p.conn.QueryRow(t.Context(), "SELECT version()").Scan(&p.version); err != nil {
		t.Fatal(err)
	}
	return p
}

// somethingLikeEvents is a block of page views of one team: names and paths repeat, ids do not.
func somethingLikeEvents(random *rand.Rand, source string, arrival time.Time, first, size int) eventstore.Block {
	block := eventstore.Block{Source: source, Arrival: arrival, Token: fmt.Sprintf("bench-%d", first)}
	for i := range size {
		var id uuid.UUID
		for at := 0; at < len(id); at += 8 {
			for shift, word := 0, random.Uint64(); shift < 8; shift++ {
				id[at+shift] = byte(word >> (8 * shift))
			}
		}
		block.Offsets = append(block.Offsets, uint64(first+i))
		block.Rows = append(block.Rows, event.Row{
			TeamID: 1, UUID: id, Event: []string{"$pageview", "$pageleave", "signup", "purchase"}[random.IntN(4)],
			DistinctID: fmt.Sprintf("user-%06d", random.IntN(200_000)), Timestamp: arrival.Add(-time.Duration(random.IntN(5_000_000)) * time.Microsecond), ReceivedAt: arrival.Add(-time.Second),
			Properties: fmt.Sprintf(`{"$current_url":"https://shop.example/products/%d?ref=%d","$browser":"Firefox","$os":"Linux","$screen_width":%d,"price":%d.%02d,"$session_id":"%016x","plan":"free","$lib":"web","$lib_version":"1.2.3"}`,
				random.IntN(5000), random.IntN(50), 1000+random.IntN(1000), random.IntN(1000), random.IntN(100), random.Uint64()),
		})
	}
	return block
}

// newStarter starts runs in the world's Temporal.
func newStarter(t *testing.T) *starter.Starter {
	t.Helper()
	temporal, err := client.Dial(client.Options{HostPort: testworld.Env(t, "TEMPORAL_ADDRESS"), Namespace: testworld.Env(t, "TEMPORAL_NAMESPACE")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(temporal.Close)
	return &starter.Starter{Temporal: temporal}
}

// bucketAt is a connection to the world's bucket by some way.
func bucketAt(name, endpoint string) string {
	return fmt.Sprintf("  - name: %s\n    s3: {bucket: %s, endpoint: %s, region: us-east-1, access_key_id: env:AWS_ACCESS_KEY_ID, secret_access_key: env:AWS_SECRET_ACCESS_KEY}\n",
		name, os.Getenv("MILLRACE_S3_BUCKET"), endpoint)
}

// startWorkerOn runs the real binary, as people run it, with some connections.
func startWorkerOn(t *testing.T, p *past, connections string) *exec.Cmd {
	t.Helper()
	stop, worker := startStoppable(t, p, connections)
	t.Cleanup(stop)
	return worker
}

// startStoppable runs it until stop is called.
func startStoppable(t *testing.T, p *past, connections string) (stop func(), worker *exec.Cmd) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "millrace.yaml")
	config := "teams: [{id: 1, name: shop, token: mr_shop}]\nconnections:\n" + connections
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := testworld.Env(t, "MILLRACE_BINARY")
	environment := append(os.Environ(), "MILLRACE_CLICKHOUSE_URL="+p.config.URL)
	setup := exec.Command(binary, "setup", "--config", file)
	setup.Env = environment
	if output, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("millrace setup: %v\n%s", err, output)
	}
	worker = exec.Command(binary, "worker", "--config", file)
	worker.Env = environment
	log, err := os.Create(filepath.Join(t.TempDir(), "worker.log"))
	if err != nil {
		t.Fatal(err)
	}
	worker.Stderr = log
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = worker.Process.Signal(syscall.SIGTERM)
		_ = worker.Wait()
		_ = log.Close()
		if said, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the worker said:\n%s", said)
		}
	}, worker
}

// export has the worker run one export of the hour, and answers how long the run took, and its steps, and how many events
// its history has.
func (p *past) export(t *testing.T, starts *starter.Starter, definition export.Definition, proof string) (time.Duration, map[string]time.Duration, int) {
	t.Helper()
	definition.Proof = proof
	started, err := starts.Start(t.Context(), definition, p.interval)
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := starts.Follow(t.Context(), started, nil)
	if err != nil {
		t.Fatal(err)
	}
	if outcome.Rows != uint64(p.rows) {
		t.Fatalf("the run wrote %d rows of %d", outcome.Rows, p.rows)
	}
	took, events := stepTimes(t, starts.Temporal, started)
	return runTime(t, starts.Temporal, started), took, events
}

func definition(name string, chunkRows uint64) export.Definition {
	return export.Definition{
		Name: name, Team: export.Team{ID: 1}, Connection: "lake", Every: export.Duration(time.Hour), ChunkRows: chunkRows, ChunkBytes: 1 << 40, // by rows alone
		Destination: "s3", Settings: json.RawMessage(`{"prefix":"bench","format":"parquet","compression":"zstd"}`),
	}.WithDefaults()
}

// hash has ClickHouse compute the content of the source alone.
func (p *past) hash(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	content, err := p.store.ChunkContent(t.Context(), eventstore.ChunkQuery{Interval: p.interval, Team: export.Team{ID: 1}})
	if err != nil || content.Rows != uint64(p.rows) {
		t.Fatalf("the source has %s, %v", content, err)
	}
	return time.Since(began)
}

// verify has the worker read the files of an export back alone.
func (p *past) verify(t *testing.T, starts *starter.Starter, name string, chunkRows uint64) time.Duration {
	t.Helper()
	began := time.Now()
	report, err := starts.Verify(t.Context(), definition(name, chunkRows), p.interval)
	if err != nil || len(report.Intervals) != 1 || report.Intervals[0].Result != export.VerifiedWhole {
		t.Fatalf("verified: %+v, %v", report, err)
	}
	return time.Since(began)
}

// runTime is from the first to the last event of a run's history.
func runTime(t *testing.T, temporal client.Client, started starter.Started) time.Duration {
	t.Helper()
	run, err := temporal.DescribeWorkflowExecution(t.Context(), started.WorkflowID, started.RunID)
	if err != nil {
		t.Fatal(err)
	}
	return run.WorkflowExecutionInfo.CloseTime.AsTime().Sub(run.WorkflowExecutionInfo.StartTime.AsTime())
}

// encode has ClickHouse encode the same rows alone, and lets the bytes go: what no export can be faster than.
func (p *past) encode(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	rows, err := p.store.OpenChunk(t.Context(), eventstore.ChunkQuery{Interval: p.interval, Team: export.Team{ID: 1}, Encoding: export.Encoding{Format: export.FormatParquet, Compression: export.CompressionZstd}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	if _, err := io.Copy(io.Discard, rows); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// insert has ClickHouse write the same rows by itself, into one object.
func (p *past) insert(t *testing.T, name string) time.Duration {
	t.Helper()
	settings := []string{"s3_truncate_on_insert = 1"}
	for setting, value := range eventstore.EncodingSettings(export.Encoding{Format: export.FormatParquet, Compression: export.CompressionZstd}) {
		settings = append(settings, fmt.Sprintf("%s = '%s'", setting, value))
	}
	slices.Sort(settings)
	place := fmt.Sprintf("s3('%s/%s/bench-insert/%s.parquet', '%s', '%s', 'Parquet', '%s')",
		testworld.Env(t, "MILLRACE_S3_ENDPOINT"), testworld.Env(t, "MILLRACE_S3_BUCKET"), name,
		testworld.Env(t, "AWS_ACCESS_KEY_ID"), testworld.Env(t, "AWS_SECRET_ACCESS_KEY"), strings.ReplaceAll(eventstore.EventsStructure(), "'", `\'`))
	from, to := p.interval.Start.UnixMicro(), p.interval.End.UnixMicro()
	statement := fmt.Sprintf(`INSERT INTO FUNCTION %s SELECT %s FROM events
		WHERE toStartOfHour(inserted_at) = toDateTime(%d) AND team_id = 1 AND inserted_at >= fromUnixTimestamp64Micro(%d) AND inserted_at < fromUnixTimestamp64Micro(%d)
		SETTINGS %s`, place, eventstore.SelectEvents(), p.interval.Start.Unix(), from, to, strings.Join(settings, ", "))
	began := time.Now()
	if err := p.conn.Exec(context.WithoutCancel(t.Context()), statement); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	var rows uint64
	if err := p.conn.QueryRow(t.Context(), "SELECT count() FROM "+place).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	if rows != uint64(p.rows) {
		t.Fatalf("INSERT INTO FUNCTION s3 wrote %d rows of %d", rows, p.rows)
	}
	return took
}

// peak is the most memory that a process ever had, in MiB, by Linux's account.
func peak(t *testing.T, command *exec.Cmd) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kibibytes, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return kibibytes / 1024
		}
	}
	t.Fatal("no VmHWM in the worker's status")
	return 0
}

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		t.Fatalf("%s: %q is not a number of at least 1000", variable, text)
	}
	return n
}

func median(values []float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}
