//go:build world

package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// childVariable makes a process of this test binary do one run, or close its revision, or remove what is left over, and end.
const childVariable = "MILLRACE_TEST_S3_RUN"

// childRun is what such a process is told.
type childRun struct {
	Connection connection  `json:"connection"`
	Plan       export.Plan `json:"plan"`
	// Close is set for a process that closes the revision instead, and Claim for one that claims all cells of an interval.
	Close *export.Closed   `json:"close,omitempty"`
	Claim *export.Interval `json:"claim,omitempty"`
	// Remove is set for one that removes what is left over instead.
	Remove bool `json:"remove,omitempty"`
}

func init() {
	if told := os.Getenv(childVariable); told != "" {
		asChild = func() { os.Exit(runAsChild(told)) }
	}
}

func runAsChild(told string) int {
	var run childRun
	if err := json.Unmarshal([]byte(told), &run); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	connectionBlock, err := json.Marshal(run.Connection)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	destination, err := open(context.Background(), connectionBlock, run.Plan.Definition.Settings, destinations.ShapeOf(run.Plan.Definition))
	switch {
	case err != nil:
	case run.Close != nil:
		_, err = destination.Close(context.Background(), *run.Close)
	case run.Remove:
		_, err = destination.(destinations.RemovesLeftovers).RemoveLeftovers(context.Background(), leftTask(true))
	case run.Claim != nil:
		_, err = cutBy(context.Background(), destination, run.Plan, *run.Claim)
	case run.Plan.Definition.Order != "":
		_, err = runInOrder(context.Background(), destination, run.Plan)
	default:
		_, err = runOnce(context.Background(), destination, run.Plan)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// A process that is killed at a side effect, before it or after it, leaves nothing that a reader could take for a run,
// and its successor completes the run with one copy of everything. What may stay is an unfinished upload.
func TestAProcessKilledAtAnySideEffectIsSucceeded(t *testing.T) {
	const small, big = 10, 2*smallPart>>10 + 100
	for _, test := range []struct {
		point  string
		rows   int
		leaves int
	}{
		{"s3.looked", small, 0},
		{"s3.plan.put", small, 0},
		{"s3.plan.answered", small, 0},
		{"s3.chunk.begun", small, 0},
		{"s3.object.put", small, 0},
		{"s3.object.answered", small, 0},
		{"s3.receipt", small, 0},
		{"s3.manifest.put", small, 0},
		{"s3.manifest.answered", small, 0},
		{"s3.upload.created", big, 1},
		{"s3.part.sent", big, 1},
		{"s3.part.answered", big, 1},
		{"s3.complete.sent", big, 1},
		{"s3.complete.answered", big, 0},
	} {
		t.Run(fmt.Sprintf("%s with %d rows", test.point, test.rows), func(t *testing.T) {
			b := newBucket(t)
			plan := planOf(t, test.rows)
			isKilled(t, test.point, childRun{Connection: b.connection, Plan: plan})
			published, err := b.open(t, jsonSettings).Published(t.Context(), plan.Run)
			if done := test.point == "s3.manifest.answered"; err != nil || (published != nil) != done {
				t.Errorf("published after the kill: %v (%v), want %t", published, err, done)
			}
			if _, err := runOnce(t.Context(), b.open(t, jsonSettings), plan); err != nil {
				t.Fatalf("the successor: %v", err)
			}
			b.wantRun(t, test.leaves)
		})
	}
}

// A process that is killed while it does a published run again leaves readers the former revision or the next, whole, and its
// successor leaves the next, beside the former's files.
func TestAProcessKilledInARedoIsSucceeded(t *testing.T) {
	for _, point := range []string{"s3.looked", "s3.plan.put", "s3.plan.answered", "s3.object.put", "s3.object.answered", "s3.receipt", "s3.prove", "s3.manifest.put", "s3.manifest.answered"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			b := newBucket(t)
			plan := planOf(t, 10)
			first, err := runOnce(t.Context(), b.open(t, jsonSettings), plan)
			if err != nil {
				t.Fatal(err)
			}
			again := planOf(t, 7)
			again.Run.Revision, again.Replaces = 2, (&export.Redo{Before: first.By.At.Add(time.Minute), Reason: "because"}).Replaces(plan.Run)
			isKilled(t, point, childRun{Connection: b.connection, Plan: again})
			wanted := 1
			if point == "s3.manifest.answered" {
				wanted = 2
			}
			if published, err := b.open(t, jsonSettings).Published(t.Context(), plan.Run); err != nil || published == nil || published.Run.Revision != wanted {
				t.Errorf("published after the kill: %+v (%v), want revision %d", published, err, wanted)
			}
			for range 2 {
				if manifest, err := runOnce(t.Context(), b.open(t, jsonSettings), again); err != nil || manifest.Run.Revision != 2 || manifest.Rows != 7 {
					t.Fatalf("the successor: %+v, %v", manifest, err)
				}
			}
			if objects := len(b.contents(t)); objects != 6 {
				t.Errorf("the bucket has %d objects, and not two plans, files and manifests", objects)
			}
		})
	}
}

// isKilled runs a child until it is killed at a point.
func isKilled(t *testing.T, point string, told childRun) {
	t.Helper()
	isKilledBy(t, point+"=kill@1", told)
}

// isKilledBy runs a child until it comes to a failpoint that kills it.
func isKilledBy(t *testing.T, hit string, told childRun) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), program)
	child.Env = append(os.Environ(), childVariable+"="+string(encoded(t, told)), failpoint.Variable+"="+hit)
	output, err := child.CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.Exited() {
		t.Fatalf("the process was to be killed and ended with %v:\n%s", err, output)
	}
}

// Killed before its mark is written or after it, who closes is succeeded by who closes next, and one mark holds.
func TestAProcessKilledWhileItClosesIsSucceeded(t *testing.T) {
	for point, holds := range map[string]string{"s3.closed.put": "successor", "s3.closed.answered": "killed"} {
		t.Run(point, func(t *testing.T) {
			b := newBucket(t)
			plan := planOf(t, 10)
			mark := export.Closed{Version: export.ClosedVersion, Run: plan.Run, Reason: "killed", By: plan.By}
			isKilled(t, point, childRun{Connection: b.connection, Plan: plan, Close: &mark})
			mark.Reason = "successor"
			ending, err := b.open(t, jsonSettings).Close(t.Context(), mark)
			if err != nil || ending.Closed == nil || ending.Closed.Reason != holds {
				t.Errorf("closed: %+v, %v, want that of the %s", ending, err, holds)
			}
		})
	}
}
