//go:build crash

package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestEveryIntervalIsExportedOnceWhateverDies is the harness of workers and destinations; `make test/crash` runs it, with the
// variables of TestEveryEventIsLoadedOnceWhateverDies, and MILLRACE_CRASH_EXPORT_ROUNDS instead of MILLRACE_CRASH_ROUNDS where it
// is set.
func TestEveryIntervalIsExportedOnceWhateverDies(t *testing.T) {
	rounds, seed, broken := number(t, "MILLRACE_CRASH_ROUNDS", 12), uint64(number(t, "MILLRACE_CRASH_SEED", int(rand.Uint32()))), os.Getenv("MILLRACE_CRASH_BROKEN")
	rounds = number(t, "MILLRACE_CRASH_EXPORT_ROUNDS", rounds)
	again := tellRepeat("make test/crash RUN=EveryInterval", rounds, seed, broken)
	play := raiseExports(t, seed, broken)
	tally := NewTally()
	random := rand.New(rand.NewPCG(seed, 0))
	dealer := NewDealer(random, tally, ExportFaults(), OtherFaults())
	settled := 0
	for inARow := 0; tally.Rounds < rounds; {
		began := time.Now()
		came, missed, err := Volley(t.Context(), play.Stage, random, dealer.Hand(), rounds-tally.Rounds)
		if err != nil {
			t.Fatalf("round %d: %v", tally.Rounds+1, err)
		}
		for _, fault := range missed {
			dealer.Missed(fault)
		}
		if len(came) == 0 {
			if inARow++; inARow == 30 {
				t.Fatalf("30 faults in a row found nothing to break, the last %s: nothing is exported any more; %s\nlogs: %s", missed[0].Name, again, play.folder)
			}
			continue
		}
		inARow = 0
		var names []string
		for _, fault := range came {
			dealer.Came(fault)
			names = append(names, fault.Name)
		}
		judged := time.Now()
		faults := play.glance(t)
		play.Phases.Add("judging the events", judged)
		faults = append(faults, play.glanceAtExports(t)...)
		if settles := tally.Rounds-settled >= 2*settleEvery || tally.Rounds == rounds || broken != "" && tally.Rounds-settled >= settleEvery; len(faults) == 0 && settles {
			settled = tally.Rounds
			settling := time.Now()
			faults = append(play.settleExports(t), play.settle(t)...)
			play.Phases.Add("settling", settling)
		}
		fmt.Printf("round %3d  %5.1f s  %s\n", tally.Rounds, time.Since(began).Seconds(), strings.Join(names, ", "))
		if len(faults) == 0 {
			continue
		}
		for _, found := range faults {
			fmt.Printf("           %s\n", found)
		}
		if broken != "" {
			fmt.Printf("caught in round %d, %s after the start: %s\n", tally.Rounds, time.Since(tally.Began).Round(time.Second), broken)
			return
		}
		t.Fatalf("round %d, %s: a promise is broken; repeat it by: %s\nlogs: %s", tally.Rounds, strings.Join(names, ", "), again, play.folder)
	}
	if broken != "" {
		t.Fatalf("%d rounds did not catch %s", rounds, broken)
	}
	play.reportExports(t, tally)
	for _, short := range tally.Short(ExportBoundaries(), longRun) {
		t.Error(short)
	}
}

// glanceAtExports reads what was published since the last round, when the world answers.
func (p *exportPlay) glanceAtExports(t *testing.T) (faults []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		var files, rows []string
		var both errgroup.Group
		both.Go(func() (err error) {
			defer p.Phases.Add("judging files", time.Now())
			files, err = p.files.Glance(ctx)
			return err
		})
		both.Go(func() (err error) {
			defer p.Phases.Add("judging tables", time.Now())
			rows, err = p.tables.Glance(ctx)
			return err
		})
		err := both.Wait()
		faults = append(append(faults, files...), rows...)
		if err == nil || len(faults) > 0 {
			return p.judge.news(append(append(faults, p.Exports.Told()...), p.fatal()...))
		}
		if ctx.Err() != nil {
			t.Fatalf("read what is published: %v", err)
		}
		wait(ctx, 100*time.Millisecond)
	}
}

// publishedWithin is how long it may take until everything is published when faults have ended: a worker that was killed is
// missed after half a minute, perhaps several times one after the other, and retries come up to a minute apart.
const publishedWithin = 6 * time.Minute

// settleExports waits until everything is published that was begun, and compares all of it.
func (p *exportPlay) settleExports(t *testing.T) (faults []string) {
	t.Helper()
	due := time.Now().Truncate(exportsEvery)
	p.Exports.Pause()
	defer p.Exports.Resume()
	p.Asleep.Drain()
	ctx, cancel := context.WithTimeout(t.Context(), publishedWithin)
	defer cancel()
	for {
		left, err := p.unpublished(ctx, due)
		if err == nil && len(left) == 0 {
			break
		}
		if ctx.Err() != nil {
			faults = append(faults, fmt.Sprintf("%s after the last fault %d runs are not published (%v)", publishedWithin, len(left), err))
			return append(faults, left[:min(10, len(left))]...)
		}
		if found := p.glanceAtExports(t); len(found) > 0 {
			return found
		}
		wait(ctx, time.Second)
	}
	p.tables.Again()
	faults = p.glanceAtExports(t)
	found, err := p.sentence(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return append(faults, p.judge.news(found)...)
}
