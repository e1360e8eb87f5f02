package crash

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Tally counts what a run did.
type Tally struct {
	Began  time.Time
	Rounds int
	// Faults counts rounds by the fault's name, and Missed those that found nothing to break.
	Faults map[string]int
	Missed map[string]int
}

// NewTally begins to count.
func NewTally() *Tally {
	return &Tally{Began: time.Now(), Faults: map[string]int{}, Missed: map[string]int{}}
}

// AllHits is how often each boundary was hit, by whatever action.
func (t *Tally) AllHits() map[string]int {
	hits := map[string]int{}
	for name, times := range t.Faults {
		if boundary, _, at := strings.Cut(name, "="); at {
			hits[boundary] += times
		}
	}
	return hits
}

// leastHits is how often a long run must have hit each boundary.
const leastHits = 5

// Short names the boundaries that were hit less often, if the run had as many rounds as a long one.
func (t *Tally) Short(boundaries []string, long int) (short []string) {
	hits := t.AllHits()
	for _, boundary := range boundaries {
		if t.Rounds >= long && hits[boundary] < leastHits {
			short = append(short, fmt.Sprintf("%s was hit %d times, want %d", boundary, hits[boundary], leastHits))
		}
	}
	return short
}

// Print writes the counts of boundaries and of other faults.
func (t *Tally) Print(out io.Writer, boundaries []string) {
	took := time.Since(t.Began)
	fmt.Fprintf(out, "%d rounds in %s, %.1f a minute\n\n", t.Rounds, took.Round(time.Second), float64(t.Rounds)/took.Minutes())
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "boundary\tkilled\tstopped\tanswer lost\thits\t")
	hits := t.AllHits()
	for _, boundary := range boundaries {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t\n", boundary, t.Faults[boundary+"=kill"], t.Faults[boundary+"=stop"], t.Faults[boundary+"=error"], hits[boundary])
	}
	_ = table.Flush()
	fmt.Fprintln(out)
	table = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "other fault\trounds\t")
	for _, name := range slices.SortedFunc(maps.Keys(t.Faults), cmp.Compare[string]) {
		if !strings.Contains(name, "=") {
			fmt.Fprintf(table, "%s\t%d\t\n", name, t.Faults[name])
		}
	}
	_ = table.Flush()
	missed, names := 0, []string{}
	for _, name := range slices.SortedFunc(maps.Keys(t.Missed), func(a, b string) int { return cmp.Or(t.Missed[b]-t.Missed[a], cmp.Compare(a, b)) }) {
		missed += t.Missed[name]
		names = append(names, fmt.Sprintf("%s %d", name, t.Missed[name]))
	}
	fmt.Fprintf(out, "\n%d times a fault found nothing to break and was put back: %s\n", missed, strings.Join(names, ", "))
}

// whatLoadersSaid are the messages that tell which ways were gone.
var whatLoadersSaid = []struct{ message, means string }{
	{"partition claimed", "partitions claimed"},
	{"an open plan is found", "open plans found on assignment"},
	{"block has no answer that counts; looking what became of it", "inserts without an answer that counts"},
	{"block is in", "blocks found to be in by counting"},
	{"block is planned again: its token is spent or its time over", "blocks planned again"},
	{"partition belongs to another loader by now", "zombies refused by Kafka's fence"},
	{"the session with the kafka consumer group has ended; joining again", "sessions given up because of an error"},
	{"message quarantined: it cannot be read", "messages quarantined, as logged"},
}

// PrintSaid writes which ways loaders went.
func PrintSaid(out io.Writer, loaders []*Service) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "what loaders said\ttimes\t")
	for _, entry := range whatLoadersSaid {
		times := 0
		for _, s := range loaders {
			times += s.Said(entry.message)
		}
		fmt.Fprintf(table, "%s\t%d\t\n", entry.means, times)
	}
	_ = table.Flush()
}
