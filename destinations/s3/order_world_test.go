//go:build world

package s3

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// planInOrder is a plan of the interval so many hours after ten, whose files have to appear in order.
func planInOrder(t testing.TB, hours, chunks int) export.Plan {
	t.Helper()
	plan := planOf(t, 10)
	plan.Definition.Order = export.OrderStrict
	plan.DefinitionHash = plan.Definition.Hash()
	plan.Run.Interval = export.Interval{Start: tenOClock.Add(time.Duration(hours) * time.Hour), End: tenOClock.Add(time.Duration(hours+1) * time.Hour)}
	plan.Chunks = nil
	for i := range chunks {
		plan.Chunks = append(plan.Chunks, export.Chunk{Index: i, Rows: 10})
	}
	plan.Rows = uint64(10 * chunks)
	return plan
}

// uploadAll writes all chunks of a plan, out of sight.
func uploadAll(ctx context.Context, d destinations.Destination, plan export.Plan) ([]export.Receipt, error) {
	var receipts []export.Receipt
	for _, chunk := range plan.Chunks {
		receipt, err := d.WriteChunk(ctx, destinations.ChunkTask{
			Run: plan.Run, Chunk: chunk, PlanHash: plan.Hash(), Execution: "x", Source: lines{int(chunk.Rows)},
		})
		if err != nil {
			return nil, fmt.Errorf("write chunk %d: %w", chunk.Index, err)
		}
		receipts = append(receipts, receipt)
	}
	return receipts, nil
}

// runInOrder does a whole run of a plan whose files appear in order.
func runInOrder(ctx context.Context, d destinations.Destination, plan export.Plan) (export.Manifest, error) {
	prepared, err := d.Prepare(ctx, plan)
	if err != nil {
		return export.Manifest{}, fmt.Errorf("prepare: %w", err)
	}
	if prepared.Published != nil {
		return *prepared.Published, nil
	}
	receipts, err := uploadAll(ctx, d, prepared.Plan)
	if err != nil {
		return export.Manifest{}, err
	}
	shown, err := d.(destinations.ShowsInOrder).Show(ctx, prepared.Plan, receipts)
	if err != nil || shown.Waits != "" || len(shown.Lost) > 0 {
		return export.Manifest{}, fmt.Errorf("show: %+v, %w", shown, err)
	}
	proof, err := d.Prove(ctx, prepared.Plan, shown.Receipts)
	if err != nil {
		return export.Manifest{}, fmt.Errorf("prove: %w", err)
	}
	return d.Publish(ctx, export.NewManifest(prepared.Plan, shown.Receipts, proof, plan.By))
}

// files are the data files that a reader of the bucket sees, as he sees them.
func (b bucket) files(t testing.TB) []string {
	t.Helper()
	var keys []string
	for _, line := range b.contents(t) {
		if name, is := strings.CutPrefix(line, "object "); is && strings.Contains(name, ".jsonl:") {
			key, _, _ := strings.Cut(name, ":")
			keys = append(keys, key)
		}
	}
	return keys
}

// uploads counts what is unfinished.
func (b bucket) uploads(t testing.TB) (count int) {
	t.Helper()
	for _, line := range b.contents(t) {
		if strings.HasPrefix(line, "unfinished ") {
			count++
		}
	}
	return count
}

// Killed before each completion and after it, and at everything else that has an effect, a run leaves a beginning of its
// files in their order, and its successor shows the rest, once.
func TestAProcessKilledWhileItShowsIsSucceeded(t *testing.T) {
	for _, test := range []struct {
		hit   string
		shows int
	}{
		{"s3.turn.put=kill@1", 0}, {"s3.turn.answered=kill@1", 0}, {"s3.show=kill@1", 0},
		{"s3.complete.sent=kill@1", 0}, {"s3.complete.answered=kill@1", 1}, {"s3.complete.sent=kill@2", 1}, {"s3.complete.answered=kill@2", 2},
		{"s3.complete.sent=kill@3", 2}, {"s3.complete.answered=kill@3", 3}, {"s3.shown=kill@1", 3}, {"s3.manifest.answered=kill@1", 3},
	} {
		t.Run(test.hit, func(t *testing.T) {
			t.Parallel()
			b := newBucket(t)
			plan := planInOrder(t, 0, 3)
			isKilledBy(t, test.hit, childRun{Connection: b.connection, Plan: plan})
			all := b.openInOrder(t, jsonSettings).(*Destination).keysOf(plan.Run, 3)
			if seen := b.files(t); !slices.Equal(seen, all[:test.shows]) {
				t.Errorf("after the kill it shows %q", seen)
			}
			manifest, err := runInOrder(t.Context(), b.openInOrder(t, jsonSettings), plan)
			if err != nil || manifest.Rows != plan.Rows {
				t.Fatalf("the successor: %d rows, %v", manifest.Rows, err)
			}
			if seen := b.files(t); !slices.Equal(seen, all) || b.uploads(t) > 0 && test.hit != "s3.manifest.answered=kill@1" {
				t.Errorf("it shows %q, and %d uploads are left", seen, b.uploads(t))
			}
		})
	}
}

// Who closes a revision and is killed before he has taken back its uploads, or between two, is made up for by the next run,
// before a file of that appears.
func TestAProcessKilledWhileItClosesARunInOrderIsSucceeded(t *testing.T) {
	for _, hit := range []string{"s3.closed.answered=kill@1", "s3.fence.abort=kill@1", "s3.fence.abort=kill@2"} {
		t.Run(hit, func(t *testing.T) {
			t.Parallel()
			b := newBucket(t)
			d, plan := b.openInOrder(t, jsonSettings), planInOrder(t, 0, 3)
			if _, err := d.Prepare(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if _, err := uploadAll(t.Context(), d, plan); err != nil {
				t.Fatal(err)
			}
			isKilledBy(t, hit, childRun{Connection: b.connection, Plan: plan, Close: &export.Closed{Version: export.ClosedVersion, Run: plan.Run, Reason: "killed", By: plan.By}})
			if _, err := runInOrder(t.Context(), d, planInOrder(t, 1, 2)); err != nil {
				t.Fatal(err)
			}
			if seen := b.files(t); len(seen) != 2 || b.uploads(t) > 0 {
				t.Errorf("it shows %q, and %d uploads are left", seen, b.uploads(t))
			}
		})
	}
}

// A zombie has looked, found its revision open, and sends the completion; just then the revision is closed, and the next run
// shows its files. The completion finds nothing to complete.
func TestAZombiesCompletionAfterACloseShowsNothing(t *testing.T) {
	b := newBucket(t)
	plan, next := planInOrder(t, 0, 2), planInOrder(t, 1, 2)
	var met atomic.Int64
	meddled := b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if isCompletion(r) && met.Add(1) == 2 {
			d := b.openInOrder(t, jsonSettings)
			if _, err := d.Close(r.Context(), export.Closed{Version: export.ClosedVersion, Run: plan.Run, Reason: "closed", By: plan.By}); err != nil {
				t.Error(err)
			}
			if _, err := runInOrder(r.Context(), d, next); err != nil {
				t.Error(err)
			}
		}
		pass.ServeHTTP(w, r)
	})
	if _, err := runInOrder(t.Context(), meddled.openInOrder(t, jsonSettings), plan); err == nil {
		t.Error("the closed run was published")
	}
	seen := b.files(t)
	if len(seen) != 3 || strings.Contains(seen[1], plan.Run.Interval.Key()) || b.uploads(t) > 0 || met.Load() != 2 {
		t.Errorf("after %d completions it shows %q, and %d uploads are left", met.Load(), seen, b.uploads(t))
	}
}

// A zombie that writes only after its revision was closed has an upload that nobody has taken back. It must look before it
// completes; a build that does not is caught.
func TestAZombieThatWritesAfterACloseShowsNothing(t *testing.T) {
	for name, broken := range map[string]bool{"as it is": false, "without looking": true} {
		t.Run(name, func(t *testing.T) {
			b := newBucket(t)
			d, plan := b.openInOrder(t, jsonSettings), planInOrder(t, 0, 1)
			if _, err := d.Prepare(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Close(t.Context(), export.Closed{Version: export.ClosedVersion, Run: plan.Run, Reason: "closed", By: plan.By}); err != nil {
				t.Fatal(err)
			}
			if _, err := runInOrder(t.Context(), d, planInOrder(t, 1, 1)); err != nil {
				t.Fatal(err)
			}
			receipts, err := uploadAll(t.Context(), d, plan)
			if err != nil {
				t.Fatal(err)
			}
			if broken {
				disarm, err := failpoint.Arm(switchShowClosed + "=on")
				if err != nil {
					t.Fatal(err)
				}
				defer disarm()
			}
			_, err = d.(destinations.ShowsInOrder).Show(t.Context(), plan, receipts)
			var closed *export.ClosedError
			if caught := len(b.files(t)) > 1; caught != broken || errors.As(err, &closed) == broken {
				t.Errorf("it shows %q: %v", b.files(t), err)
			}
		})
	}
}

// Two runs look at the same time: the earlier one is planned while the later one has looked, and before its turn is marked,
// or after. In the one case the later waits, in the other the earlier is too late; never do both go.
func TestOfTwoRunsThatLookAtOnceOneGivesWay(t *testing.T) {
	for name, before := range map[string]bool{"planned before the turn": true, "planned after the turn": false} {
		t.Run(name, func(t *testing.T) {
			b := newBucket(t)
			early, late := planInOrder(t, 0, 1), planInOrder(t, 1, 1)
			var prepared destinations.Prepared
			prepare := func() {
				var err error
				if prepared, err = b.openInOrder(t, jsonSettings).Prepare(t.Context(), early); err != nil {
					t.Error(err)
				}
			}
			meddled := b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				turn := r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/turn.json")
				if turn && before {
					prepare()
				}
				pass.ServeHTTP(w, r)
				if turn && !before {
					prepare()
				}
			}).openInOrder(t, jsonSettings)
			if _, err := meddled.Prepare(t.Context(), late); err != nil {
				t.Fatal(err)
			}
			receipts, err := uploadAll(t.Context(), meddled, late)
			if err != nil {
				t.Fatal(err)
			}
			shown, err := meddled.(destinations.ShowsInOrder).Show(t.Context(), late, receipts)
			if waits := shown.Waits != ""; err != nil || waits != before || (prepared.Closed != nil) == before {
				t.Errorf("the later run is answered %+v, %v; the earlier one's closed mark is %+v", shown, err, prepared.Closed)
			}
		})
	}
}

// A run that was given up holds the later ones until it would not be tried any more; then it is closed, and shows nothing.
func TestARunThatWasGivenUpDoesNotHoldTheOrderForEver(t *testing.T) {
	b := newBucket(t)
	d, plan, next := b.openInOrder(t, jsonSettings), planInOrder(t, 0, 2), planInOrder(t, 1, 1)
	if _, err := d.Prepare(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	own, err := uploadAll(t.Context(), d, plan)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runInOrder(t.Context(), d, next); err == nil {
		t.Fatal("the next run does not wait")
	}
	if _, err := runInOrder(t.Context(), b.older(t, time.Duration(export.DefaultGiveUpAfter)+time.Hour).openInOrder(t, jsonSettings), next); err != nil {
		t.Fatal(err)
	}
	published, closed, err := d.(*Destination).committed(t.Context(), plan.Run)
	if err != nil || published != nil || closed == nil || b.uploads(t) > 0 {
		t.Errorf("the run that was given up: %+v, %+v, %v; %d uploads are left", published, closed, err, b.uploads(t))
	}
	var ended *export.ClosedError
	if _, err := d.(destinations.ShowsInOrder).Show(t.Context(), plan, own); len(b.files(t)) != 1 {
		t.Errorf("it shows %q: %v, %t", b.files(t), err, errors.As(err, &ended))
	}
}

var written = regexp.MustCompile(`<(LastModified|Initiated)>[^<]*</`)

// older is the real store, in whose lists everything is that old.
func (b bucket) older(t testing.TB, age time.Duration) bucket {
	return b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Method != http.MethodGet || !r.URL.Query().Has("uploads") && !r.URL.Query().Has("list-type") {
			pass.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		pass.ServeHTTP(answer, r)
		maps.Copy(w.Header(), answer.Header())
		w.Header().Del("Content-Length")
		w.WriteHeader(answer.Code)
		then := time.Now().Add(-age).UTC().Format(time.RFC3339)
		_, _ = w.Write(written.ReplaceAll(answer.Body.Bytes(), []byte("<$1>"+then+"</")))
	})
}
