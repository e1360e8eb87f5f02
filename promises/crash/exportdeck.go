package crash

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/testworld/testcut"
)

// The boundaries of exports, by the names of their failpoints. Each run passes those of its destination, but for a few that
// somebody has to bring about.
var (
	storeBoundaries = []string{
		"s3.looked", "s3.plan.put", "s3.plan.answered", "s3.chunk.begun", "s3.object.put", "s3.object.answered", "s3.upload.created",
		"s3.part.sent", "s3.part.answered", "s3.complete.sent", "s3.complete.answered", "s3.receipt", "s3.readback", "s3.readback.done",
		"s3.prove", "s3.proved", "s3.manifest.put", "s3.manifest.answered",
	}
	tableBoundaries = []string{
		"postgres.looked", "postgres.plan.put", "postgres.plan.answered", "postgres.chunk.begun", "postgres.staging.created", "postgres.copied",
		"postgres.staging.commit", "postgres.staging.committed", "postgres.publish.begun", "postgres.run.taken", "postgres.staging.proved",
		"postgres.rows.moved", "postgres.publish.commit", "postgres.publish.committed",
	}
	// Somebody has to leave an old upload behind.
	sweepBoundaries  = []string{"s3.sweep.abort", "s3.sweep.aborted"}
	ledgerBoundaries = []string{"ledger.insert", "ledger.inserted"}
	// Somebody has to cancel a run, or to spoil its revision.
	cancelBoundaries = map[string]string{"s3.abort": "s3", "s3.aborted": "s3", "postgres.abort": "postgres", "postgres.aborted": "postgres"}
	closeBoundaries  = map[string]string{"s3.closed.put": "s3", "s3.closed.answered": "s3", "postgres.close.commit": "postgres", "postgres.close.committed": "postgres"}
)

// orderedBoundaries are those of `order: strict`, which no export of the harness has: their tests kill at each, one by one
// (docs/exactly-once.md).
var orderedBoundaries = []string{"s3.turn.put", "s3.turn.answered", "s3.show", "s3.shown", "s3.fence.abort", "s3.takeback"}

// redoBoundaries are those of a redo in a table with a run column, which no export of the harness has: a test kills at each.
var redoBoundaries = []string{"postgres.former.removed"}

// leftoverBoundaries are those of a reconciliation that removes what is left over, which is nothing that is younger than an hour:
// tests kill at each.
var leftoverBoundaries = []string{"s3.remove", "s3.removed", "postgres.leftover.drop", "postgres.leftover.dropped"}

// pauseBoundaries are those of an export that is paused for its failures, which those of the harness never are: a test kills at each.
var pauseBoundaries = []string{"export.pause", "export.paused"}

// claimBoundaries are those of a run over several intervals, which the harness has none of: their tests kill at each, one by
// one (docs/exactly-once.md).
var claimBoundaries = []string{"s3.claim.put", "s3.claim.answered", "postgres.claim.put", "postgres.claim.answered"}

// ExportBoundaries are the boundaries of exports, in the order of a run.
func ExportBoundaries() []string {
	all := append(append(append([]string{}, storeBoundaries...), tableBoundaries...), ledgerBoundaries...)
	all = append(all, sweepBoundaries...)
	return append(all, "s3.abort", "s3.aborted", "postgres.abort", "postgres.aborted",
		"s3.closed.put", "s3.closed.answered", "postgres.close.commit", "postgres.close.committed")
}

// longRun is from how many rounds on each boundary must have been hit five times.
const longRun = 300

// ExportFaults are a kill and a stop at each boundary.
func ExportFaults() (faults []Fault) {
	for _, boundary := range ExportBoundaries() {
		for _, action := range []string{"kill", "stop"} {
			switch {
			case cancelBoundaries[boundary] != "":
				faults = append(faults, provoked(boundary, action, cancels(cancelBoundaries[boundary])))
			case closeBoundaries[boundary] != "":
				faults = append(faults, provoked(boundary, action, spoils(closeBoundaries[boundary])))
			case slices.Contains(sweepBoundaries, boundary):
				faults = append(faults, provoked(boundary, action, leavesUploads))
			default:
				faults = append(faults, atExport(boundary, action))
			}
		}
	}
	return faults
}

// OtherFaults are those without a boundary, different kinds in turn.
func OtherFaults() []Fault {
	kinds := [][]Fault{storeFaults(), temporalFaults(), {
		commitsCut("connections to postgres: cut at COMMIT, which is lost", testcut.LoseItself),
		commitsCut("connections to postgres: cut at COMMIT, whose answer is lost", testcut.LoseAnswer),
		anywhere("worker: killed", workers, syscall.SIGKILL), allKilled("all workers: killed", workers), asleep("worker: stopped"),
		anywhere("loader: killed", loaders, syscall.SIGKILL), anywhere("capture: killed", captures, syscall.SIGKILL),
	}, nil, nil}
	for _, part := range []string{clickhousePart, storePart, databasePart, temporalPart} {
		kinds[3] = append(kinds[3], partKilled(part), partStopped(part))
	}
	// The line that chunks are read by comes first: it ends in the middle of the larger ones.
	kinds[4] = append(kinds[4], poisoned(clickhouseHTTPLine, "ends within", toxic{Type: "limit_data", Stream: "downstream", Attributes: map[string]int{"bytes": 40_000}}))
	for _, line := range []string{clickhouseHTTPLine, clickhouseLine, storeLine, databaseLine, temporalLine} {
		kinds[4] = append(kinds[4],
			poisoned(line, "reset", toxic{Type: "reset_peer", Stream: "downstream", Attributes: map[string]int{"timeout": 50}}), lineCut(line),
			poisoned(line, "slow", toxic{Type: "latency", Stream: "upstream", Attributes: map[string]int{"latency": 300, "jitter": 200}}))
	}
	var mixed []Fault
	for n := 0; ; n++ {
		more := false
		for _, kind := range kinds {
			if n < len(kind) {
				mixed, more = append(mixed, kind[n]), true
			}
		}
		if !more {
			return mixed
		}
	}
}

func workers(s *Stage) []*Service { return s.Workers }

const (
	storePart    = "s3"
	databasePart = "postgres"
	temporalPart = "temporal"

	storeLine    = "s3"
	databaseLine = "postgres"
	temporalLine = "temporal"
)

// exportHitWithin is how long a boundary of a run may take to be come by.
const exportHitWithin = 10 * time.Second

// atExport lets the first worker that comes by act there.
func atExport(point, action string) Fault {
	return Fault{Name: point + "=" + action, AtOnce: true}
}

// workersOnStage is how many workers there are.
const workersOnStage = 6

// arm arms all workers that are awake.
func (s *Stage) arm(list string) []*Service { return arm(s.awake(), list) }

func arm(workers []*Service, list string) (armed []*Service) {
	for _, w := range workers {
		if w.Arm(list) == nil {
			armed = append(armed, w)
		}
	}
	return armed
}

// awaitFirst waits until one of the armed workers acts, and disarms the others. One that stops is woken in its own time,
// beside the rounds that follow.
func (s *Stage) awaitFirst(ctx context.Context, armed []*Service, hit string, within, lasts time.Duration) bool {
	stops := strings.HasSuffix(hit, "=stop")
	victim := awaitAnyHit(ctx, armed, hit, within)
	if victim != nil && stops {
		s.Asleep.Put(victim, lasts)
	}
	for _, w := range armed {
		// One that does not answer has acted, too, before it was disarmed.
		if w != victim && w.Arm("") != nil && stops {
			s.Asleep.Put(w, lasts)
		}
	}
	return victim != nil
}

// exportZombie is for how long a worker is stopped: as often longer than the server misses its heartbeat as not, so that
// it wakes beside its successor.
func exportZombie(random *rand.Rand) time.Duration {
	if random.IntN(3) == 0 {
		return lasting(random, 200*time.Millisecond, time.Second)
	}
	return lasting(random, 33*time.Second, 45*time.Second)
}

// provoked arms all workers, and has somebody bring the boundary about.
func provoked(point, action string, provoke func(context.Context, *Stage, *rand.Rand, string) ([]*Service, error)) Fault {
	return Fault{Name: point + "=" + action, Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
		lasts := exportZombie(random)
		armed, err := provoke(ctx, stage, random, point+"="+action+"@1")
		if err != nil || len(armed) == 0 {
			return false, err
		}
		return stage.awaitFirst(ctx, armed, point+"="+action, exportHitWithin, lasts), nil
	}}
}

// asleep stops a worker anywhere, for longer than the server waits for it.
func asleep(name string) Fault {
	return Fault{Name: name, Do: func(_ context.Context, stage *Stage, random *rand.Rand) (bool, error) {
		w, lasts := stage.Workers[random.IntN(len(stage.Workers))], exportZombie(random)
		if stage.Asleep.Has(w) || w.Signal(syscall.SIGSTOP) != nil {
			return false, nil
		}
		stage.Asleep.Put(w, lasts)
		return true, nil
	}}
}

// commitsCut cuts the connection at some COMMITs, of whatever step.
func commitsCut(name string, how testcut.Cut) Fault {
	return Fault{Name: name, Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
		number := 3 + random.IntN(6)
		cut := stage.Database.cutCommits(int64(number), how)
		defer stage.Database.mend()
		late := time.NewTimer(exportHitWithin)
		defer late.Stop()
		for met := 0; met < number; met++ {
			select {
			case <-cut:
			case <-late.C:
				return met > 0, nil
			case <-ctx.Done():
				return met > 0, ctx.Err()
			}
		}
		return true, nil
	}}
}

// storeFaults are what a store does to its clients.
func storeFaults() []Fault {
	trouble := func(name string, t storeTrouble) Fault {
		return Fault{Name: "store: " + name, Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
			return stage.Store.last(ctx, t, lasting(random, 500*time.Millisecond, 3*time.Second)), nil
		}}
	}
	return []Fault{
		trouble("503 SlowDown", storeTrouble{meets: anyRequest, before: refuse(503, "SlowDown")}),
		trouble("500 InternalError", storeTrouble{meets: writes, before: refuse(500, "InternalError")}),
		trouble("slow answers", storeTrouble{meets: anyRequest, before: holdUp(700 * time.Millisecond)}),
		trouble("answers to writes lost", storeTrouble{meets: writes, lose: true}),
		trouble("answers to plans and manifests lost", storeTrouble{meets: marks, lose: true}),
		trouble("cut off in a part", storeTrouble{meets: uploadedParts, before: cutOff}),
		trouble("cut off at CompleteMultipartUpload, which is lost", storeTrouble{meets: completions, before: cutOff}),
		trouble("cut off at CompleteMultipartUpload, whose answer is lost", storeTrouble{meets: completions, lose: true}),
		trouble("CompleteMultipartUpload answered 200 with an error inside", storeTrouble{meets: completions, twist: failInside}),
	}
}

// last lets a trouble last, and longer until it has met a request; false if it meets none.
func (r *StoreRelay) last(ctx context.Context, trouble storeTrouble, long time.Duration) bool {
	r.be(&trouble)
	wait(ctx, long)
	for began := time.Now(); r.met.Load() == 0 && time.Since(began) < exportHitWithin && ctx.Err() == nil; {
		wait(ctx, 50*time.Millisecond)
	}
	return r.be(nil) > 0
}
