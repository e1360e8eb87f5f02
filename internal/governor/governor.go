// Package governor decides how many chunks of backfills a process may write at once: as many as leave live work alone.
//
// It looks around now and then. While nothing strains it lets one chunk more through every few looks, up to the most;
// where something does, it halves, down to none, or to one where the strain is mild. A chunk that was let through is never
// ended by it. The rule is that of TCP's congestion avoidance (Chiu and Jain, 1989): additive increase and multiplicative
// decrease come to a fair share without anybody knowing how much there is.
package governor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The steps of the rule.
const (
	// Every is the time between two looks.
	Every = 2 * time.Second
	// increase is by how much a quiet look widens: a chunk more every four looks.
	increase = 0.25
	// patience is how long a chunk waits for a place before it gives its slot back.
	patience = 20 * time.Second
)

// Strain is one reason to give way.
type Strain struct {
	// Kind is one of a small closed set, for metrics: "watermark", "live", "clickhouse_memory", …
	Kind string `json:"kind"`
	// What says it to people, with its figures.
	What string `json:"what"`
	// Mild strains do not stop backfills: one chunk may be written all the same.
	Mild bool `json:"mild,omitempty"`
}

// Config is what a governor needs.
type Config struct {
	// Most bounds the chunks, whatever the rule says; at least 1.
	Most int
	// Measure looks around and tells what strains; an error tells nothing, and leaves everything as it is.
	Measure func(context.Context) ([]Strain, error)
	// Budget is what the user allows at most.
	Budget Budget
	// Off lets Most chunks through at any time, and measures nothing; the budget holds all the same.
	Off bool
	// Log takes changes; nil means slog.Default.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
}

// Governor hands out places. It is safe for concurrent use. A nil Governor lets everything through.
type Governor struct {
	config  Config
	budget  *spending
	allowed prometheus.Gauge
	strains *prometheus.CounterVec

	mu      sync.Mutex
	limit   float64 // chunks; the places are its whole part
	used    int
	live    int      // chunks of live runs in this process
	seen    []Strain // at the last look, the mild ones last
	told    []Strain // by chunks, since then
	changed chan struct{}
}

// New makes a governor that begins with one chunk. Run keeps it looking.
func New(config Config) (*Governor, error) {
	if config.Log == nil {
		config.Log = slog.Default()
	}
	g := &Governor{config: config, budget: newSpending(config.Budget), limit: 1, changed: make(chan struct{})}
	if config.Off {
		g.limit = float64(config.Most)
	}
	g.allowed = prometheus.NewGauge(prometheus.GaugeOpts{Name: "millrace_bulk_chunks_allowed", Help: "Chunks of backfills that may be written at once in this process, as its governor has it now."})
	g.strains = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "millrace_bulk_strains_total", Help: "Looks of the governor at which something strained, by what it was."}, []string{"kind"})
	if config.Registerer != nil {
		for _, metric := range []prometheus.Collector{g.allowed, g.strains} {
			if err := config.Registerer.Register(metric); err != nil {
				return nil, fmt.Errorf("register a metric of the governor: %w", err)
			}
		}
	}
	g.allowed.Set(g.limit)
	return g, nil
}

// Run looks around until ctx ends.
func (g *Governor) Run(ctx context.Context) {
	if g == nil || g.config.Off {
		return
	}
	ticker := time.NewTicker(Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		strains, err := g.config.Measure(ctx)
		if err != nil {
			if ctx.Err() == nil {
				g.config.Log.Warn("the governor cannot look around, and leaves things as they are", "error", err)
			}
			continue
		}
		g.look(strains)
	}
}

// look applies the rule to what was seen, and to what chunks have told since the last look.
func (g *Governor) look(strains []Strain) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen, g.told = append(strains, g.told...), nil
	slices.SortStableFunc(g.seen, func(a, b Strain) int {
		switch {
		case a.Mild == b.Mild:
			return 0
		case a.Mild:
			return 1
		}
		return -1
	})
	before := g.limit
	switch {
	case len(g.seen) == 0:
		g.limit = min(g.limit+increase, float64(g.config.Most))
	default:
		g.limit /= 2
		if mild := !slices.ContainsFunc(g.seen, func(s Strain) bool { return !s.Mild }); mild {
			g.limit = max(g.limit, min(before, 1))
		} else if g.limit < increase {
			g.limit = 0
		}
	}
	for _, strain := range g.seen {
		g.strains.WithLabelValues(strain.Kind).Inc()
	}
	g.allowed.Set(g.limit)
	if after := int(g.limit); after != int(before) {
		g.config.Log.Info("the governor lets more or fewer chunks of backfills through", "at_once", after, "before", int(before), "because", sentence(g.seen))
	}
	g.wake()
}

// Strained tells of a strain that a chunk has met, such as a destination that throttles; the next look heeds it.
func (g *Governor) Strained(strain Strain) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told = append(g.told, strain)
}

// Live says that a chunk of a live run is being written in this process, until done is called. Meanwhile backfills have half
// of their places.
func (g *Governor) Live() (done func()) {
	if g == nil {
		return func() {}
	}
	add := func(n int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.live += n
		g.wake()
	}
	add(1)
	return sync.OnceFunc(func() { add(-1) })
}

// Place is the place of one chunk.
type Place struct {
	// Done gives it back, and takes what the chunk has written out of the budget. It must be called once.
	Done func(rows, bytes uint64)
}

// Admit waits for a place, for 20 s at most; nil and the reasons say that there was none. It ends with ctx.
func (g *Governor) Admit(ctx context.Context) (*Place, string) {
	if g == nil {
		return &Place{Done: func(uint64, uint64) {}}, ""
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		again, changed, why := g.take()
		if why == "" {
			return &Place{Done: g.leave}, ""
		}
		budget := time.NewTimer(again)
		select {
		case <-changed:
		case <-budget.C:
		case <-timer.C:
			budget.Stop()
			return nil, why
		case <-ctx.Done():
			budget.Stop()
			return nil, context.Cause(ctx).Error()
		}
		budget.Stop()
	}
}

// take takes a place, or says why there is none, when it may be asked again, and what tells before that.
func (g *Governor) take() (again time.Duration, changed <-chan struct{}, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if again, why = g.budget.refuses(); why != "" {
		return again, g.changed, why
	}
	if places := g.places(); g.used >= places {
		return patience, g.changed, g.reasons(places)
	}
	g.used++
	return 0, nil, ""
}

func (g *Governor) places() int {
	places := int(g.limit)
	if g.live > 0 && !g.config.Off {
		places = min(places, max(1, g.config.Most/2))
	}
	return places
}

func (g *Governor) reasons(places int) string {
	why := fmt.Sprintf("%d of %d chunks at once", g.used, places)
	if len(g.seen) > 0 {
		why += ": " + sentence(g.seen)
	} else if g.live > 0 {
		why += ": live runs are writing"
	}
	return why
}

func (g *Governor) leave(rows, bytes uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used--
	g.budget.spend(rows, bytes)
	g.wake()
}

func (g *Governor) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// Standing is how a governor stands.
type Standing struct {
	// Places are how many chunks may be written at once, of Most; Used are being written.
	Places int `json:"places"`
	Most   int `json:"most"`
	Used   int `json:"used"`
	// Because says why it is not more: what strained at the last look, or the budget.
	Because []Strain `json:"because,omitempty"`
}

// Standing tells how it stands. That of a nil Governor is empty.
func (g *Governor) Standing() Standing {
	if g == nil {
		return Standing{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	standing := Standing{Places: g.places(), Most: g.config.Most, Used: g.used, Because: append([]Strain{}, g.seen...)}
	if _, why := g.budget.refuses(); why != "" {
		standing.Because = append(standing.Because, Strain{Kind: "budget", What: why})
	}
	return standing
}

// String says it in a sentence.
func (s Standing) String() string {
	text := fmt.Sprintf("%d chunks of %d places, %d at most", s.Used, s.Places, s.Most)
	if len(s.Because) > 0 {
		text += ": " + sentence(s.Because)
	}
	return text
}

func sentence(strains []Strain) string {
	if len(strains) == 0 {
		return "nothing strains"
	}
	var said []string
	for _, strain := range strains {
		said = append(said, strain.What)
	}
	return strings.Join(said, "; ")
}
