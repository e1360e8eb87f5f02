//go:build bench

package benchmark

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// The live work: events all the time, and exports of them every minute, whose minutes begin at different seconds so that
// there is a run every few seconds.
const (
	eventsPerSecond = 300
	liveExports     = 6
	// liveMinutes is how long each phase is measured, after settling.
	liveMinutes = 4
	settling    = time.Minute
	// aloneMinutes is how long the backfill is measured alone.
	aloneMinutes = 2
)

// The past that is backfilled over and over, each time by another export.
const (
	pastHours       = 120
	pastRowsPerHour = 120_000
	// backfillsAtOnce and bulkSlots are generous: what keeps a backfill small is the governor.
	backfillsAtOnce = 16
	bulkSlots       = 8
)

// TestLiveFirst measures what a backfill at full speed does to live exports and to the watermark: with live work alone, with a
// backfill beside it that gives way, with one that does not (--ungoverned), and how fast the backfill is alone.
func TestLiveFirst(t *testing.T) {
	b := newLiveBench(t)
	fmt.Printf("machine: %d CPUs, %s/%s, %s; ClickHouse %s\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), b.version(t))
	fmt.Printf("live: %d events a second, %d exports every minute; backfill: hours of %d rows, %d runs and %d chunks at once at most; %d minutes each\n\n",
		eventsPerSecond, liveExports, pastRowsPerHour, backfillsAtOnce, bulkSlots, liveMinutes)
	fmt.Printf("%-26s %6s %14s %14s %14s %16s %14s\n", "", "runs", "latency p50", "latency p95", "watermark p95", "backfill rows/s", "CPU-seconds/s")

	alone := b.alone(t)
	stop := b.begin(t)
	live := b.phase(t, "live alone", nobody, b.worker(false))
	governed := b.phase(t, "beside a backfill", backfillsAtOnce, b.worker(false))
	ungoverned := b.phase(t, "beside one --ungoverned", backfillsAtOnce, b.worker(true))
	stop()

	share := live.cpu / float64(runtime.NumCPU())
	floor := 0.6 * alone * (1 - share)
	fmt.Printf("\n÷ live alone:              latency p95  watermark p95\n")
	fmt.Printf("  beside a backfill        %11.2f %14.2f   (at most 1.5)\n", governed.p95/live.p95, governed.watermark/live.watermark)
	fmt.Printf("  beside one --ungoverned  %11.2f %14.2f   (one of them above 1.5)\n", ungoverned.p95/live.p95, ungoverned.watermark/live.watermark)
	fmt.Printf("backfill: %.0f rows a second beside live work, %.0f alone; live work alone has %.0f %% of the processors: %.2f of what is asked for, 0.6 × alone × (1 − share) = %.0f\n",
		governed.rows, alone, 100*share, governed.rows/floor, floor)
}

type liveBench struct {
	config   eventstore.Config
	store    *eventstore.Store
	starts   *starter.Starter
	binary   string
	file     string
	env      []string
	listen   string
	backfill int // serial of exports that are backfilled
	// exports are the live ones, and minutes is how long each phase is measured, once it has settled.
	exports, minutes int
	settling         time.Duration
}

func newLiveBench(t *testing.T) *liveBench {
	t.Helper()
	b := &liveBench{config: eventstoretest.Config(t), starts: newStarter(t), binary: testworld.Env(t, "MILLRACE_BINARY"), listen: "127.0.0.1:18123", exports: liveExports, minutes: liveMinutes, settling: settling}
	var err error
	if b.store, err = eventstore.Open(t.Context(), b.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	b.file = filepath.Join(t.TempDir(), "millrace.yaml")
	config := "teams: [{id: 1, name: shop, token: mr_shop}]\nconnections:\n" + bucketAt("lake", testworld.Env(t, "MILLRACE_S3_ENDPOINT"))
	if err := os.WriteFile(b.file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	b.env = append(os.Environ(), "MILLRACE_CLICKHOUSE_URL="+b.config.URL, "MILLRACE_KAFKA_TOPIC="+testworld.Name(t))
	setup := exec.Command(b.binary, "setup", "--config", b.file)
	setup.Env = b.env
	if output, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("millrace setup: %v\n%s", err, output)
	}
	eventstoretest.GeneratePast(t, b.store, eventstoretest.Past{Start: b.pastStart(), Hours: pastHours, RowsPerHour: pastRowsPerHour, Teams: 1})
	return b
}

func (b *liveBench) pastStart() time.Time {
	return time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -pastHours/24-2)
}

func (b *liveBench) version(t *testing.T) string {
	t.Helper()
	answer, err := http.Get(testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL") + "/?query=SELECT+version()")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	version, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(version))
}

// busy is the seconds of all processors that anything has used since the machine began.
func busy(t *testing.T) (seconds float64) {
	t.Helper()
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(stat), "\n")
	for i, field := range strings.Fields(first) {
		// cpu, user, nice, system, idle, iowait, irq, softirq, steal
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		used, err := strconv.ParseFloat(field, 64)
		if err != nil {
			t.Fatal(err)
		}
		seconds += used / ticks
	}
	return seconds
}

// run keeps a process of the product until stop is called.
func (b *liveBench) run(t *testing.T, arguments ...string) (stop func()) {
	t.Helper()
	process := exec.Command(b.binary, append(arguments, "--config", b.file)...)
	process.Env = b.env
	log, err := os.Create(filepath.Join(t.TempDir(), arguments[0]+".log"))
	if err != nil {
		t.Fatal(err)
	}
	process.Stderr = log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = process.Process.Signal(syscall.SIGTERM)
		_ = process.Wait()
		_ = log.Close()
		if said, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("millrace %s said:\n%s", arguments, said)
		}
	})
	t.Cleanup(stop)
	return stop
}

// workerOf begins to work, until stop is called.
type workerOf func(t *testing.T) (stop func())

// worker is the real one.
func (b *liveBench) worker(ungoverned bool) workerOf {
	return func(t *testing.T) (stop func()) {
		arguments := []string{"worker", "--slots-bulk", fmt.Sprint(bulkSlots)}
		if ungoverned {
			arguments = append(arguments, "--ungoverned")
		}
		return b.run(t, arguments...)
	}
}

// alone measures a backfill with nothing else, in rows a second. The watermark is that of a loader at rest.
func (b *liveBench) alone(t *testing.T) float64 {
	defer b.run(t, "ingest", "--listen", b.listen)()
	defer b.worker(false)(t)()
	rows, stop := b.keepBackfilling(t, backfillsAtOnce)
	b.settle(t)
	before, began := rows.Load(), time.Now()
	wait(t, aloneMinutes*time.Minute)
	perSecond := float64(rows.Load()-before) / time.Since(began).Seconds()
	stop()
	fmt.Printf("%-26s %6s %14s %14s %14s %16.0f\n", "backfill alone", "", "", "", "", perSecond)
	return perSecond
}

// begin begins the live work.
func (b *liveBench) begin(t *testing.T) (stop func()) {
	t.Helper()
	ingest := b.run(t, "ingest", "--listen", b.listen)
	ctx, cancel := context.WithCancel(context.Background())
	var sending sync.WaitGroup
	sending.Go(func() { b.send(ctx, t) })
	var definitions []export.Definition
	for n := range b.exports {
		live := definition(fmt.Sprintf("live-%d", n), 1_000_000)
		live.Every, live.Offset = export.Duration(time.Minute), export.Duration(time.Duration(n)*time.Minute/time.Duration(b.exports))
		definitions = append(definitions, live)
	}
	changes, err := b.starts.Diff(t.Context(), definitions)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		if _, err := b.starts.Apply(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, live := range definitions {
			_ = b.starts.Temporal.ScheduleClient().GetHandle(t.Context(), live.Name).Delete(t.Context())
		}
		cancel()
		sending.Wait()
		ingest()
	}
}

// send sends events at an even pace.
func (b *liveBench) send(ctx context.Context, t *testing.T) {
	const batches = 10 // a second
	var body bytes.Buffer
	ticker := time.NewTicker(time.Second / batches)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		body.Reset()
		body.WriteString(`{"api_key":"mr_shop","batch":[`)
		for i := range eventsPerSecond / batches {
			if i > 0 {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, `{"event":"$pageview","distinct_id":"user-%d","properties":{"$current_url":"https://shop.example/products/%d","$browser":"Firefox","n":%d}}`, (n*31+i)%5000, n%500, i)
		}
		body.WriteString(`]}`)
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.listen+"/batch/", bytes.NewReader(body.Bytes()))
		if err != nil {
			t.Error(err)
			return
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			continue // it begins to listen, or has ended
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
}

// measured is what a phase came to: seconds, and rows a second of the backfill.
type measured struct{ p50, p95, watermark, rows, cpu float64 }

// nobody backfills.
const nobody = 0

// phase measures live work beside a backfill of so many runs at once.
func (b *liveBench) phase(t *testing.T, name string, backfill int, worker workerOf) measured {
	t.Helper()
	defer worker(t)()
	rows, stop := new(atomic.Int64), func() {}
	if backfill != nobody {
		rows, stop = b.keepBackfilling(t, backfill)
	}
	b.settle(t)
	from, before, used := time.Now(), rows.Load(), busy(t)
	var ages []float64
	for end := from.Add(time.Duration(b.minutes) * time.Minute); time.Now().Before(end); {
		wait(t, 500*time.Millisecond)
		watermark, err := b.store.Watermark(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if watermark.Complete {
			ages = append(ages, time.Since(watermark.At).Seconds())
		}
	}
	to := time.Now()
	m := measured{rows: float64(rows.Load()-before) / to.Sub(from).Seconds(), cpu: (busy(t) - used) / to.Sub(from).Seconds()}
	wait(t, 15*time.Second) // the last runs end
	stop()
	var latencies []float64
	for n := range b.exports {
		runs, err := b.starts.Runs(t.Context(), fmt.Sprintf("live-%d", n), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range runs {
			if run.End.Before(from) || run.End.After(to) {
				continue
			}
			late := time.Since(run.End) // at least: it has not ended
			if run.Closed != nil {
				late = run.Closed.Sub(run.End)
			}
			latencies = append(latencies, late.Seconds())
		}
	}
	if len(latencies) < (b.minutes-1)*b.exports || len(ages) == 0 {
		t.Fatalf("%s: %d live runs and %d looks at the watermark were measured", name, len(latencies), len(ages))
	}
	m.p50, m.p95, m.watermark = quantile(latencies, 0.5), quantile(latencies, 0.95), quantile(ages, 0.95)
	fmt.Printf("%-26s %6d %13.2fs %13.2fs %13.2fs %16.0f %14.2f\n", name, len(latencies), m.p50, m.p95, m.watermark, m.rows, m.cpu)
	return m
}

// settle lets a phase come to its pace.
func (b *liveBench) settle(t *testing.T) { wait(t, b.settling) }

// keepBackfilling has the past backfilled again and again, and counts the rows.
func (b *liveBench) keepBackfilling(t *testing.T, atOnce int) (rows *atomic.Int64, stop func()) {
	t.Helper()
	rows = new(atomic.Int64)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	start := b.pastStart()
	end := start.Add(pastHours * time.Hour)
	all.Go(func() {
		for ctx.Err() == nil {
			b.backfill++
			past := definition(fmt.Sprintf("past-%d", b.backfill), 1_000_000)
			past.Settings = json.RawMessage(`{"prefix":"bench","format":"parquet","compression":"zstd"}`)
			if _, err := b.starts.StartBackfill(ctx, export.Backfill{Definition: past, Start: &start, End: &end, Parallel: atOnce}); err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			done, last := rows.Load(), int64(0)
			progress, err := b.starts.FollowBackfill(ctx, past.Name, func(progress export.BackfillProgress) {
				last = int64(progress.Rows)
				rows.Store(done + last)
			})
			if ctx.Err() != nil {
				_ = b.starts.Temporal.CancelWorkflow(context.Background(), starter.BackfillID(past.Name), "")
				_, _ = b.starts.FollowBackfill(context.Background(), past.Name, nil)
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			rows.Store(done + int64(progress.Rows))
		}
	})
	return rows, func() {
		cancel()
		all.Wait()
	}
}

func wait(t *testing.T, long time.Duration) {
	t.Helper()
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// quantile is the nearest rank.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
