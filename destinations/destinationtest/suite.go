// Package destinationtest holds every destination to the promises of destinations.Destination. A destination's own
// tests call Run; who adds a destination begins by making it pass.
//
// Each group of promises has a file of its own: plans.go, claims.go, chunks.go, broken.go, proofs.go, publishing.go,
// closing.go, redo.go, leftovers.go, faults.go, readback.go, rows.go; and, of rows that ClickHouse makes and somebody else reads,
// values.go, drift.go, unsure.go. What they find out is told by guarantees.go.
package destinationtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// Subject is one empty place of a system that is under test.
type Subject struct {
	// Kind and Settings are the export's block. The settings must ask for JSONEachRow or TabSeparated, which the suite can
	// make.
	Kind     string
	Settings json.RawMessage
	// Open makes the destination anew, as another worker would.
	Open Opener
	// Contents lists everything that is at the place, finished or not, in any order: one line each, which changes when
	// the thing does. Lines of what no reader can take for data, such as an open upload, begin with "unfinished ".
	Contents func(t testing.TB) []string
	// Staged says that every write of a chunk has a place of its own that no reader sees, and that publishing moves the one
	// that the receipt names: nothing is adopted, and what no receipt names is gone with the publication at the latest.
	Staged bool
	// Irreplaceable says that by these settings no revision can take the place of a published one.
	Irreplaceable bool
	// ByKey says that rows take the place of those with the same key, whatever run they came with.
	ByKey bool
	// Order is the definition's: the suite is run once more with export.OrderStrict where the system ShowsInOrder.
	Order string
	// BigChunk is how many bytes make a chunk that the system takes in several pieces.
	BigChunk int
	// Expired opens the destination with credentials that the system accepts no more, ReadOnly as somebody who may read and
	// not write, and Full where nothing more fits. Nil where the system of the tests cannot do so.
	Expired, ReadOnly, Full Opener
	// ClickHouse and Forms are for what ClickHouse makes and somebody else reads. Without forms nothing is said of it.
	ClickHouse ClickHouse
	Forms      []Form

	lesson *lesson
}

// Opener makes a destination.
type Opener func(t testing.TB) destinations.Destination

// promise is one test of the suite.
type promise struct {
	name string
	hold func(t *testing.T, s Subject)
}

// Run holds a destination to all promises, and tells what it found. newSubject is called for each of them, and gives a new,
// empty place.
func Run(t *testing.T, newSubject func(t *testing.T) Subject) *Guarantees {
	subject := newSubject(t)
	subject.lesson = &lesson{forms: map[string]map[string][]string{}}
	found := &Guarantees{subject: subject, destination: subject.Open(t), columns: export.EventColumns(), held: map[string]bool{}}
	for _, group := range []struct {
		name     string
		promises []promise
	}{
		{"plans", plans},
		{"claims", claims},
		{"chunks", chunks},
		{"broken sources", broken},
		{"proofs", proofs},
		{"publishing", publishing},
		{"closing", closing},
		{"redoing", subject.redoing()},
		{"leftovers", leftovers},
		{"faults", faults},
		{"reading back", readback},
		{"reading rows", inRows},
		{"values", values},
		{"drift", drift},
		{"unknown outcomes", unsure},
		{"order", ordered},
	} {
		if group.name == "reading back" {
			if _, can := found.destination.(destinations.ReadsBack); !can {
				continue // it proves what it stored in its own way
			}
		}
		if group.name == "reading rows" {
			if _, can := found.destination.(destinations.HoldsRows); !can {
				continue // it holds no rows
			}
		}
		group.promises = slices.DeleteFunc(slices.Clone(group.promises), func(p promise) bool { return !subject.tries(group.name, p.name) })
		if group.name == "order" && subject.Order == "" {
			continue // files may appear in any order
		}
		found.all += len(group.promises)
		t.Run(group.name, func(t *testing.T) {
			for _, promise := range group.promises {
				t.Run(promise.name, func(t *testing.T) {
					t.Parallel()
					defer func() { found.note(promise.name, !t.Failed()) }()
					s := newSubject(t)
					s.lesson = subject.lesson
					promise.hold(t, s)
				})
			}
		})
	}
	return found
}

// redoing are the promises about redos that are made by the settings.
func (s Subject) redoing() []promise {
	if s.Irreplaceable {
		return irreplaceable
	}
	return redoing
}

// tries tells whether a promise can be tried at all: some need what not every test of a destination has.
func (s Subject) tries(group, promise string) bool {
	switch promise {
	case expiredPromise:
		return s.Expired != nil
	case readOnlyPromise:
		return s.ReadOnly != nil
	case fullPromise:
		return s.Full != nil
	case underwayPromise:
		return slices.ContainsFunc(s.Forms, func(f Form) bool { return f.Fit != nil })
	}
	switch group {
	case "values", "drift", "unknown outcomes":
		return len(s.Forms) > 0
	}
	return true
}

// theRun is the run that the suite works on, of a place of its own.
var theRun = export.Run{
	Export: "shop-events",
	Interval: export.Interval{
		Start: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
		End:   time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC),
	},
	Revision: export.FirstRevision,
}

// plan draws up a plan of theRun with chunks of so many rows each, as an author would.
func (s Subject) plan(author string, rows ...uint64) export.Plan {
	definition := export.Definition{
		Name: theRun.Export, Team: export.Team{ID: 1}, Connection: "place", Every: export.Duration(time.Hour),
		Destination: s.Kind, Settings: s.Settings, Order: s.Order,
	}.WithDefaults()
	plan := export.Plan{
		Version: export.PlanVersion, Run: theRun, Definition: definition, DefinitionHash: definition.Hash(),
		Closing: export.Closing{Rule: export.RuleWatermark, Watermark: "2026-11-23T11:00:01.000000Z"},
		Chunks:  []export.Chunk{}, By: by(author),
	}
	for i, count := range rows {
		plan.Chunks = append(plan.Chunks, export.Chunk{Index: i, Rows: count})
		plan.Rows += count
	}
	return plan
}

func by(author string) export.Author {
	return export.Author{WorkflowID: author, RunID: author + "-1", At: time.Date(2026, 11, 23, 11, 0, 2, 0, time.UTC)}
}

// task is the work on one chunk of a plan.
func task(plan export.Plan, chunk int, source destinations.Source) destinations.ChunkTask {
	return destinations.ChunkTask{
		Run: plan.Run, Chunk: plan.Chunks[chunk], PlanHash: plan.Hash(), Execution: plan.By.RunID, Source: source,
	}
}

// prepare writes a plan that must hold.
func (s Subject) prepare(t *testing.T, plan export.Plan) {
	t.Helper()
	prepared, err := s.Open(t).Prepare(t.Context(), plan)
	if err != nil {
		t.Fatalf("prepare: %v", err)
	}
	if prepared.Published != nil || prepared.Plan.Hash() != plan.Hash() {
		t.Fatalf("prepare answered plan %s, published %v; the plan is %s", prepared.Plan.Hash(), prepared.Published, plan.Hash())
	}
}

// write writes all chunks of a plan, and has them show where that is a step of its own.
func (s Subject) write(t *testing.T, plan export.Plan) []export.Receipt {
	t.Helper()
	receipts := []export.Receipt{}
	for i, chunk := range plan.Chunks {
		receipt, err := s.Open(t).WriteChunk(t.Context(), task(plan, i, rows(chunk.Rows)))
		if err != nil {
			t.Fatalf("write chunk %d: %v", i, err)
		}
		receipts = append(receipts, receipt)
	}
	return s.show(t, plan, receipts)
}

// finish proves and publishes a plan whose chunks are written.
func (s Subject) finish(t *testing.T, plan export.Plan, receipts []export.Receipt) export.Manifest {
	t.Helper()
	destination := s.Open(t)
	receipts = s.show(t, plan, receipts)
	proof, err := destination.Prove(t.Context(), plan, receipts)
	if err != nil {
		t.Fatalf("prove: %v", err)
	}
	manifest, err := destination.Publish(t.Context(), export.NewManifest(plan, receipts, proof, plan.By))
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return manifest
}

// contents is Contents, sorted.
func (s Subject) contents(t testing.TB) []string {
	t.Helper()
	lines := s.Contents(t)
	slices.Sort(lines)
	return lines
}

// sameContents fails the test when the place is not as it was.
func (s Subject) sameContents(t testing.TB, before []string) {
	t.Helper()
	if after := s.contents(t); !slices.Equal(before, after) {
		t.Errorf("the place has changed. Before:\n  %s\nafter:\n  %s", strings.Join(before, "\n  "), strings.Join(after, "\n  "))
	}
}

// nothingUnfinished fails the test when an unfinished thing lies about.
func (s Subject) nothingUnfinished(t testing.TB) {
	t.Helper()
	for _, line := range s.contents(t) {
		if strings.HasPrefix(line, "unfinished ") {
			t.Errorf("left behind: %s", line)
		}
	}
}

// kindIs fails the test when an error is not of the kind, or says nothing.
func kindIs(t testing.TB, err error, want export.Kind) {
	t.Helper()
	if err == nil || export.KindOf(err) != want || strings.TrimSpace(err.Error()) == "" {
		t.Errorf("got %v (%s), want an error of kind %s", err, export.KindOf(err), want)
	}
}

// same fails the test when two values differ as JSON, which is how they travel.
func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if left, right := asJSON(t, got), asJSON(t, want); left != right {
		t.Errorf("%s:\ngot  %s\nwant %s", what, left, right)
	}
}

func asJSON(t testing.TB, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(fmt.Errorf("encode %T: %w", value, err))
	}
	return string(encoded)
}
