package crash

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// Phases counts where the time of a run goes. Phases that overlap are counted each; it may be used by several goroutines.
type Phases struct {
	mu    sync.Mutex
	spent map[string]time.Duration
	times map[string]int
}

// NewPhases begins to count.
func NewPhases() *Phases {
	return &Phases{spent: map[string]time.Duration{}, times: map[string]int{}}
}

// Add counts what a phase took that ends now.
func (p *Phases) Add(phase string, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spent[phase] += time.Since(began)
	p.times[phase]++
}

// Print writes the phases, the longest first.
func (p *Phases) Print(out io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "phase\ttimes\tseconds\t")
	for _, phase := range slices.SortedFunc(maps.Keys(p.spent), func(a, b string) int { return cmp.Compare(p.spent[b], p.spent[a]) }) {
		fmt.Fprintf(table, "%s\t%d\t%.1f\t\n", phase, p.times[phase], p.spent[phase].Seconds())
	}
	_ = table.Flush()
}
