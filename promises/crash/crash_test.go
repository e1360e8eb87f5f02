//go:build crash

package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// tellRepeat prints the command that repeats a run, and gives it back.
func tellRepeat(command string, rounds int, seed uint64, broken string) string {
	again := fmt.Sprintf("%s ROUNDS=%d SEED=%d", command, rounds, seed)
	if broken != "" {
		again += " BROKEN='" + broken + "'"
	}
	fmt.Printf("%s repeats this run\n", again)
	return again
}

// settleEvery is after how many rounds everything is loaded and compared.
const settleEvery = 50

// TestEveryEventIsLoadedOnceWhateverDies is the harness; `make test/crash` runs it. MILLRACE_CRASH_ROUNDS says how many
// rounds, MILLRACE_CRASH_SEED repeats a run, and MILLRACE_CRASH_BROKEN names failpoints of a build that is broken on purpose,
// which must be caught.
func TestEveryEventIsLoadedOnceWhateverDies(t *testing.T) {
	rounds, seed, broken := number(t, "MILLRACE_CRASH_ROUNDS", 24), uint64(number(t, "MILLRACE_CRASH_SEED", int(rand.Uint32()))), os.Getenv("MILLRACE_CRASH_BROKEN")
	again := tellRepeat("make test/crash", rounds, seed, broken)
	play := raise(t, seed, broken)
	tally := NewTally()
	random := rand.New(rand.NewPCG(seed, 0))
	var hand []Fault
	for inARow := 0; tally.Rounds < rounds; {
		if len(hand) == 0 {
			hand = Deck()
			random.Shuffle(len(hand), func(i, k int) { hand[i], hand[k] = hand[k], hand[i] })
		}
		fault := hand[0]
		hand = hand[1:]
		began := time.Now()
		did, err := fault.Do(t.Context(), play.Stage, rand.New(rand.NewPCG(seed, random.Uint64())))
		if err != nil {
			t.Fatalf("round %d, %s: %v", tally.Rounds+1, fault.Name, err)
		}
		if !did {
			tally.Missed[fault.Name]++
			hand = append(hand, fault)
			if inARow++; inARow == 30 {
				t.Fatalf("30 faults in a row found nothing to break, the last %s: nothing is loaded any more; %s", fault.Name, again)
			}
			continue
		}
		inARow = 0
		tally.Rounds++
		tally.Faults[fault.Name]++
		faults := play.glance(t)
		if settles := tally.Rounds%settleEvery == 0 || tally.Rounds == rounds || broken != "" && tally.Rounds%10 == 0; settles && len(faults) == 0 {
			faults = play.settle(t)
		}
		fmt.Printf("round %3d  %5.1f s  %s\n", tally.Rounds, time.Since(began).Seconds(), fault.Name)
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
		t.Fatalf("round %d, %s: a promise is broken; repeat it by: %s\nlogs: %s", tally.Rounds, fault.Name, again, play.folder)
	}
	if broken != "" {
		t.Fatalf("%d rounds did not catch %s", rounds, broken)
	}
	play.report(t, tally)
	for _, short := range tally.Short(Boundaries(), 5*len(Deck())) {
		t.Error(short)
	}
}

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q: give a number from 1", variable, text)
	}
	return n
}

// glance looks at the table after a round, when ClickHouse answers.
func (p *play) glance(t *testing.T) (faults []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		found, err := p.judge.Glance(ctx, p.reader)
		if err == nil {
			return append(p.judge.news(found), p.fatal()...)
		}
		if ctx.Err() != nil {
			t.Fatalf("look at the table: %v", err)
		}
		wait(ctx, 100*time.Millisecond)
	}
}

// fatal is what services must never say.
func (p *play) fatal() (faults []string) {
	for _, s := range p.services() {
		if line := s.Fatal(); line != "" {
			faults = append(faults, s.Name+" said: "+line)
		}
	}
	return faults
}

// settledWithin is how long it may take until everything is loaded when faults have ended: among the last may be a plan
// that has to be waited out.
const settledWithin = 3 * time.Minute

// settle waits until everything is loaded that was sent, and compares it with Kafka's log.
func (p *play) settle(t *testing.T) (faults []string) {
	t.Helper()
	p.clients.Pause()
	defer p.clients.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), settledWithin)
	defer cancel()
	for {
		err := p.judge.ReadLog(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("read kafka's log: %v", err)
		}
		wait(ctx, 200*time.Millisecond)
	}
	for {
		missing, err := p.judge.Loaded(ctx)
		if err == nil && missing <= 0 {
			break
		}
		if ctx.Err() != nil {
			return append(p.fatal(), fmt.Sprintf("%s after the last fault %d messages are not loaded (%v)", settledWithin, missing, err), p.status(t))
		}
		wait(ctx, 100*time.Millisecond)
	}
	faults = p.glance(t)
	found, err := p.judge.Sentence(t.Context(), p.clients.Accepted)
	if err != nil {
		t.Fatal(err)
	}
	return append(faults, p.judge.news(found)...)
}

func (p *play) report(t *testing.T, tally *Tally) {
	t.Helper()
	fmt.Println()
	tally.Print(os.Stdout, Boundaries())
	fmt.Println()
	PrintSaid(os.Stdout, p.Loaders)
	events, copies, unreadable := p.judge.Counts()
	samples, _ := p.reader.Samples()
	starts := 0
	for _, s := range p.services() {
		starts += s.Starts()
	}
	fmt.Printf("\n%d events accepted; in kafka %d events, %d copies of them, %d messages that cannot be read\n", len(p.clients.Accepted), events, copies, unreadable)
	fmt.Printf("%d requests had no answer that counts and were sent again; %d were sent once more on purpose; %d processes were started\n", p.clients.Unanswered, p.clients.Copies, starts)
	fmt.Printf("%d watermarks were sampled, and no row appeared below one; nothing is lost, nothing is there twice\n", len(samples))
}
