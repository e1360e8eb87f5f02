//go:build bench

package benchmark

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// samples is how many samples perf takes in a second of each processor.
const samples = 499

// TestProfileExport tells which threads of which programs an export into files, and ClickHouse's own INSERT, spend
// processor time in: by Linux's perf, which samples all processors while the thing is done. The samples themselves stay in
// the folder $MILLRACE_BENCH_PROFILE, for perf report.
func TestProfileExport(t *testing.T) {
	folder := testworld.Env(t, "MILLRACE_BENCH_PROFILE")
	rows := number(t, "MILLRACE_BENCH_ROWS", 5_000_000)
	past := newPast(t, rows)
	startWorkerOn(t, past, bucketAt("lake", testworld.Env(t, "MILLRACE_S3_ENDPOINT")))
	starts := newStarter(t)
	fmt.Printf("rows: %d; Parquet, zstd; %d CPUs; perf with %d samples a second of each\n", rows, runtime.NumCPU(), samples)
	one, four := uint64(rows), uint64(rows)/4
	name := testworld.Name(t)
	for _, thing := range []struct {
		name string
		act  func(round int)
	}{
		{"INSERT", func(round int) { past.insert(t, fmt.Sprint(name, round)) }},
		{"encoding", func(int) { past.encode(t) }},
		{"hash", func(int) { past.hash(t) }},
		{"stream, one chunk", func(round int) {
			past.export(t, starts, definition(fmt.Sprintf("%s-one-%d", name, round), one), export.ProofStream)
		}},
		{"readback, one chunk", func(round int) {
			past.export(t, starts, definition(fmt.Sprintf("%s-back-%d", name, round), one), export.ProofReadback)
		}},
		{"stream, four chunks", func(round int) {
			past.export(t, starts, definition(fmt.Sprintf("%s-four-%d", name, round), four), export.ProofStream)
		}},
	} {
		thing.act(0) // warms up
		data := filepath.Join(folder, strings.NewReplacer(" ", "-", ",", "").Replace(thing.name)+".perf")
		stop := startPerf(t, data)
		for round := 1; round <= pairs; round++ {
			thing.act(round)
		}
		stop()
		fmt.Printf("\n%s, processor seconds of one of %d\n", thing.name, pairs)
		printThreads(t, data)
	}
}

// startPerf samples all processors until stop is called.
func startPerf(t *testing.T, data string) (stop func()) {
	t.Helper()
	perf := exec.Command("perf", "record", "--all-cpus", "--call-graph=fp", "--freq="+strconv.Itoa(samples), "--output="+data)
	var said bytes.Buffer
	perf.Stderr = &said
	if err := perf.Start(); err != nil {
		t.Fatalf("perf, of the package linux-perf, is needed: %v", err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = perf.Process.Signal(syscall.SIGINT)
		if err := perf.Wait(); err != nil && perf.ProcessState.ExitCode() > 0 {
			t.Fatalf("perf: %v\n%s", err, &said)
		}
	}
	t.Cleanup(stop)
	return stop
}

// printThreads adds the samples up by the thread's name and by what it was in.
func printThreads(t *testing.T, data string) {
	t.Helper()
	output, err := exec.Command("perf", "script", "--input="+data, "--fields=comm,ip,dso", "--no-inline", "--max-stack=1").Output()
	if err != nil {
		t.Fatalf("perf script: %v", err)
	}
	count := map[string]int{}
	for sample := range strings.SplitSeq(string(output), "\n\n") {
		lines := strings.Split(strings.TrimSpace(sample), "\n")
		if len(lines) < 2 || strings.HasPrefix(lines[0], "swapper") {
			continue
		}
		within := lines[1][strings.LastIndexByte(lines[1], '(')+1:]
		within = filepath.Base(strings.TrimSuffix(within, ")"))
		if strings.HasPrefix(within, "[") {
			within = "kernel"
		}
		count[strings.TrimSpace(lines[0])+" in "+within]++
	}
	var names []string
	total := 0
	for name, n := range count {
		names = append(names, name)
		total += n
	}
	slices.SortFunc(names, func(a, b string) int { return count[b] - count[a] })
	for _, name := range names {
		if seconds := float64(count[name]) / samples / pairs; seconds >= 0.02 {
			fmt.Printf("  %5.2f %s\n", seconds, name)
		}
	}
	fmt.Printf("  %5.2f all\n", float64(total)/samples/pairs)
}
