package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process that answers nothing but errors is killed, and the watch goes on with the one that stands in its place.
func TestTemporalIsStartedAgainWhenItIsSilent(t *testing.T) {
	record := filepath.Join(t.TempDir(), "world.json")
	start := func() (*exec.Cmd, error) {
		process := exec.Command("sleep", "60")
		process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := process.Start(); err != nil {
			return nil, err
		}
		text := fmt.Sprintf(`{"parts": [{"name": %q, "pid": %d, "ready": true}]}`, temporalPart, process.Process.Pid)
		if err := os.WriteFile(record+".new", []byte(text), 0o600); err != nil {
			return nil, err
		}
		return process, os.Rename(record+".new", record)
	}
	first, err := start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	second := make(chan *exec.Cmd, 1)
	go func() {
		_ = first.Wait()
		process, err := start()
		if err != nil {
			t.Error(err)
			stop()
		}
		second <- process
	}()
	var told strings.Builder
	WatchTemporal(ctx, &World{record: record}, 100*time.Millisecond, func(context.Context) error {
		select {
		case process := <-second:
			second <- process
			stop()
			return nil
		default:
			return errors.New("interrupted (9)")
		}
	}, &told)
	last := <-second
	if t.Failed() {
		return
	}
	if err := last.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the second process: %v", err)
	}
	_ = last.Process.Kill()
	_ = last.Wait()
	if said := told.String(); strings.Count(said, "started again: interrupted (9)") != 1 {
		t.Errorf("told was %q", said)
	}
}
