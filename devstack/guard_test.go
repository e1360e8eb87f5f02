package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestTheGuardKillsWhatIsWatchedAndRemovesWhatItWasTold(t *testing.T) {
	start := func() *exec.Cmd {
		cmd := exec.Command("sleep", "600")
		cmd.SysProcAttr = partAttributes()
		if err := spawn(cmd); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd
	}
	watched, forgotten := start(), start()
	dir := filepath.Join(t.TempDir(), "world")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	told := fmt.Sprintf("watch %d\nwatch %d\nremove %s\nforget %d\n", watched.Process.Pid, forgotten.Process.Pid, dir, forgotten.Process.Pid)
	if err := runGuard(strings.NewReader(told)); err != nil {
		t.Fatal(err)
	}

	_ = watched.Wait()
	if status := watched.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the watched process ended with %v, want it killed", watched.ProcessState)
	}
	if err := forgotten.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the forgotten process is gone: %v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestTheGuardRefusesGroupsThatWouldHitEverybody(t *testing.T) {
	for _, line := range []string{"watch 1", "watch 0", "watch -5", "watch x", "what 5"} {
		if err := runGuard(strings.NewReader(line + "\n")); err == nil {
			t.Errorf("%q is no error", line)
		}
	}
}
