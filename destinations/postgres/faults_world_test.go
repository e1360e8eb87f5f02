//go:build world

package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

var tenOClock = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// row is an event of the tests.
type row struct {
	id      int
	event   string
	arrival time.Time
}

// rows is a source of events that count from 1.
type rows []row

func someRows(count int) rows {
	var made rows
	for id := range count {
		made = append(made, row{id + 1, "event", tenOClock.Add(time.Duration(id) * time.Microsecond)})
	}
	return made
}

func (r rows) Open(context.Context, export.Encoding) (io.ReadCloser, error) {
	const instant = "2006-01-02T15:04:05.000000Z"
	var out bytes.Buffer
	for _, one := range r {
		fmt.Fprintf(&out, "1\t00000000-0000-7000-8000-%012x\t%s\tsomebody\t%s\t{\"n\":%[1]d}\t%[3]s\t%[3]s\n", one.id, one.event, one.arrival.Format(instant))
	}
	return io.NopCloser(&out), nil
}

// planOf is a plan with one chunk of so many rows, of the n-th hour.
func (s schema) planOf(t testing.TB, hour, rows int, more map[string]any) export.Plan {
	t.Helper()
	start := tenOClock.Add(time.Duration(hour) * time.Hour)
	run := export.Run{Export: "shop-rows", Interval: export.Interval{Start: start, End: start.Add(time.Hour)}, Revision: 1}
	definition := export.Definition{
		Name: run.Export, Team: export.Team{ID: 1}, Connection: "warehouse", Every: export.Duration(time.Hour),
		Destination: "postgres", Settings: s.settings(t, more),
	}.WithDefaults()
	return export.Plan{
		Version: export.PlanVersion, Run: run, Definition: definition, DefinitionHash: definition.Hash(),
		Closing: export.Closing{Rule: export.RuleWatermark, Watermark: "w"},
		Rows:    uint64(rows), Chunks: []export.Chunk{{Rows: uint64(rows)}},
		By: export.Author{WorkflowID: "w", RunID: "x", At: tenOClock},
	}
}

// write does a run of a plan up to its proof.
func write(ctx context.Context, d destinations.Destination, plan export.Plan, source destinations.Source) (export.Manifest, error) {
	prepared, err := d.Prepare(ctx, plan)
	if err != nil {
		return export.Manifest{}, fmt.Errorf("prepare: %w", err)
	}
	if prepared.Published != nil {
		return *prepared.Published, nil
	}
	receipt, err := d.WriteChunk(ctx, destinations.ChunkTask{
		Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: prepared.Plan.Hash(), Execution: "x", Source: source,
	})
	if err != nil {
		return export.Manifest{}, fmt.Errorf("write chunk: %w", err)
	}
	receipts := []export.Receipt{receipt}
	proof, err := d.Prove(ctx, plan, receipts)
	if err != nil {
		return export.Manifest{}, fmt.Errorf("prove: %w", err)
	}
	return export.NewManifest(plan, receipts, proof, plan.By), nil
}

// runOnce does a whole run of a plan. As a workflow does, it closes a revision that can never be worked, and may find that
// somebody published it: then his clean-up took the staging tables.
func runOnce(ctx context.Context, d destinations.Destination, plan export.Plan, source destinations.Source) (export.Manifest, error) {
	manifest, err := write(ctx, d, plan, source)
	if err == nil {
		manifest, err = d.Publish(ctx, manifest)
	}
	if !export.IsUnworkable(err) {
		return manifest, err
	}
	ending, closeErr := d.Close(ctx, export.Closed{Version: export.ClosedVersion, Run: plan.Run, Reason: err.Error(), By: plan.By})
	if closeErr != nil || ending.Published == nil {
		return export.Manifest{}, errors.Join(err, closeErr)
	}
	return *ending.Published, nil
}

// wantRun wants so many rows in the target, each once, one run, and no other table than those of a schema at rest.
func (s schema) wantRun(t testing.TB, count int) {
	t.Helper()
	got := s.text(t, "SELECT count(*) || ' rows, ' || count(DISTINCT uuid) || ' events, ' || (SELECT count(*) FROM SCHEMA.millrace_runs) || ' runs, ' || (SELECT count(*) FROM SCHEMA.millrace_plans) || ' plans' FROM SCHEMA.events")
	if want := fmt.Sprintf("%d rows, %[1]d events, 1 runs, 1 plans", count); got != want {
		t.Errorf("there are %s, want %s", got, want)
	}
	if left := s.stagingTables(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func (s schema) stagingTables(t testing.TB) []string {
	return s.list(t, "SELECT relname::text FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r' AND relname LIKE 'millrace\\_staging%'", s.name)
}

// everyPoint are the places before and after each side effect, and whether the run is published when a process dies there.
var everyPoint = []struct {
	point     string
	published bool
}{
	{"postgres.looked", false},
	{"postgres.plan.put", false},
	{"postgres.plan.answered", false},
	{"postgres.chunk.begun", false},
	{"postgres.staging.created", false},
	{"postgres.copied", false},
	{"postgres.staging.commit", false},
	{"postgres.staging.committed", false},
	{"postgres.publish.begun", false},
	{"postgres.run.taken", false},
	{"postgres.staging.proved", false},
	{"postgres.rows.moved", false},
	{"postgres.publish.commit", false},
	{"postgres.publish.committed", true},
}

// A fault at each side effect, before it and after it, ends the step, and the repeat of the run completes it: one copy of
// each row, one run, no staging.
func TestAFaultAtEverySideEffectCostsOneRepeat(t *testing.T) {
	for _, mode := range []string{modeAppend, modeMerge} {
		for _, test := range everyPoint {
			t.Run(mode+" "+test.point, func(t *testing.T) {
				s := newSchema(t)
				more := map[string]any{"mode": mode}
				plan := s.planOf(t, 0, 10, more)
				disarm, err := failpoint.Arm(test.point + "=error@1")
				if err != nil {
					t.Fatal(err)
				}
				defer disarm()
				if _, err := runOnce(t.Context(), s.open(t, more), plan, someRows(10)); !errors.Is(err, failpoint.ErrInjected) && err == nil {
					t.Errorf("the fault was not told: %v", err)
				}
				if failpoint.Hits(test.point) == 0 {
					t.Fatal("the point was never passed")
				}
				if _, err := runOnce(t.Context(), s.open(t, more), plan, someRows(10)); err != nil {
					t.Fatalf("the repeat: %v", err)
				}
				s.wantRun(t, 10)
			})
		}
	}
}

// childVariable makes a process of this test binary do one run and end.
const childVariable = "MILLRACE_TEST_POSTGRES_RUN"

// childRun is what such a process is told.
type childRun struct {
	URL  string      `json:"url"`
	Plan export.Plan `json:"plan"`
}

func init() {
	if told := os.Getenv(childVariable); told != "" {
		asChild = func() { os.Exit(runAsChild(told)) }
	}
}

func runAsChild(told string) int {
	var run childRun
	err := json.Unmarshal([]byte(told), &run)
	if err == nil {
		var block json.RawMessage
		if block, err = destinations.EncodeBlock(connection{URL: run.URL}); err == nil {
			var destination destinations.Destination
			if destination, err = open(context.Background(), block, run.Plan.Definition.Settings, destinations.ShapeOf(export.Definition{}.WithDefaults())); err == nil {
				_, err = runOnce(context.Background(), destination, run.Plan, someRows(int(run.Plan.Rows)))
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// A process that is killed between any two statements leaves no session and nothing that a reader could take for a run, and its
// successor completes the run with one copy of each row.
func TestAProcessKilledAtAnySideEffectIsSucceeded(t *testing.T) {
	for _, test := range everyPoint {
		t.Run(test.point, func(t *testing.T) {
			t.Parallel()
			s := newSchema(t)
			plan := s.planOf(t, 0, 10, nil)
			w := s.worker(t)
			output, err := s.child(t, w, plan, test.point+"=kill@1").CombinedOutput()
			var ended *exec.ExitError
			if !errors.As(err, &ended) || ended.Exited() {
				t.Fatalf("the process was to be killed and ended with %v:\n%s", err, output)
			}
			s.nothingRuns(t, w)
			published, err := s.open(t, nil).Published(t.Context(), plan.Run)
			if err != nil || (published != nil) != test.published {
				t.Errorf("published after the kill: %v (%v), want %t", published, err, test.published)
			}
			if _, err := runOnce(t.Context(), s.open(t, nil), plan, someRows(10)); err != nil {
				t.Fatalf("the successor: %v", err)
			}
			s.wantRun(t, 10)
		})
	}
}

// Two who do the same run at the same time leave one copy, and both say that it is published, by the same one.
func TestTwoRunsAtOnceLeaveOneCopy(t *testing.T) {
	for _, mode := range []string{modeAppend, modeMerge} {
		t.Run(mode, func(t *testing.T) {
			s := newSchema(t)
			more := map[string]any{"mode": mode}
			plan := s.planOf(t, 0, 1000, more)
			const many = 6
			answers := make(chan export.Manifest, many)
			for i := range many {
				author := plan
				author.By.WorkflowID = fmt.Sprint(i)
				go func() {
					manifest, err := runOnce(context.Background(), s.open(t, more), author, someRows(1000))
					if err != nil {
						t.Errorf("run %d: %v", i, err)
					}
					answers <- manifest
				}()
			}
			publishers := map[string]bool{}
			for range many {
				publishers[(<-answers).By.WorkflowID] = true
			}
			if len(publishers) != 1 {
				t.Errorf("published by %v", publishers)
			}
			s.wantRun(t, 1000)
		})
	}
}

// One who publishes stands still with its transaction open. The other waits, and when the server ends the first one's
// session for its idleness, or somebody its process, it publishes; the first finds that out, and adopts.
func TestAPublisherThatStandsStillIsSucceeded(t *testing.T) {
	s := newSchema(t)
	plan := s.planOf(t, 0, 10, nil)
	manifest, err := write(t.Context(), s.open(t, nil), plan, someRows(10))
	if err != nil {
		t.Fatal(err)
	}
	disarm, err := failpoint.Arm("postgres.rows.moved=wait@1")
	if err != nil {
		t.Fatal(err)
	}
	defer disarm()
	first, second := manifest, manifest
	first.By.WorkflowID, second.By.WorkflowID = "first", "second"
	type answer struct {
		manifest export.Manifest
		err      error
	}
	answers := map[string]chan answer{"first": make(chan answer, 1), "second": make(chan answer, 1)}
	publish := func(name string, m export.Manifest) {
		published, err := s.open(t, nil).Publish(context.Background(), m)
		answers[name] <- answer{published, err}
	}
	go publish("first", first)
	s.await(t, "failpoint", func() bool { return failpoint.Hits("postgres.rows.moved") == 1 })
	go publish("second", second)
	s.await(t, "the second to wait", func() bool {
		return s.text(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%"+s.name+"%millrace_runs%'") == "1"
	})
	if published, err := s.open(t, nil).Published(t.Context(), plan.Run); err != nil || published != nil {
		t.Errorf("a reader sees %v (%v) of an open transaction", published, err)
	}
	s.text(t, "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE '%"+s.name+"%'")
	got := <-answers["second"]
	if got.err != nil || got.manifest.By.WorkflowID != "second" {
		t.Errorf("the second publishes as %q, %v", got.manifest.By.WorkflowID, got.err)
	}
	disarm()
	if got := <-answers["first"]; got.err == nil && got.manifest.By.WorkflowID != "second" {
		t.Errorf("the first says that it published: %+v", got.manifest.By)
	}
	again, err := s.open(t, nil).Publish(t.Context(), first)
	if err != nil || again.By.WorkflowID != "second" {
		t.Errorf("the first, again, is answered %q (%v)", again.By.WorkflowID, err)
	}
	s.wantRun(t, 10)
}

func (s schema) await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting for %s", what)
		}
	}
}

// A zombie of an older revision finds nothing to take, and changes nothing.
func TestAZombieOfAnOlderRevisionPublishesNothing(t *testing.T) {
	s := newSchema(t)
	more := map[string]any{"mode": modeMerge}
	old := s.planOf(t, 0, 3, more)
	zombie, err := write(t.Context(), s.open(t, more), old, rows{{1, "old", tenOClock}, {2, "old", tenOClock}, {3, "old", tenOClock}})
	if err != nil {
		t.Fatal(err)
	}
	newer := s.planOf(t, 0, 2, more)
	newer.Run.Revision = 2
	if _, err := runOnce(t.Context(), s.open(t, more), newer, rows{{1, "new", tenOClock}, {2, "new", tenOClock}}); err != nil {
		t.Fatal(err)
	}
	before := s.text(t, "SELECT string_agg(r::text, ' ' ORDER BY r::text) FROM SCHEMA.events AS r")
	holds, err := s.open(t, more).Publish(t.Context(), zombie)
	if err != nil || holds.Run.Revision != 2 {
		t.Errorf("the zombie is answered revision %d (%v)", holds.Run.Revision, err)
	}
	if after := s.text(t, "SELECT string_agg(r::text, ' ' ORDER BY r::text) FROM SCHEMA.events AS r"); after != before {
		t.Errorf("before %s\nafter %s", before, after)
	}
}

// What a revision replaces cannot be told in a table that rows were only added to.
func TestAppendingTakesNoSecondRevision(t *testing.T) {
	s := newSchema(t)
	plan := s.planOf(t, 0, 3, nil)
	if _, err := runOnce(t.Context(), s.open(t, nil), plan, someRows(3)); err != nil {
		t.Fatal(err)
	}
	plan.Run.Revision = 2
	manifest := export.NewManifest(plan, nil, export.Proof{}, plan.By)
	if err := s.open(t, nil).writePlan(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	_, err := s.open(t, nil).Publish(t.Context(), manifest)
	if export.KindOf(err) != export.KindConfig || !strings.Contains(fmt.Sprint(err), "mode append takes no further revision without run_column: the rows of the one that is published cannot be told from others; set run_column, or use mode merge") {
		t.Errorf("got %v (%s)", err, export.KindOf(err))
	}
	if got := s.text(t, "SELECT count(*) FROM SCHEMA.events"); got != "3" {
		t.Errorf("%s rows", got)
	}
}

// With a run column it can: those of the former revision go, and each of the others says which it is of.
func TestARunColumnTellsRevisionsApart(t *testing.T) {
	s := newSchema(t)
	more := map[string]any{"run_column": "millrace_run"}
	plan := s.planOf(t, 0, 3, more)
	if _, err := runOnce(t.Context(), s.open(t, more), plan, someRows(3)); err != nil {
		t.Fatal(err)
	}
	plan.Run.Revision = 2
	d := s.open(t, more)
	if err := d.writePlan(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	receipt, err := d.WriteChunk(t.Context(), destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Source: someRows(3)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		published, err := d.Publish(t.Context(), export.NewManifest(plan, []export.Receipt{receipt}, export.Proof{}, plan.By))
		if err != nil || published.Run.Revision != 2 {
			t.Fatalf("revision %d, %v", published.Run.Revision, err)
		}
	}
	got := s.list(t, "SELECT millrace_run || ' ' || count(*) FROM "+s.name+".events GROUP BY millrace_run ORDER BY 1")
	const run = "shop-rows/20261123T100000Z--20261123T110000Z/"
	if want := []string{run + "r0002-00000 3"}; !slices.Equal(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
	s.do(t, "ALTER TABLE SCHEMA.events DROP COLUMN millrace_run")
	_, err = d.Prepare(t.Context(), s.planOf(t, 1, 1, more))
	wantError(t, err, export.KindSchema, `run_column "millrace_run" is missing: add it as text`)
}

// Whatever somebody does to a staging table between the copy and the publication is seen inside the transaction: a crash
// of the server empties it, a row is changed, doubled, or gone. Readers see nothing of it.
func TestAStagingTableThatWasChangedIsNotPublished(t *testing.T) {
	for name, change := range map[string]string{
		"emptied, as by a crash": "TRUNCATE %s",
		"a row gone":             "DELETE FROM %s WHERE event = 'event' AND uuid = '00000000-0000-7000-8000-000000000004'",
		"a row doubled":          "INSERT INTO %[1]s SELECT * FROM %[1]s LIMIT 1",
		"one doubled, one gone":  "UPDATE %[1]s SET uuid = '00000000-0000-7000-8000-000000000001' WHERE uuid = '00000000-0000-7000-8000-000000000002'",
		"a value changed":        "UPDATE %s SET properties = '{}' WHERE uuid = '00000000-0000-7000-8000-000000000001'",
		"a microsecond changed":  "UPDATE %s SET received_at = received_at + interval '1 microsecond' WHERE uuid = '00000000-0000-7000-8000-000000000001'",
		"two columns swapped":    "UPDATE %s SET event = distinct_id, distinct_id = event",
		"values of rows swapped": "UPDATE %s SET received_at = timestamp '2026-11-23 10:00' + (10 - extract(microseconds from received_at)) * interval '1 microsecond'",
		"dropped":                "DROP TABLE %s",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSchema(t)
			plan := s.planOf(t, 0, 10, nil)
			manifest, err := write(t.Context(), s.open(t, nil), plan, someRows(10))
			if err != nil {
				t.Fatal(err)
			}
			s.do(t, fmt.Sprintf(change, "SCHEMA."+manifest.Receipts[0].Location))
			_, err = s.open(t, nil).Publish(t.Context(), manifest)
			if kind := export.KindOf(err); kind != export.KindData && kind != export.KindNotFound || !export.IsUnworkable(err) {
				t.Errorf("got %v (%s), unworkable %t", err, kind, export.IsUnworkable(err))
			}
			if published, err := s.open(t, nil).Published(t.Context(), plan.Run); err != nil || published != nil {
				t.Errorf("published: %v (%v)", published, err)
			}
			if got := s.text(t, "SELECT count(*) FROM SCHEMA.events"); got != "0" {
				t.Errorf("%s rows are there", got)
			}
			// The interval is run again, with the same plan.
			if _, err := runOnce(t.Context(), s.open(t, nil), plan, someRows(10)); err != nil {
				t.Errorf("again: %v", err)
			}
			s.wantRun(t, 10)
		})
	}
}

// The server ends the session in the middle of COPY, as it does when it is restarted. The attempt leaves nothing, is told
// as the server's trouble, and the next one writes the chunk.
func TestAServerThatEndsInMidCopyLeavesNothing(t *testing.T) {
	s := newSchema(t)
	plan := s.planOf(t, 0, 10, nil)
	if _, err := s.open(t, nil).Prepare(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	before := s.contents(t)
	half := &halfway{ended: make(chan struct{}), reached: make(chan struct{})}
	answer := make(chan error, 1)
	go func() {
		_, err := s.open(t, nil).WriteChunk(context.Background(), destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "x", Source: half})
		answer <- err
	}()
	<-half.reached
	s.await(t, "COPY to begin", func() bool {
		return s.text(t, "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE query LIKE 'COPY \""+s.name+"%' AND state = 'active'") == "1"
	})
	close(half.ended)
	if err := <-answer; export.KindOf(err) != export.KindDestinationUnavailable {
		t.Errorf("got %v (%s)", err, export.KindOf(err))
	}
	if after := s.contents(t); !slices.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
	if _, err := runOnce(t.Context(), s.open(t, nil), plan, someRows(10)); err != nil {
		t.Fatal(err)
	}
	s.wantRun(t, 10)
}

// halfway is a source that stands still after its first rows.
type halfway struct{ reached, ended chan struct{} }

func (h *halfway) Open(ctx context.Context, e export.Encoding) (io.ReadCloser, error) {
	first, err := someRows(5).Open(ctx, e)
	if err != nil {
		return nil, err
	}
	rest, err := someRows(5).Open(ctx, e)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.MultiReader(first, waiting{h}, rest)), nil
}

type waiting struct{ *halfway }

// Read waits, and then ends.
func (w waiting) Read([]byte) (int, error) {
	close(w.reached)
	<-w.ended
	return 0, io.EOF
}

// Staging tables that no run can name any more go with the next Prepare of their export, and nobody else's.
func TestPrepareSweepsOldStagingOfItsExport(t *testing.T) {
	s := newSchema(t)
	d := s.open(t, nil)
	old, other := s.planOf(t, 0, 3, nil), s.planOf(t, 1, 3, nil)
	other.Run.Export = "another"
	for _, plan := range []export.Plan{old, other} {
		if _, err := write(t.Context(), d, plan, someRows(3)); err != nil {
			t.Fatal(err)
		}
	}
	next := s.planOf(t, 2, 1, nil)
	if _, err := d.Prepare(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if left := s.stagingTables(t); len(left) != 2 {
		t.Errorf("after a Prepare that finds none that are old: %v", left)
	}
	next = s.planOf(t, 3, 1, nil)
	next.Definition.GiveUpAfter = 1 // a nanosecond
	if _, err := d.Prepare(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if left := s.stagingTables(t); len(left) != 1 {
		t.Errorf("after a Prepare that finds an old one: %v", left)
	}
}

// A close that is killed or told of no answer is repeated, and there is one mark.
func TestAFaultWhileARevisionIsClosedCostsOneRepeat(t *testing.T) {
	for _, point := range []string{"postgres.close.commit", "postgres.close.committed"} {
		t.Run(point, func(t *testing.T) {
			s := newSchema(t)
			plan := s.planOf(t, 0, 10, nil)
			if _, err := s.open(t, nil).Prepare(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			disarm, err := failpoint.Arm(point + "=error@1")
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			mark := export.Closed{Version: export.ClosedVersion, Run: plan.Run, Reason: "because", By: plan.By}
			if _, err := s.open(t, nil).Close(t.Context(), mark); err == nil {
				t.Error("the fault was not told")
			}
			ending, err := s.open(t, nil).Close(t.Context(), mark)
			if err != nil || ending.Closed == nil || ending.Published != nil {
				t.Errorf("again: %+v, %v", ending, err)
			}
		})
	}
}
