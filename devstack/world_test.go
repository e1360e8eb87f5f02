//go:build world

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// These tests run the real program with the real parts.

// patience bounds every wait: the first run on a machine builds Temporal.
const patience = 15 * time.Minute

// up is a running devstack whose COMMAND has told its environment.
type up struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *transcript
	record Record
	ended  chan struct{}
}

// start runs devstack with COMMAND being script, and waits until the script has printed "begun".
func start(t *testing.T, flags []string, script string) *up {
	t.Helper()
	u := &up{t: t, out: &transcript{}, ended: make(chan struct{})}
	const tell = `echo "world=$DEVSTACK_WORLD"; echo "command=$$"; `
	u.cmd = devstack(t, append(flags, "--", "/bin/sh", "-c", tell+script)...)
	u.cmd.Stdout, u.cmd.Stderr = u.out, u.out
	var err error
	if u.in, err = u.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = u.cmd.Wait()
		close(u.ended)
	}()
	t.Cleanup(func() {
		_ = u.cmd.Process.Kill() // the guard ends the rest
		<-u.ended
	})
	u.await("COMMAND to begin", func() bool {
		select {
		case <-u.ended:
			t.Fatalf("devstack ended early: %s\n%s", u.cmd.ProcessState, u.out)
		default:
		}
		return strings.Contains(u.out.String(), "begun\n")
	})
	content, err := os.ReadFile(u.told("world"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &u.record); err != nil {
		t.Fatal(err)
	}
	return u
}

func (u *up) told(name string) string {
	for line := range strings.Lines(u.out.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			return value
		}
	}
	u.t.Fatalf("COMMAND did not tell %s:\n%s", name, u.out)
	return ""
}

func (u *up) await(what string, holds func() bool) {
	u.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			u.t.Fatalf("gave up waiting for %s:\n%s", what, u.out)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (u *up) exitCode() int {
	u.t.Helper()
	select {
	case <-u.ended:
		return u.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		u.t.Fatalf("devstack did not end:\n%s", u.out)
		return 0
	}
}

// pids are those of all parts and of COMMAND.
func (u *up) pids() map[string]int {
	command, err := strconv.Atoi(u.told("command"))
	if err != nil {
		u.t.Fatal(err)
	}
	pids := map[string]int{"COMMAND": command}
	for _, p := range u.record.Parts {
		if p.PID == 0 || !p.Ready {
			u.t.Errorf("world.json has %s as process %d, ready %v", p.Name, p.PID, p.Ready)
		}
		pids[p.Name] = p.PID
	}
	return pids
}

func (u *up) wantAllGone(pids map[string]int) {
	u.t.Helper()
	for name, pid := range pids {
		u.await(fmt.Sprintf("%s (process %d) to be gone", name, pid), func() bool {
			return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
		})
	}
}

func (u *up) wantFolderGone() {
	u.t.Helper()
	u.await("the throw-away folder to be gone", func() bool {
		_, err := os.Stat(filepath.Dir(u.told("world")))
		return os.IsNotExist(err)
	})
}

func (u *up) query(sql string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := post(ctx, u.record.Environment["MILLRACE_CLICKHOUSE_HTTP_URL"], sql)
	return strings.TrimSpace(out), err
}

func TestWorldsSideBySideAreSeparateAndTakenDown(t *testing.T) {
	worlds := make([]*up, 2)
	var both sync.WaitGroup
	for i := range worlds {
		both.Go(func() { worlds[i] = start(t, []string{"--free"}, "echo begun; read answer; exit $answer") })
	}
	both.Wait()
	if t.Failed() {
		return
	}
	for i, u := range worlds {
		if _, err := u.query(fmt.Sprintf("CREATE TABLE millrace.mine ENGINE = MergeTree ORDER BY n AS SELECT %d AS n", i)); err != nil {
			t.Fatal(err)
		}
		for _, part := range Parts() {
			if err := part.Ready(t.Context(), siteOf(t, u.record, part)); err != nil {
				t.Errorf("%s of world %d does not answer: %v", part.Name(), i, err)
			}
		}
	}
	for i, u := range worlds {
		if got, err := u.query("SELECT n FROM millrace.mine"); err != nil || got != strconv.Itoa(i) {
			t.Errorf("world %d has %q, %v", i, got, err)
		}
	}
	for i, u := range worlds {
		pids := u.pids()
		fmt.Fprintf(u.in, "%d\n", 40+i)
		if code := u.exitCode(); code != 40+i {
			t.Errorf("exit code of world %d is %d, want COMMAND's %d", i, code, 40+i)
		}
		u.wantAllGone(pids)
		u.wantFolderGone()
	}
}

// siteOf is the site of a part in a world of another process.
func siteOf(t *testing.T, record Record, part Part) Site {
	t.Helper()
	i := slices.IndexFunc(record.Parts, func(p PartRecord) bool { return p.Name == part.Name() })
	site := Site{Ports: map[string]int{}}
	for name, address := range record.Parts[i].Addresses {
		port, err := strconv.Atoi(address[strings.LastIndex(address, ":")+1:])
		if err != nil {
			t.Fatal(err)
		}
		site.Ports[name] = port
	}
	return site
}

func TestAPartThatDiesIsNamedAndEndsTheWorld(t *testing.T) {
	for _, name := range PartNames() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := start(t, []string{"--free", "--parts", name}, `trap 'echo stopped; exit 0' TERM; echo begun; while :; do sleep 0.05; done`)
			pids := u.pids()
			if err := syscall.Kill(pids[name], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if code := u.exitCode(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for _, want := range []string{name + " died while the world was up: it ended: signal: killed", name + ".log", "stopped\n"} {
				if !strings.Contains(u.out.String(), want) {
					t.Errorf("devstack did not say %q:\n%s", want, u.out)
				}
			}
			u.wantAllGone(pids)
			u.wantFolderGone()
		})
	}
}

func TestASignalReachesCommandWhileTheWorldStillStands(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			u := start(t, []string{"--free"}, `
				drain() { temporal operator cluster health && echo drained; exit 9; }
				trap drain INT TERM; echo begun; while :; do sleep 0.05; done`)
			pids := u.pids()
			if err := u.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if code := u.exitCode(); code != 9 {
				t.Errorf("exit code %d, want COMMAND's 9", code)
			}
			if !strings.Contains(u.out.String(), "SERVING") || !strings.Contains(u.out.String(), "drained\n") {
				t.Errorf("COMMAND could not use the world after the signal:\n%s", u.out)
			}
			u.wantAllGone(pids)
			u.wantFolderGone()
		})
	}
}

func TestNothingSurvivesAKilledDevstack(t *testing.T) {
	u := start(t, []string{"--free"}, `sleep 600 & echo "grandchild=$!"; echo begun; wait`)
	pids := u.pids()
	grandchild, err := strconv.Atoi(u.told("grandchild"))
	if err != nil {
		t.Fatal(err)
	}
	pids["COMMAND's child"] = grandchild
	if err := u.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	u.wantAllGone(pids)
	u.wantFolderGone()
}

// The engine as a library ends itself when a native connection is reset: without the relay in front of it
// this test finds it dead after the first.
func TestClickHouseSurvivesClientsThatAreKilled(t *testing.T) {
	u := start(t, []string{"--free", "--parts", "clickhouse"}, "echo begun; read answer; exit 0")
	native := loopback(siteOf(t, u.record, ClickHouse{}).Ports["clickhouse"])
	for range 20 {
		client, err := net.Dial("tcp", native)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.(*net.TCPConn).SetLinger(0); err != nil { // close becomes a reset
			t.Fatal(err)
		}
		client.Close()
	}
	if got, err := u.query("SELECT 1"); err != nil || got != "1" {
		t.Errorf("after the resets: %q, %v\n%s", got, err, u.out)
	}
	u.in.Close()
	if code := u.exitCode(); code != 0 {
		t.Errorf("exit code %d, want 0\n%s", code, u.out)
	}
}

func TestStateOutlivesTheWorldInItsFolder(t *testing.T) {
	ports, held, err := freePorts(t.TempDir(), Parts(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	flags := []string{"--data", filepath.Join(t.TempDir(), "data")}
	for name, n := range ports {
		flags = append(flags, "--port", fmt.Sprintf("%s=%d", name, n))
	}

	first := start(t, flags, `temporal operator namespace create --namespace kept && echo begun; read answer`)
	if _, err := first.query("CREATE TABLE millrace.kept ENGINE = MergeTree ORDER BY n AS SELECT number AS n FROM numbers(1000)"); err != nil {
		t.Fatal(err)
	}
	second := devstack(t, flags...)
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "another devstack is up in it") {
		t.Errorf("a second devstack in the same folder: %v\n%s", err, out)
	}
	second = devstack(t, append([]string{"--data", filepath.Join(t.TempDir(), "other")}, flags[2:]...)...)
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), fmt.Sprintf("kafka cannot listen on 127.0.0.1:%d", ports["kafka"])) {
		t.Errorf("a second devstack on the same ports: %v\n%s", err, out)
	}
	first.in.Close()
	first.exitCode()

	again := start(t, flags, `temporal operator namespace describe --namespace kept && echo begun; read answer`)
	if got, err := again.query("SELECT count() FROM millrace.kept"); err != nil || got != "1000" {
		t.Errorf("the table has %q rows, %v; want 1000", got, err)
	}
	if got := again.record.Environment["TEMPORAL_ADDRESS"]; got != loopback(ports["temporal"]) {
		t.Errorf("TEMPORAL_ADDRESS is %q, want the chosen port %d", got, ports["temporal"])
	}
}

// transcript is what devstack and COMMAND print, together.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.String()
}
