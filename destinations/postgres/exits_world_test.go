//go:build world

package postgres

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
	"github.com/millrace/millrace/internal/testworld"
)

// worker is a role of the test's own, so that each of its sessions is known: at whatever statement it stands.
type worker struct{ role, address string }

func (s schema) worker(t testing.TB) worker {
	t.Helper()
	name, address := s.role(t, "")
	s.do(t, "GRANT CREATE, USAGE ON SCHEMA "+s.name+" TO "+name)
	return worker{name, address}
}

// nothingRuns wants that no session of a worker is left, and no lock of a session of its that is gone: soon, and by itself.
func (s schema) nothingRuns(t testing.TB, w worker) {
	t.Helper()
	testworld.Eventually(t, 20*time.Second, func() error {
		if left := s.list(t, "SELECT concat_ws(' ', pid, state, wait_event, left(query, 100)) FROM pg_stat_activity WHERE usename = $1", w.role); len(left) > 0 {
			return fmt.Errorf("the server still has %q", left)
		}
		return nil
	})
	if held := s.list(t, "SELECT concat_ws(' ', pid, mode, relation::regclass) FROM pg_locks WHERE pid NOT IN (SELECT pid FROM pg_stat_activity WHERE usename <> $2) AND (locktype = 'advisory' OR relation IN (SELECT oid FROM pg_class WHERE relnamespace = $1::regnamespace))", s.name, w.role); len(held) > 0 {
		t.Errorf("there are the locks %q", held)
	}
	if left := s.list(t, "SELECT gid FROM pg_prepared_xacts WHERE owner = $1", w.role); len(left) > 0 {
		t.Errorf("there are the prepared transactions %q", left)
	}
}

// stands waits until a session of a worker waits for a lock.
func (s schema) stands(t testing.TB, w worker) {
	t.Helper()
	s.await(t, "a session to wait for a lock", func() bool {
		return len(s.list(t, "SELECT pid::text FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'", w.role)) > 0
	})
}

// A run that is cancelled between any two statements leaves no session, no transaction and no lock. A workflow that is
// terminated or reset is told to its worker in the same way, by the next heartbeat.
func TestACancelLeavesNothingRunning(t *testing.T) {
	for _, test := range everyPoint {
		t.Run(test.point, func(t *testing.T) {
			s := newSchema(t)
			w := s.worker(t)
			disarm, err := failpoint.Arm(test.point + "=wait@1")
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			working, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			plan, d := s.planOf(t, 0, 10, nil), s.openAt(t, w.address, nil)
			go func() {
				_, err := runOnce(working, d, plan, someRows(10))
				ended <- err
			}()
			s.await(t, test.point, func() bool { return failpoint.Hits(test.point) == 1 })
			cancel()
			wantError(t, <-ended, export.KindCancelled)
			s.nothingRuns(t, w)
		})
	}
}

// held has a table locked by somebody else until the test says so.
func (s schema) held(t testing.TB, table string) (free func()) {
	t.Helper()
	other := s.connect(t, s.url) // within a transaction a session does not see what others do meanwhile
	for _, statement := range []string{"BEGIN", "LOCK TABLE " + s.name + "." + table + " IN ACCESS EXCLUSIVE MODE"} {
		if _, err := other.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return func() { _ = other.Close(context.Background()) }
}

// Within a statement that takes long, here for a lock that somebody holds, the server hears of a cancel, and notices that a process
// was killed; that it hears of an Abort is a promise of the suite. The lock is held until nothing of the worker's is left.
func TestALongStatementEndsWithItsWorker(t *testing.T) {
	staged := func(t *testing.T, s schema, w worker) export.Manifest {
		t.Helper()
		manifest, err := write(t.Context(), s.openAt(t, w.address, nil), s.planOf(t, 0, 10, nil), someRows(10))
		if err != nil {
			t.Fatal(err)
		}
		return manifest
	}
	t.Run("a publication that is cancelled", func(t *testing.T) {
		s := newSchema(t)
		w := s.worker(t)
		manifest := staged(t, s, w)
		defer s.held(t, "events")()
		s.cancels(t, w, func(ctx context.Context, d *Destination) error {
			_, err := d.Publish(ctx, manifest)
			return err
		})
	})
	t.Run("a reading back that is cancelled", func(t *testing.T) {
		s := newSchema(t)
		w := s.worker(t)
		manifest := staged(t, s, w)
		defer s.held(t, manifest.Receipts[0].Location)()
		s.cancels(t, w, func(ctx context.Context, d *Destination) error {
			_, err := d.ReadRows(ctx, manifest.Run, manifest.Receipts[0], d.columns)
			return err
		})
	})
	t.Run("a publication whose process is killed", func(t *testing.T) {
		s := newSchema(t)
		w := s.worker(t)
		plan := s.planOf(t, 0, 10, nil)
		if _, err := s.openAt(t, w.address, nil).Prepare(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		child := s.child(t, w, plan, "postgres.run.taken=stop@1")
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		s.await(t, "the process to stand still", func() bool {
			return len(s.list(t, "SELECT pid::text FROM pg_stat_activity WHERE usename = $1 AND state = 'idle in transaction' AND query LIKE '%millrace_runs%'", w.role)) > 0
		})
		defer s.held(t, "events")()
		if err := child.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		s.stands(t, w)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		s.nothingRuns(t, w)
	})
}

// cancels begins something that comes to wait for a lock, cancels it, and wants that nothing is left of it.
func (s schema) cancels(t *testing.T, w worker, do func(context.Context, *Destination) error) {
	t.Helper()
	working, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	d := s.openAt(t, w.address, nil)
	go func() { ended <- do(working, d) }()
	s.stands(t, w)
	cancel()
	wantError(t, <-ended, export.KindCancelled)
	s.nothingRuns(t, w)
}

// child is a process that does a run of a plan as a worker, with failpoints.
func (s schema) child(t testing.TB, w worker, plan export.Plan, points string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), program)
	child.Env = append(os.Environ(), childVariable+"="+string(encoded(t, childRun{w.address, plan})), failpoint.Variable+"="+points)
	return child
}
