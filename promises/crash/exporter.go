package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/starter"
	"github.com/millrace/millrace/workflows"
)

// Exporter starts runs all the time, of ever new exports, and starts each again that was ended before it was published, so
// that in the end every one is published. It reaches Temporal past the proxies.
type Exporter struct {
	starter   *starter.Starter
	namespace string
	closed    func() []export.Interval // the intervals that can be exported now
	families  []family
	mostOpen  int
	pace      time.Duration

	mu       sync.Mutex
	random   *rand.Rand
	serial   int
	waiting  []*target          // dealt, and not started yet
	open     map[string]*target // by workflow
	done     []*target
	told     []string // ends that no fault explains
	paused   bool
	twins    int
	again    int
	resets   int
	wasReset map[string]bool
	perhaps  map[string]bool // runs whose revision somebody made unworkable on purpose
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// family is a kind of exports; each takes some intervals, and then the next export of it begins.
type family struct {
	name        string
	destination string
	chunkRows   uint64
	settings    string // with %s for the export's name as a table
	intervals   int
	fits        func(export.Interval) bool
}

// target is what has to be published.
type target struct {
	definition export.Definition
	interval   export.Interval
	workflowID string
	again      bool // it was ended and started again
	outcome    export.Outcome
}

func (t *target) name() string { return t.definition.Name + " " + t.interval.Key() }

// exportsEvery is the shortest interval there is.
const exportsEvery = time.Minute

// StartExporter starts runs at a pace, until so many are open, until Close.
func StartExporter(temporal client.Client, namespace string, families []family, closed func() []export.Interval, pace time.Duration, mostOpen int, seed uint64) *Exporter {
	ctx, stop := context.WithCancel(context.Background())
	e := &Exporter{
		starter: &starter.Starter{Temporal: temporal}, namespace: namespace, closed: closed, families: families, mostOpen: mostOpen, pace: pace,
		random: rand.New(rand.NewPCG(seed, 77)), open: map[string]*target{}, perhaps: map[string]bool{}, wasReset: map[string]bool{}, stop: stop,
	}
	e.running.Go(func() {
		for ; ctx.Err() == nil; wait(ctx, pace) {
			e.mu.Lock()
			may := !e.paused && len(e.open) < mostOpen
			if may && len(e.waiting) == 0 {
				e.waiting = e.deal()
			}
			var next *target
			if may && len(e.waiting) > 0 {
				next, e.waiting = e.waiting[0], e.waiting[1:]
				e.open[next.workflowID] = next
			}
			e.mu.Unlock()
			if next != nil {
				e.running.Go(func() { e.see(ctx, next) })
			}
		}
	})
	return e
}

// deal makes the next export of every family, and draws its intervals.
func (e *Exporter) deal() (targets []*target) {
	e.serial++
	for _, f := range e.families {
		fitting := slices.DeleteFunc(slices.Clone(e.closed()), func(i export.Interval) bool { return !f.fits(i) })
		e.random.Shuffle(len(fitting), func(i, k int) { fitting[i], fitting[k] = fitting[k], fitting[i] })
		name := f.export(e.serial)
		definition := export.Definition{
			Name: name, Team: export.Team{ID: 1}, Connection: map[string]string{"s3": "lake", "postgres": "warehouse"}[f.destination],
			Every: export.Duration(exportsEvery), ChunkRows: f.chunkRows, Destination: f.destination, Settings: json.RawMessage(f.settingsOf(name)),
		}.WithDefaults()
		grid, err := definition.Grid()
		if err != nil {
			panic(err) // of our own making
		}
		for _, interval := range fitting[:min(f.intervals, len(fitting))] {
			run := export.Run{Export: name, Interval: interval, Revision: export.FirstRevision}
			targets = append(targets, &target{definition: definition, interval: interval, workflowID: run.WorkflowID(grid)})
		}
	}
	e.random.Shuffle(len(targets), func(i, k int) { targets[i], targets[k] = targets[k], targets[i] })
	return targets
}

// export is the name of a family's export of one deal.
func (f family) export(serial int) string { return fmt.Sprintf("%s-%d", f.name, serial) }

// coming are the exports of a destination whose next runs are started soon.
func (e *Exporter) coming(destination string) (names []string) {
	e.note(func() {
		for _, t := range e.waiting {
			if t.definition.Destination == destination {
				names = append(names, t.definition.Name)
			}
		}
		for _, f := range e.families {
			if f.destination == destination {
				names = append(names, f.export(e.serial+1))
			}
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

func (f family) settingsOf(name string) string {
	if f.destination == "postgres" {
		return fmt.Sprintf(f.settings, name)
	}
	return f.settings
}

// twinEvery is how many runs have one with a second execution at the same moment.
const twinEvery = 6

// see starts a run until it is published.
func (e *Exporter) see(ctx context.Context, t *target) {
	e.mu.Lock()
	twin := e.random.IntN(twinEvery) == 0
	e.mu.Unlock()
	for first := true; ctx.Err() == nil; first = false {
		started, err := e.starter.Start(ctx, t.definition, t.interval)
		if err != nil {
			wait(ctx, 500*time.Millisecond)
			continue
		}
		if twin {
			e.startTwin(ctx, t)
			twin = false
		}
		if !first {
			e.mu.Lock()
			e.again++
			t.again = true
			e.mu.Unlock()
		}
		outcome, err := e.follow(ctx, started)
		if ctx.Err() != nil {
			return
		}
		e.mu.Lock()
		if err == nil {
			t.outcome = outcome
			delete(e.open, t.workflowID)
			e.done = append(e.done, t)
			e.mu.Unlock()
			return
		}
		if unexplained(err) && !e.perhaps[t.name()] {
			e.told = append(e.told, fmt.Sprintf("%s ended with: %v", t.name(), err))
		}
		e.mu.Unlock()
		wait(ctx, 200*time.Millisecond)
	}
}

func twinOf(t *target) string { return "twin-" + t.workflowID }

// startTwin starts the same run under another id.
func (e *Exporter) startTwin(ctx context.Context, t *target) {
	_, err := e.starter.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: twinOf(t), TaskQueue: workflows.QueueControl, WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, workflows.NameExport, export.Input{Definition: t.definition, Start: &t.interval.Start, End: &t.interval.End})
	if err == nil {
		e.mu.Lock()
		e.twins++
		e.mu.Unlock()
	}
}

// follow waits for the end of the latest execution of a run, whatever Temporal's server goes through meanwhile.
func (e *Exporter) follow(ctx context.Context, started starter.Started) (outcome export.Outcome, err error) {
	for ctx.Err() == nil {
		err = e.starter.Temporal.GetWorkflow(ctx, started.WorkflowID, "").Get(ctx, &outcome)
		var ended *temporal.WorkflowExecutionError
		if err == nil || errors.As(err, &ended) {
			return outcome, err
		}
		wait(ctx, 300*time.Millisecond)
	}
	return outcome, ctx.Err()
}

// unexplained tells ends that are not those of a cancel, a terminate or a reset.
func unexplained(err error) bool {
	var terminated *temporal.TerminatedError
	return !temporal.IsCanceledError(err) && !errors.As(err, &terminated)
}

// Pause starts no new exports any more; what is open is seen to its end.
func (e *Exporter) Pause() { e.note(func() { e.paused = true }) }

// Resume starts new ones again.
func (e *Exporter) Resume() { e.note(func() { e.paused = false }) }

// Close starts nothing more, and waits for nothing.
func (e *Exporter) Close() {
	e.stop()
	e.running.Wait()
}

func (e *Exporter) note(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}

// openRuns are the runs that are not published yet, by name.
func (e *Exporter) openRuns() (open []*target) {
	e.note(func() {
		for _, t := range e.open {
			open = append(open, t)
		}
	})
	slices.SortFunc(open, func(a, b *target) int {
		if a.name() < b.name() {
			return -1
		}
		return 1
	})
	return open
}

// Told are the ends that no fault explains.
func (e *Exporter) Told() (told []string) {
	e.note(func() { told = slices.Clone(e.told) })
	return told
}

// spoil notes that somebody makes a run's revision unworkable.
func (e *Exporter) spoil(name string) { e.note(func() { e.perhaps[name] = true }) }

// publishedRuns are the runs that are published.
func (e *Exporter) publishedRuns() (done []*target) {
	e.note(func() { done = slices.Clone(e.done) })
	return done
}

// IsSpoiled tells whether somebody has spoiled a run, given as its export and its interval's key.
func (e *Exporter) IsSpoiled(name string) (is bool) {
	e.note(func() { is = e.perhaps[name] })
	return is
}

// Spoiled are the workflows of the runs that somebody has spoiled.
func (e *Exporter) Spoiled() map[string]bool {
	spoiled := map[string]bool{}
	for _, t := range append(e.openRuns(), e.publishedRuns()...) {
		e.note(func() { spoiled[t.workflowID] = e.perhaps[t.name()] })
	}
	return spoiled
}

// Counts are what was published, how many second executions there were, and how many runs were started again.
func (e *Exporter) Counts() (published, twins, again int) {
	e.note(func() { published, twins, again = len(e.done), e.twins, e.again })
	return published, twins, again
}
