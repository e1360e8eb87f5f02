package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/export"
)

// printed is what a command prints for people, and the text of its answer.
func printed(t *testing.T, say func(p *program) error) (out, answer string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if err := say(&program{stdio: stdio{in: strings.NewReader(""), out: &stdout, err: &stderr}}); err != nil {
		answer = err.Error()
	}
	return stdout.String(), answer
}

func runOf(from, revision int) export.Run {
	return export.Run{Export: "shop-events", Interval: hour(26, from, time.Hour), Revision: revision}
}

// On the way it says in a line how far it is, and what it has found so far.
func TestAReconciliationSaysHowFarItIs(t *testing.T) {
	for want, sofar := range map[string]export.ReconcileReport{
		"looked at 0 of 1 interval": {Intervals: 1},
		"looked at 122,000 of 200,108 intervals · 1,203 missing or failed": {
			Intervals: 200_108, Reconciled: export.Reconciled{States: map[export.IntervalState]int{export.StateProved: 120_797, export.StateMissing: 1200, export.StateFailed: 3}},
		},
		"looked at 24 of 24 intervals · 5 runs compared · 2 not what they were, 1 healed": {
			Intervals: 24, Compared: 5, ChangedRuns: 2, Healed: 1, Reconciled: export.Reconciled{States: map[export.IntervalState]int{export.StateProved: 24}},
		},
	} {
		if got := reconcileLine(sofar); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What was found is told once, by runs' names and without numbers of chunks that are none, and with what to do.
func TestAReconciliationNamesRemedies(t *testing.T) {
	day := hour(26, 0, 24*time.Hour)
	holes := hour(26, 3, 5*time.Hour)
	report := export.ReconcileReport{
		Export: "shop-events", Span: day, Intervals: 24, Published: 17, Compared: 10, ChangedRuns: 3,
		Changed:   map[export.Change]int{export.ChangeDrift: 1, export.ChangeRemoved: 2},
		Leftovers: &export.Leftovers{},
		Findings: []export.Finding{
			{Run: runOf(0, 1), Change: export.ChangeDrift, Chunk: -1, What: runOf(0, 1).String() + " was published with 3 rows, ClickHouse has 2 now"},
			{Run: runOf(1, 1), Change: export.ChangeRemoved, Chunk: -1, What: "the ledger has revision 2 as published, and readers find revision 1"},
			{Run: runOf(2, 1), Change: export.ChangeRemoved, Chunk: 0, What: runOf(2, 1).String() + ", chunk 0: bucket \"lake\" has no object a"},
		},
	}
	for at := 3; at < 8; at++ {
		report.Count(export.Standing{Interval: hour(26, at, time.Hour), State: export.StateMissing})
	}
	for at := 8; at < 10; at++ {
		report.Count(export.Standing{Interval: hour(26, at, time.Hour), State: export.StatePaused, Why: "lunch\n(paused by ada)"})
	}
	for range 17 {
		report.Count(export.Standing{State: export.StateProved})
	}
	if report.Holes == nil || *report.Holes != holes {
		t.Fatalf("the holes are %s", report.Holes)
	}
	asked := export.ReconcileTask{Fill: true, Leftovers: true}.WithDefaults()
	out, answer := printed(t, func(p *program) error {
		p.printReconciled(asked, report)
		p.printRemedies(asked, report)
		return reconciledWell(report)
	})
	const run = "shop-events 2026-11-26T"
	if diff := cmp.Diff(`shop-events, 2026-11-26T00:00:00Z–2026-11-27T00:00:00Z: 24 intervals
STATE            COUNT
proved           17
paused           2
missing          5
record restored  0
compared         10 of 17 published runs
drift            1
altered          0
removed          2
2026-11-26T03:00:00Z–2026-11-26T08:00:00Z missing (5 intervals)
2026-11-26T08:00:00Z–2026-11-26T10:00:00Z paused (2 intervals): lunch (paused by ada)
drift: `+run+`00:00:00Z–2026-11-26T01:00:00Z r1 was published with 3 rows, ClickHouse has 2 now
removed: `+run+`01:00:00Z–2026-11-26T02:00:00Z r1: the ledger has revision 2 as published, and readers find revision 1
removed: `+run+`02:00:00Z–2026-11-26T03:00:00Z r1, chunk 0: bucket "lake" has no object a
left over: 0 chunks, 0 B (what is younger than `+export.DefaultRemoveAfter.String()+` is left alone, and not counted)
to fill it: millrace backfill shop-events --start 2026-11-26T03:00:00Z --end 2026-11-26T08:00:00Z
not filling what is paused, 2 intervals: to go on, and fill that: millrace resume shop-events --fill
to export again what is not what it was: millrace reconcile shop-events --start 2026-11-26T00:00:00Z --end 2026-11-27T00:00:00Z --all --revise
`, out); diff != "" {
		t.Errorf("it prints (-want +got):\n%s", diff)
	}
	if want := "5 intervals missing, 1 run with drift, 2 runs with something removed"; answer != want {
		t.Errorf("the answer is %q, want %q", answer, want)
	}

	// Of more runs than one call compares, the command is for those from the first to the last that was told.
	report.Published, report.Holes = export.MaxCompared+1, nil
	out, _ = printed(t, func(p *program) error { p.printRemedies(export.ReconcileTask{}, report); return nil })
	if want := "--start 2026-11-26T00:00:00Z --end 2026-11-26T03:00:00Z --all --revise\n"; !strings.HasSuffix(out, want) {
		t.Errorf("it says %q, want …%q", out, want)
	}
	// What was to be healed and was not is told as that.
	if out, _ = printed(t, func(p *program) error { p.printRemedies(export.ReconcileTask{Revise: true}, report); return nil }); out != "" {
		t.Errorf("it says %q", out)
	}
}

// Intervals are one line only where they follow one another and say the same.
func TestStretches(t *testing.T) {
	made := stretchesOf([]export.Standing{
		{Interval: hour(26, 0, time.Hour), State: export.StateMissing},
		{Interval: hour(26, 1, time.Hour), State: export.StateMissing},
		{Interval: hour(26, 3, time.Hour), State: export.StateMissing},
		{Interval: hour(26, 4, time.Hour), State: export.StateFailed, Kind: export.KindData, Why: "spoilt"},
		{Interval: hour(26, 5, time.Hour), State: export.StateFailed, Kind: export.KindData, Why: "spoilt"},
		{Interval: hour(26, 6, time.Hour), State: export.StateFailed, Kind: export.KindData, Why: "spoilt otherwise"},
	})
	var lines []string
	for _, stretch := range made {
		lines = append(lines, stretch.String())
	}
	if diff := cmp.Diff([]string{
		"2026-11-26T00:00:00Z–2026-11-26T02:00:00Z missing (2 intervals)",
		"2026-11-26T03:00:00Z–2026-11-26T04:00:00Z missing",
		"2026-11-26T04:00:00Z–2026-11-26T06:00:00Z failed (2 intervals): spoilt",
		"2026-11-26T06:00:00Z–2026-11-26T07:00:00Z failed: spoilt otherwise",
	}, lines); diff != "" {
		t.Error(diff)
	}
}

func TestAVerificationNamesRemedies(t *testing.T) {
	span := hour(26, 0, 3*time.Hour)
	report := export.VerifyReport{Export: "shop-events", Intervals: []export.Verification{
		{Run: runOf(0, 1), Result: export.VerifiedWhole},
		{Run: runOf(1, 1), Result: export.VerifiedDiffers, Differences: []export.Difference{
			{Chunk: -1, What: "the ledger has revision 2 as published, and readers find revision 1"},
			{Chunk: 0, What: runOf(1, 1).String() + ", chunk 0: bucket \"lake\" has no object a"},
			{Chunk: 1, What: "the table has 3 rows"},
		}},
		{Run: runOf(2, 1), Result: export.VerifiedMissing},
	}}
	out, answer := printed(t, func(p *program) error { return p.printVerified(span, report) })
	_, below, _ := strings.Cut(out, "missing")
	_, below, _ = strings.Cut(below, "\n")
	const run = "shop-events 2026-11-26T01:00:00Z–2026-11-26T02:00:00Z r1"
	if diff := cmp.Diff(run+`: the ledger has revision 2 as published, and readers find revision 1
`+run+`, chunk 0: bucket "lake" has no object a
`+run+`, chunk 1: the table has 3 rows
to export what is missing: millrace backfill shop-events --start 2026-11-26T02:00:00Z --end 2026-11-26T03:00:00Z
to export again what is not what it was: millrace reconcile shop-events --start 2026-11-26T00:00:00Z --end 2026-11-26T03:00:00Z --all --revise
`, below); diff != "" {
		t.Errorf("it prints (-want +got):\n%s", diff)
	}
	if want := "2 of 3 intervals not as published"; answer != want {
		t.Errorf("the answer is %q, want %q", answer, want)
	}
}

// Who presses Ctrl-C is told that nothing goes on, and the exit code is that of a signal.
func TestAReconciliationThatIsStoppedSaysSo(t *testing.T) {
	err := ofCancelled(stopped{os.Interrupt})
	if code := exitCode(t.Context(), err); code != exitStopped || !strings.Contains(err.Error(), "the reconciliation is cancelled") {
		t.Errorf("exit code %d: %v", code, err)
	}
	if other := errors.New("away"); !errors.Is(ofCancelled(other), other) || ofCancelled(other).Error() != other.Error() {
		t.Error("another error is told as a signal")
	}
}
