package governor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
)

func made(t *testing.T, config Config) *Governor {
	t.Helper()
	config.Log = slog.New(slog.DiscardHandler)
	g, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Whatever strains and whoever comes and goes, no more chunks have a place than the most, and each strain halves.
func TestTheGovernorNeverLetsMoreThroughThanItMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 16).Draw(t, "most")
		g, err := New(Config{Most: most, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		held := 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			before := g.limit
			switch rapid.SampledFrom([]string{"quiet", "quiet", "strain", "take", "take", "leave"}).Draw(t, "step") {
			case "quiet":
				g.look(nil)
				if g.limit < before || g.limit > float64(most) {
					t.Fatalf("a quiet look made %v of %v", g.limit, before)
				}
			case "strain":
				g.look([]Strain{{Kind: "live", What: "runs wait"}})
				if g.limit > before/2 {
					t.Fatalf("a strain made %v of %v", g.limit, before)
				}
			case "take":
				if _, _, why := g.take(); why == "" {
					if held++; held > int(g.limit) {
						t.Fatalf("%d chunks have a place of %v", held, g.limit)
					}
				} else if held < int(g.limit) {
					t.Fatalf("refused (%s) with %d of %v", why, held, g.limit)
				}
			case "leave":
				if held > 0 {
					held--
					g.leave(0, 0)
				}
			}
		}
	})
}

// Of many strains those that stop backfills are told first.
func TestTheGovernorTellsFirstWhatStopsBackfills(t *testing.T) {
	g := made(t, Config{Most: 3})
	g.look([]Strain{{Kind: "clickhouse_slow", What: "a slow look", Mild: true}, {Kind: "watermark", What: "an old watermark"}, {Kind: "live", What: "runs that wait"}})
	if told := g.Standing().String(); !strings.HasSuffix(told, ": an old watermark; runs that wait; a slow look") {
		t.Errorf("it stands so: %s", told)
	}
}

// After any strain it comes back to the most once nothing strains any more.
func TestTheGovernorRecovers(t *testing.T) {
	g := made(t, Config{Most: 3})
	for range 10 {
		g.look([]Strain{{Kind: "watermark", What: "the watermark is 40s old"}})
	}
	if g.Standing().Places != 0 || !strings.Contains(g.Standing().String(), "the watermark is 40s old") {
		t.Errorf("under strain it stands so: %s", g.Standing())
	}
	for range 12 {
		g.look(nil)
	}
	if g.Standing().Places != 3 || len(g.Standing().Because) != 0 {
		t.Errorf("in peace it stands so: %s", g.Standing())
	}
}

// A mild strain leaves a place for one chunk, unless a hard one has taken it.
func TestAMildStrainLeavesOnePlace(t *testing.T) {
	g := made(t, Config{Most: 8})
	slow := []Strain{{Kind: "clickhouse_slow", What: "it is slow", Mild: true}}
	g.limit = 8
	for _, want := range []float64{4, 2, 1, 1, 1} {
		if g.look(slow); g.limit != want {
			t.Errorf("it lets %v through, want %v", g.limit, want)
		}
	}
	for range 5 {
		g.look(append([]Strain{{Kind: "watermark", What: "it is old"}}, slow...))
	}
	if g.limit != 0 {
		t.Errorf("with a hard strain it lets %v through", g.limit)
	}
	if g.look(slow); g.limit != 0 {
		t.Errorf("a mild strain alone has let %v through", g.limit)
	}
}

// A chunk waits for a place, gets it as soon as there is one, and gives up after twenty seconds, saying why.
func TestAChunkWaitsForAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := made(t, Config{Most: 1})
		first, why := g.Admit(t.Context())
		if first == nil {
			t.Fatal(why)
		}
		go func() {
			time.Sleep(5 * time.Second)
			first.Done(1, 1)
		}()
		began := time.Now()
		second, why := g.Admit(t.Context())
		if second == nil || time.Since(began) != 5*time.Second {
			t.Fatalf("after %s: %s", time.Since(began), why)
		}
		g.look([]Strain{{Kind: "live", What: "3 chunks of live runs wait"}})
		began = time.Now()
		if third, why := g.Admit(t.Context()); third != nil || time.Since(began) != patience || !strings.Contains(why, "3 chunks of live runs wait") {
			t.Errorf("after %s: %v, %q", time.Since(began), third, why)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the worker stops"))
		if fourth, why := g.Admit(ctx); fourth != nil || why != "the worker stops" {
			t.Errorf("cancelled: %v, %q", fourth, why)
		}
	})
}

// While live chunks are written here, backfills have half of their places, and one at least.
func TestLiveChunksHalveThePlaces(t *testing.T) {
	for most, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 9: 4} {
		g := made(t, Config{Most: most})
		g.limit = float64(most)
		done := g.Live()
		if got := g.Standing().Places; got != want {
			t.Errorf("of %d places %d are left beside live chunks, want %d", most, got, want)
		}
		done()
		done() // counts once
		if got := g.Standing().Places; got != most {
			t.Errorf("afterwards there are %d of %d places", got, most)
		}
	}
}

// It looks around every two seconds, heeds what chunks have told, and leaves things as they are when it cannot see.
func TestTheGovernorLooksAround(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		var looks atomic.Int64
		var blind atomic.Bool
		g := made(t, Config{Most: 8, Registerer: registry, Measure: func(context.Context) ([]Strain, error) {
			looks.Add(1)
			if blind.Load() {
				return nil, errors.New("ClickHouse is away")
			}
			return nil, nil
		}})
		ctx, stop := context.WithCancel(t.Context())
		go g.Run(ctx)
		pass := func(looks int) (limit float64) {
			time.Sleep(time.Duration(looks) * Every)
			synctest.Wait()
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.limit
		}
		if limit := pass(8); looks.Load() != 8 || limit != 3 {
			t.Errorf("after %d quiet looks it lets %v through", looks.Load(), limit)
		}
		g.Strained(Strain{Kind: "destination", What: "the store answers 503"})
		if limit := pass(1); limit != 1.5 || g.Standing().Because[0].Kind != "destination" {
			t.Errorf("after a strain it lets %v through: %s", limit, g.Standing())
		}
		blind.Store(true)
		if limit := pass(5); limit != 1.5 {
			t.Errorf("blind it lets %v through", limit)
		}
		families, err := registry.Gather()
		if err != nil || len(families) != 2 {
			t.Fatalf("%d families of metrics, %v", len(families), err)
		}
		if allowed, strains := families[0].GetMetric()[0].GetGauge().GetValue(), families[1].GetMetric()[0].GetCounter().GetValue(); allowed != 1.5 || strains != 1 {
			t.Errorf("its metrics say %v chunks, and %v strains", allowed, strains)
		}
		stop()
		synctest.Wait()
	})
}

// The page of metrics has them, word for word.
func TestThePageOfMetrics(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	g := made(t, Config{Most: 1, Registerer: registry})
	g.look([]Strain{{Kind: "live"}})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		name := family.GetName()
		if labels := family.GetMetric()[0].GetLabel(); len(labels) > 0 {
			name += "{" + labels[0].GetName() + "}"
		}
		if line := fmt.Sprintf("| `%s` | %s | %s |", name, strings.ToLower(family.GetType().String()), family.GetHelp()); !strings.Contains(string(page), line) {
			t.Errorf("docs/metrics.md lacks the line\n%s", line)
		}
	}
}

// A budget is kept over time, however large a chunk is, and the hours of the day are.
func TestTheBudgetIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := made(t, Config{Most: 1, Budget: Budget{RowsPerSecond: 1000}})
		began, rows := time.Now(), 0
		for rows < 100_000 {
			place, why := g.Admit(t.Context())
			if place == nil {
				if !strings.Contains(why, "1000 rows a second is spent") {
					t.Fatal(why)
				}
				continue
			}
			rows += 7_000
			place.Done(7_000, 1)
		}
		if took := time.Since(began); took < 90*time.Second || took > 110*time.Second {
			t.Errorf("%d rows took %s with a budget of 1,000 a second", rows, took)
		}
	})
}

func TestTheHoursOfTheDay(t *testing.T) {
	night := Budget{Hours: "22:00-06:00", TimeZone: "Europe/Berlin"}
	hours, err := night.window()
	if err != nil {
		t.Fatal(err)
	}
	for clock, want := range map[string]bool{ // in UTC; Berlin is an hour ahead in winter
		"2026-01-10T20:59:00Z": false, "2026-01-10T21:00:00Z": true, "2026-01-11T04:59:00Z": true, "2026-01-11T05:00:00Z": false, "2026-01-11T12:00:00Z": false,
	} {
		at, err := time.Parse(time.RFC3339, clock)
		if err != nil {
			t.Fatal(err)
		}
		if got := hours.holds(at); got != want {
			t.Errorf("%s in %s: %t", clock, night.Hours, got)
		}
	}
	for _, test := range []struct {
		budget Budget
		says   string
	}{
		{Budget{Hours: "22-6"}, "hours"}, {Budget{Hours: "24:00-06:00"}, "hours"}, {Budget{Hours: "06:00-06:00"}, "hours"}, {Budget{Hours: "22:00-06:00x"}, "hours"},
		{Budget{Hours: "22:00-06:00", TimeZone: "Mars"}, "time_zone"}, {Budget{TimeZone: "UTC"}, "time_zone"},
		{Budget{RowsPerSecond: -1}, "rows_per_second"}, {Budget{MegabytesPerSecond: -1}, "megabytes_per_second"},
	} {
		if err := test.budget.Validate(); export.KindOf(err) != export.KindConfig || !strings.HasPrefix(err.Error(), test.says+":") {
			t.Errorf("%+v: %v", test.budget, err)
		}
	}
	if err := (Budget{RowsPerSecond: 1, MegabytesPerSecond: 0.5, Hours: "00:30-23:59"}).Validate(); err != nil {
		t.Error(err)
	}
}

// Off, it neither measures nor gives way, and a nil one lets everything through.
func TestTheGovernorCanBeOff(t *testing.T) {
	off := made(t, Config{Most: 4, Off: true})
	defer off.Live()()
	if off.Standing().Places != 4 {
		t.Errorf("off it stands so: %s", off.Standing())
	}
	var none *Governor
	none.Run(t.Context())
	none.Strained(Strain{})
	none.Live()()
	if place, why := none.Admit(t.Context()); place == nil || none.Standing().Most != 0 {
		t.Error(why)
	}
}
