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
	var hand []Fault
	settled, tries := 0, map[string]int{}
	for inARow, deals := 0, 0; tally.Rounds < rounds; {
		if len(hand) == 0 {
			hand = ExportDeck(deals)
			deals++
			clear(tries)
			random.Shuffle(len(hand), func(i, k int) { hand[i], hand[k] = hand[k], hand[i] })
		}
		began := time.Now()
		came, missed, rest, err := Volley(t.Context(), play.Stage, random, hand, rounds-tally.Rounds)
		if err != nil {
			t.Fatalf("round %d, %s: %v", tally.Rounds+1, hand[0].Name, err)
		}
		hand = rest
		for _, fault := range missed {
			tally.Missed[fault.Name]++
			if tries[fault.Name]++; tries[fault.Name] < 4 { // otherwise its next turn comes with the next deal
				hand = append(hand, fault)
			}
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
			tally.Rounds++
			tally.Faults[fault.Name]++
			names = append(names, fault.Name)
		}
		judged := time.Now()
		faults := append(play.glance(t), play.glanceAtExports(t)...)
		play.Phases.Add("judging", judged)
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
	if rounds >= 300 {
		for _, boundary := range ExportBoundaries() {
			if hits := tally.Hits(boundary); hits < 5 {
				t.Errorf("%s was hit %d times, want 5", boundary, hits)
			}
		}
	}
}

// glanceAtExports reads what was published since the last round, when the world answers.
func (p *exportPlay) glanceAtExports(t *testing.T) (faults []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		files, err := p.files.Glance(ctx)
		faults = append(faults, files...)
		if err == nil {
			var rows []string
			rows, err = p.tables.Glance(ctx)
			faults = append(faults, rows...)
		}
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
