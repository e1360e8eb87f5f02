package crash

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
)

// Dealer chooses the faults of a run of exports: always those of the boundaries that were hit least, so that none stays
// behind, and now and then another fault, each in its turn. A boundary that nobody came by is left alone for some rounds.
type Dealer struct {
	random *rand.Rand
	tally  *Tally
	cards  []Fault // of boundaries
	others []Fault // the next one first
	played int     // of the others
	vain   map[string]int
	again  map[string]int // from which round on a boundary that was missed is tried again
}

// NewDealer deals faults by what a tally has.
func NewDealer(random *rand.Rand, tally *Tally, boundaries, others []Fault) *Dealer {
	return &Dealer{random: random, tally: tally, cards: slices.Clone(boundaries), others: slices.Clone(others), vain: map[string]int{}, again: map[string]int{}}
}

// Of so many rounds, so many are of the other faults: 300 rounds hit each of 44 boundaries at least five times, and have 30
// to spare.
const (
	othersOf    = 13
	othersShare = 2
)

// leastSpare is how many rounds of a long run are kept for boundaries that are hard to hit: when no more are left, nothing is
// dealt but those that were hit too seldom.
const leastSpare = 10

// Hand is the faults to choose from, the one that is wanted most first.
func (d *Dealer) Hand() []Fault {
	d.random.Shuffle(len(d.cards), func(i, k int) { d.cards[i], d.cards[k] = d.cards[k], d.cards[i] })
	hand, hits := slices.Clone(d.cards), d.tally.AllHits()
	wanted := func(boundary string) int { return max(0, leastHits-hits[boundary]) }
	spare, counted := longRun-d.tally.Rounds, map[string]bool{}
	for _, fault := range hand {
		if boundary := boundaryOf(fault); !counted[boundary] {
			spare -= wanted(boundary)
			counted[boundary] = true
		}
	}
	if d.tally.Rounds < longRun && spare < leastSpare {
		needed := slices.DeleteFunc(slices.Clone(hand), func(f Fault) bool { return wanted(boundaryOf(f)) == 0 })
		if len(needed) > 0 {
			return needed
		}
	}
	slices.SortStableFunc(hand, func(a, b Fault) int {
		at, bt := boundaryOf(a), boundaryOf(b)
		later := func(boundary string) int { return max(0, d.again[boundary]-d.tally.Rounds) }
		return cmp.Or(cmp.Compare(later(at), later(bt)), cmp.Compare(hits[at], hits[bt]), cmp.Compare(d.tally.Faults[a.Name], d.tally.Faults[b.Name]))
	})
	if len(d.others) > 0 && d.played*othersOf < d.tally.Rounds*othersShare {
		hand = slices.Insert(hand, 0, d.others[0])
	}
	return hand
}

// Came counts a fault as a round.
func (d *Dealer) Came(f Fault) {
	d.tally.Rounds++
	d.tally.Faults[f.Name]++
	if boundary := boundaryOf(f); boundary != "" {
		delete(d.vain, boundary)
		return
	}
	d.played++
	d.turn(f)
}

// Missed notes that a fault found nothing to break.
func (d *Dealer) Missed(f Fault) {
	d.tally.Missed[f.Name]++
	if boundary := boundaryOf(f); boundary != "" {
		d.vain[boundary]++
		d.again[boundary] = d.tally.Rounds + 2*min(d.vain[boundary], 4)
		return
	}
	d.turn(f)
}

// turn puts another fault behind the rest.
func (d *Dealer) turn(f Fault) {
	d.others = append(slices.DeleteFunc(d.others, func(other Fault) bool { return other.Name == f.Name }), f)
}

// boundaryOf is the boundary that a fault is of; empty for the others.
func boundaryOf(f Fault) string {
	point, _, at := strings.Cut(f.Name, "=")
	if !at {
		return ""
	}
	return point
}
