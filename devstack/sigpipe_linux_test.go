//go:build world

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// SIGPIPE goes to the thread that has written to a client that is gone. Whether the engine has it blocked there is
// decided by a race at its start, so without our ignoring it this fails in about one world of two.
func TestClickHouseSurvivesWritingToClientsThatAreGone(t *testing.T) {
	u := start(t, []string{"--free", "--parts", "clickhouse"}, "echo begun; read answer; exit 0")
	pid := u.pids()["clickhouse"]
	threads, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Tgkill(pid, tid, unix.SIGPIPE); err != nil && !errors.Is(err, unix.ESRCH) { // it may have ended
			t.Fatalf("raise SIGPIPE in thread %d of %d: %v", tid, len(threads), err)
		}
	}
	if got, err := u.query("SELECT 1"); err != nil || got != "1" {
		t.Errorf("after SIGPIPE in each of %d threads: %q, %v\n%s", len(threads), got, err, u.out)
	}
	if !ignores(t, pid, unix.SIGPIPE) {
		t.Error("ClickHouse's process does not ignore SIGPIPE")
	}
	u.in.Close()
	if code := u.exitCode(); code != 0 {
		t.Errorf("exit code %d, want 0\n%s", code, u.out)
	}
}

// ignores reads from the kernel whether a process has a signal ignored.
func ignores(t *testing.T, pid int, signal unix.Signal) bool {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if mask, found := strings.CutPrefix(line, "SigIgn:"); found {
			ignored, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return ignored&(1<<(uint(signal)-1)) != 0
		}
	}
	t.Fatalf("the kernel does not tell what process %d ignores:\n%s", pid, status)
	return false
}
