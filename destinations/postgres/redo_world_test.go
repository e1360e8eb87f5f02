//go:build world

package postgres

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// redoOf is a plan that takes the place of another's published run.
func (s schema) redoOf(plan export.Plan, rows int) export.Plan {
	plan.Replaces = (&export.Redo{Before: tenOClock.Add(24 * time.Hour), Reason: "because"}).Replaces(plan.Run)
	plan.Run.Revision++
	plan.Rows, plan.Chunks = uint64(rows), []export.Chunk{{Rows: uint64(rows)}}
	return plan
}

// wantRevision wants the rows of one revision, all of it and nothing of another, as readers see them.
func (s schema) wantRevision(t testing.TB, revision, rows int) {
	t.Helper()
	got := s.text(t, "SELECT (SELECT revision FROM SCHEMA.millrace_runs) || ' ' || count(*) || ' ' || count(DISTINCT uuid) FROM SCHEMA.events")
	if want := fmt.Sprintf("%d %d %[2]d", revision, rows); got != want {
		t.Errorf("revision, rows and events are %s, want %s", got, want)
	}
}

// redoPoints are those of everyPoint that the publication of a redo has beside the others, and then all of it.
var redoPoints = []string{"postgres.looked", "postgres.plan.answered", "postgres.staging.committed", "postgres.publish.begun", "postgres.run.taken",
	"postgres.staging.proved", "postgres.former.removed", "postgres.rows.moved", "postgres.publish.commit", "postgres.publish.committed"}

// A process that is killed while it does a published run again leaves readers the former revision or the next, whole, and its
// successor leaves the next.
func TestAProcessKilledInARedoIsSucceeded(t *testing.T) {
	for _, point := range redoPoints {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := newSchema(t)
			more := map[string]any{"run_column": "millrace_run"}
			plan := s.planOf(t, 0, 10, more)
			w := s.worker(t)
			if output, err := s.child(t, w, plan, "").CombinedOutput(); err != nil {
				t.Fatalf("%v:\n%s", err, output)
			}
			again := s.redoOf(plan, 7)
			output, err := s.child(t, w, again, point+"=kill@1").CombinedOutput()
			var ended *exec.ExitError
			if !errors.As(err, &ended) || ended.Exited() {
				t.Fatalf("the process was to be killed and ended with %v:\n%s", err, output)
			}
			s.nothingRuns(t, w)
			if point == "postgres.publish.committed" {
				s.wantRevision(t, 2, 7)
			} else {
				s.wantRevision(t, 1, 10)
			}
			if manifest, err := runOnce(t.Context(), s.open(t, more), again, someRows(7)); err != nil || manifest.Run.Revision != 2 {
				t.Fatalf("the successor: revision %d, %v", manifest.Run.Revision, err)
			}
			s.wantRevision(t, 2, 7)
			if left := s.stagingTables(t); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// So does a fault, in the mode that replaces rows by their key.
func TestAFaultInARedoCostsOneRepeat(t *testing.T) {
	for _, point := range redoPoints {
		if point == "postgres.former.removed" {
			continue // rows are replaced by their key
		}
		t.Run(point, func(t *testing.T) {
			s := newSchema(t)
			more := map[string]any{"mode": modeMerge}
			plan := s.planOf(t, 0, 10, more)
			if _, err := runOnce(t.Context(), s.open(t, more), plan, someRows(10)); err != nil {
				t.Fatal(err)
			}
			disarm, err := failpoint.Arm(point + "=error@1")
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			again := s.redoOf(plan, 12)
			if _, err := runOnce(t.Context(), s.open(t, more), again, someRows(12)); err == nil {
				t.Error("the fault was not told")
			}
			if manifest, err := runOnce(t.Context(), s.open(t, more), again, someRows(12)); err != nil || manifest.Run.Revision != 2 {
				t.Fatalf("the repeat: revision %d, %v", manifest.Run.Revision, err)
			}
			s.wantRevision(t, 2, 12)
		})
	}
}

// Rows that were added before there was a run column, or lie in another table, cannot be told or reached, and nothing is done.
func TestARedoOfRowsThatCannotBeToldIsRefused(t *testing.T) {
	s := newSchema(t)
	plan := s.planOf(t, 0, 3, nil)
	if _, err := runOnce(t.Context(), s.open(t, nil), plan, someRows(3)); err != nil {
		t.Fatal(err)
	}
	s.do(t, "ALTER TABLE SCHEMA.events ADD COLUMN millrace_run text")
	for _, more := range []map[string]any{{"run_column": "millrace_run"}, {"run_column": "millrace_run", "table": "others"}} {
		again := s.redoOf(plan, 3)
		again.Definition.Settings = s.settings(t, more)
		_, err := s.open(t, more).Prepare(t.Context(), again)
		if export.KindOf(err) != export.KindConfig || !strings.Contains(fmt.Sprint(err), "was published by mode append with run_column \"\" into table \"events\"") {
			t.Errorf("%v: %v", more, err)
		}
		if plans := s.text(t, "SELECT count(*) FROM SCHEMA.millrace_plans"); plans != "1" {
			t.Errorf("%v: %s plans", more, plans)
		}
	}
	s.wantRevision(t, 1, 3)
}
