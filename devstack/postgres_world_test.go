//go:build world

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgres connects as COMMAND would, until the test's end.
func (u *up) postgres() *pgx.Conn {
	u.t.Helper()
	client, err := pgx.Connect(u.t.Context(), u.record.Environment["MILLRACE_POSTGRES_URL"])
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

func (u *up) execute(client *pgx.Conn, statements ...string) {
	u.t.Helper()
	for _, statement := range statements {
		if _, err := client.Exec(u.t.Context(), statement); err != nil {
			u.t.Fatalf("%s: %v", statement, err)
		}
	}
}

func (u *up) number(client *pgx.Conn, query string) (n int) {
	u.t.Helper()
	if err := client.QueryRow(u.t.Context(), query).Scan(&n); err != nil {
		u.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// busy has the server count for ever on a connection of its own, and returns the process that does.
func (u *up) busy(watcher *pgx.Conn) int {
	u.t.Helper()
	client := u.postgres()
	pid := int(client.PgConn().PID())
	go func() {
		_, _ = client.Exec(context.Background(), "SELECT count(*) FROM generate_series(1, 1000000000000)")
	}()
	u.await("the server to count", func() bool {
		return u.number(watcher, fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND state = 'active'", pid)) == 1
	})
	return pid
}

// processState is the letter by which Linux tells how a process is, or "" when it is gone.
func processState(pid int) string {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(string(content), ") ")
	return after[:1]
}

func TestPostgresIsKilledWholeAndComesBackWithWhatItHadAnsweredFor(t *testing.T) {
	u := start(t, []string{"--free", "--parts", "postgres", "--revive"}, "echo begun; read answer; exit 7")
	u.execute(u.postgres(), "CREATE TABLE kept (n int)", "CREATE UNLOGGED TABLE lost (n int)", "INSERT INTO lost SELECT generate_series(1, 1000)")
	for round, target := range []func(pid int) int{
		func(pid int) int { return -pid }, // its group: what guard and crash tests do
		func(pid int) int { return pid },  // the process that world.json names
	} {
		client := u.postgres()
		u.execute(client, "INSERT INTO kept SELECT generate_series(1, 1000)")
		before, _ := u.pidOf("postgres")
		worker := u.busy(client)
		if err := syscall.Kill(target(before), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		u.await("postgres to answer again", func() bool {
			now, ready := u.pidOf("postgres")
			return now != before && ready
		})
		if state := processState(worker); state != "" && state != "Z" {
			t.Errorf("round %d: process %d of the killed server is beside its successor, in state %s", round, worker, state)
		}
		again := u.postgres()
		if got, want := u.number(again, "SELECT count(*) FROM kept"), 1000*(round+1); got != want {
			t.Errorf("round %d: the table has %d rows, want %d", round, got, want)
		}
		if got := u.number(again, "SELECT count(*) FROM lost"); got != 0 {
			t.Errorf("round %d: the unlogged table has %d rows after a crash, want none", round, got)
		}
	}
	pids := u.pids()
	pids["postgres"], _ = u.pidOf("postgres")
	pids["a busy process of the server"] = u.busy(u.postgres())
	u.in.Close()
	if code := u.exitCode(); code != 7 {
		t.Errorf("exit code %d, want COMMAND's 7", code)
	}
	u.wantAllGone(pids)
}

func TestPostgresIsStoppedWholeBySIGSTOPToItsGroupAndGoesOn(t *testing.T) {
	u := start(t, []string{"--free", "--parts", "postgres"}, "echo begun; read answer; exit 0")
	client := u.postgres()
	worker := u.busy(client)
	pid, _ := u.pidOf("postgres")
	if err := syscall.Kill(-pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	u.await("the server's busy process to stand still", func() bool {
		return processState(worker) == "T"
	})
	if err := syscall.Kill(-pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// It goes on, and can be ended by another session, as an operator would.
	u.execute(client, fmt.Sprintf("SELECT pg_terminate_backend(%d, 10000)", worker))
	if state := processState(worker); state != "" && state != "Z" {
		t.Errorf("the ended session's process is in state %s", state)
	}
}

func TestPostgresEndsInOrderWithClientsAtWorkAndNeverRunsAsRoot(t *testing.T) {
	ports, held, err := freePorts(t.TempDir(), []Part{Postgres{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	held.Close()
	data := filepath.Join(t.TempDir(), "data")
	flags := []string{"--parts", "postgres", "--data", data, "--port", fmt.Sprintf("postgres=%d", ports["postgres"])}
	for n := range 2 {
		u := start(t, flags, "echo begun; read answer; exit 3")
		client := u.postgres()
		u.execute(client, "CREATE TABLE IF NOT EXISTS kept (n int)", "INSERT INTO kept VALUES (1)")
		if got := u.number(client, "SELECT count(*) FROM kept"); got != n+1 {
			t.Errorf("start %d: the table has %d rows, want %d", n, got, n+1)
		}
		info, err := os.Stat(fmt.Sprintf("/proc/%d", client.PgConn().PID()))
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner == 0 {
			t.Error("the server runs as root")
		}
		u.execute(client, "BEGIN", "INSERT INTO kept VALUES (2)")
		u.busy(u.postgres())
		pids, began := u.pids(), time.Now()
		u.in.Close()
		if code := u.exitCode(); code != 3 {
			t.Errorf("exit code %d, want COMMAND's 3\n%s", code, u.out)
		}
		if took := time.Since(began); took > stopWithin/2 {
			t.Errorf("it took %s to end; a kill comes after %s", took, stopWithin)
		}
		u.wantAllGone(pids)
		if log := lastLines(filepath.Join(data, "postgres.log"), 1); len(log) != 1 || !strings.Contains(log[0], "database system is shut down") {
			t.Errorf("the server did not end in order: %q", log)
		}
	}
}

// A folder that was being made when its devstack was killed, and the number of a process that is another's by now.
func TestPostgresStartsOverWhatAKilledStartLeft(t *testing.T) {
	ports, held, err := freePorts(t.TempDir(), []Part{Postgres{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	held.Close()
	data := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(data, "postgres", "data.new", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--parts", "postgres", "--data", data, "--port", fmt.Sprintf("postgres=%d", ports["postgres"])}
	first := start(t, flags, "echo begun; read answer")
	first.execute(first.postgres(), "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
	pids := first.pids()
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.wantAllGone(pids)

	stale := filepath.Join(data, "postgres", "data", "postmaster.pid")
	content, err := os.ReadFile(stale)
	if err != nil {
		t.Fatalf("a killed server leaves its file: %v", err)
	}
	_, rest, _ := strings.Cut(string(content), "\n")
	if err := os.WriteFile(stale, fmt.Appendf(nil, "%d\n%s", os.Getpid(), rest), 0o600); err != nil {
		t.Fatal(err)
	}
	again := start(t, flags, "echo begun; read answer")
	if got := again.number(again.postgres(), "SELECT count(*) FROM kept"); got != 1000 {
		t.Errorf("the table has %d rows, want 1000", got)
	}
}
