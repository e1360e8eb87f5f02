package crash

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Three hundred rounds hit each boundary at least five times, whatever comes by chance: every third fault misses, some
// boundaries more often, up to three faults come at once, and in most rounds nobody may be stopped.
func TestTheDealerLetsNoBoundaryStayBehind(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		tally := NewTally()
		dealer := NewDealer(random, tally, ExportFaults(), OtherFaults())
		for tries := 0; tally.Rounds < longRun; tries++ {
			if tries > 20*longRun {
				t.Fatalf("seed %d: %d rounds only", seed, tally.Rounds)
			}
			faults := together(dealer.Hand(), 3, random.IntN(2), longRun-tally.Rounds)
			for _, fault := range faults {
				misses := 3
				if strings.Contains(fault.Name, "abort") {
					misses = 6
				}
				if random.IntN(10) < misses {
					dealer.Missed(fault)
				} else {
					dealer.Came(fault)
				}
			}
		}
		if short := tally.Short(ExportBoundaries(), longRun); len(short) > 0 {
			t.Errorf("seed %d: %v", seed, short)
		}
		for _, fault := range OtherFaults() {
			if tally.Faults[fault.Name]+tally.Missed[fault.Name] == 0 {
				t.Errorf("seed %d: %s was never tried", seed, fault.Name)
			}
		}
	}
}

// A long run that has hit a boundary four times is not good enough, and says so; a short one may have.
func TestALongRunMustHitEachBoundaryFiveTimes(t *testing.T) {
	tally := NewTally()
	for _, boundary := range ExportBoundaries() {
		tally.Faults[boundary+"=kill"], tally.Faults[boundary+"=stop"] = 3, 2
	}
	tally.Rounds = longRun
	if short := tally.Short(ExportBoundaries(), longRun); len(short) > 0 {
		t.Errorf("five hits of each are too few: %v", short)
	}
	tally.Faults["s3.proved=stop"]--
	delete(tally.Faults, "ledger.insert=kill")
	delete(tally.Faults, "ledger.insert=stop")
	want := "[s3.proved was hit 4 times, want 5 ledger.insert was hit 0 times, want 5]"
	if short := fmt.Sprint(tally.Short(ExportBoundaries(), longRun)); short != want {
		t.Errorf("got %s, want %s", short, want)
	}
	tally.Rounds--
	if short := tally.Short(ExportBoundaries(), longRun); len(short) > 0 {
		t.Errorf("a short run is held to it: %v", short)
	}
}

// No more stand still than may, and no boundary is broken twice at once.
func TestWhatIsBrokenTogether(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		dealer := NewDealer(random, NewTally(), ExportFaults(), nil)
		for stops := range 3 {
			at, standing := map[string]bool{}, 0
			faults := together(dealer.Hand(), 3, stops, 300)
			for _, fault := range faults {
				if at[boundaryOf(fault)] {
					t.Fatalf("twice at once: %s", fault.Name)
				}
				at[boundaryOf(fault)] = true
				if strings.HasSuffix(fault.Name, "=stop") {
					standing++
				}
				if !fault.AtOnce && len(faults) > 1 {
					t.Fatalf("%s is not alone", fault.Name)
				}
			}
			if len(faults) == 0 || standing > stops {
				t.Fatalf("of %d that may stand still %d do", stops, standing)
			}
		}
	}
}
