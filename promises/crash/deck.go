package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// Fault is one card of the deck.
type Fault struct {
	// Name is what the report counts it by, such as "loader.inserted=kill" or "clickhouse: stopped".
	Name string
	// Do brings it about, lets it last, and ends it. It returns false if there was nothing to break, so that the round
	// does not count.
	Do func(context.Context, *Stage, *rand.Rand) (bool, error)
	// AtOnce is for a fault, named as a failpoint is armed, that may come at once with others, at whichever worker comes by first.
	// It has no Do.
	AtOnce bool
}

// Stage is where faults happen.
type Stage struct {
	World    *World
	Captures []*Service
	Loaders  []*Service

	// What there is besides when exports are broken.
	Workers  []*Service
	Exports  *Exporter
	Store    *StoreRelay
	Database *DatabaseRelay
	Places   *Places
	Phases   *Phases
	// Asleep are the services that stand still until they are woken in their own time.
	Asleep *Asleep
}

// The boundaries between side effects, by the names of their failpoints: before and after each.
var (
	loaderBoundaries = []string{
		"loader.polled", "loader.plan", "loader.planned", "loader.quarantine", "loader.quarantined", "loader.insert", "loader.inserted",
		"loader.commit", "loader.committed", "loader.promise", "loader.promised", "loader.publish", "loader.published",
	}
	captureBoundaries = []string{"capture.produce", "capture.produced"}

	// After these an effect has happened, and an error stands for its answer, lost on the way.
	loaderEffects  = []string{"loader.planned", "loader.quarantined", "loader.inserted", "loader.committed", "loader.promised", "loader.published"}
	captureEffects = []string{"capture.produced"}
)

// Boundaries are all failpoints that a whole run must have hit.
func Boundaries() []string {
	return append(append([]string{}, loaderBoundaries...), captureBoundaries...)
}

// Deck is all faults, each once.
func Deck() []Fault {
	var deck []Fault
	for _, boundary := range loaderBoundaries {
		deck = append(deck, atFailpoint(boundary, "kill", loaders), atFailpoint(boundary, "stop", loaders))
	}
	for _, boundary := range captureBoundaries {
		deck = append(deck, atFailpoint(boundary, "kill", captures), atFailpoint(boundary, "stop", captures))
	}
	for _, effect := range loaderEffects {
		deck = append(deck, atFailpoint(effect, "error", loaders))
	}
	for _, effect := range captureEffects {
		deck = append(deck, atFailpoint(effect, "error", captures))
	}
	deck = append(deck,
		anywhere("capture: killed", captures, syscall.SIGKILL), anywhere("capture: stopped", captures, syscall.SIGSTOP),
		anywhere("loader: killed", loaders, syscall.SIGKILL), anywhere("loader: stopped", loaders, syscall.SIGSTOP),
		allKilled("all loaders: killed", loaders),
	)
	for _, part := range []string{clickhousePart, kafkaPart} {
		deck = append(deck, partKilled(part), partStopped(part))
	}
	for _, line := range []string{clickhouseLine, kafkaLine} {
		deck = append(deck,
			lineCut(line),
			poisoned(line, "slow", toxic{Type: "latency", Stream: "upstream", Attributes: map[string]int{"latency": 300, "jitter": 200}}),
			poisoned(line, "narrow", toxic{Type: "bandwidth", Stream: "upstream", Attributes: map[string]int{"rate": 40}}),
			// What is asked arrives and is done; the answer does not, and the connection ends.
			poisoned(line, "answers lost", toxic{Type: "timeout", Stream: "downstream", Attributes: map[string]int{"timeout": 200}}),
			poisoned(line, "reset", toxic{Type: "reset_peer", Stream: "downstream", Attributes: map[string]int{"timeout": 50}}),
		)
	}
	return deck
}

func loaders(s *Stage) []*Service  { return s.Loaders }
func captures(s *Stage) []*Service { return s.Captures }

// hitWithin is how long a failpoint may take to be come by: a wave of traffic and its lull. After a takeover it takes the
// session timeout and some reading.
const hitWithin = wave

// atFailpoint lets the first service of a kind that comes by act there, at its first to third time.
func atFailpoint(point, action string, kind func(*Stage) []*Service) Fault {
	return Fault{Name: point + "=" + action, Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
		services := kind(stage)
		nth := 1 + random.IntN(3)
		lasts := zombie(random)
		for _, i := range random.Perm(len(services)) {
			s := services[i]
			if s.Arm(fmt.Sprintf("%s=%s@%d", point, action, nth)) != nil {
				continue // it is between two lives
			}
			if !s.AwaitHit(ctx, point+"="+action, hitWithin) {
				_ = s.Arm("")
				continue
			}
			if action == "stop" {
				wait(ctx, lasts)
				return true, s.Signal(syscall.SIGCONT)
			}
			return true, nil
		}
		return false, nil
	}}
}

// zombie is for how long a process is stopped: as often longer than its group misses it as not.
func zombie(random *rand.Rand) time.Duration {
	if random.IntN(2) == 0 {
		return lasting(random, 200*time.Millisecond, time.Second)
	}
	return lasting(random, 2500*time.Millisecond, 5*time.Second)
}

func lasting(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)))
}

func anywhere(name string, kind func(*Stage) []*Service, signal syscall.Signal) Fault {
	return Fault{Name: name, Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
		services := kind(stage)
		s, lasts := services[random.IntN(len(services))], zombie(random)
		if s.Signal(signal) != nil {
			return false, nil // it is between two lives
		}
		if signal == syscall.SIGSTOP {
			wait(ctx, lasts)
			return true, s.Signal(syscall.SIGCONT)
		}
		return true, nil
	}}
}

func allKilled(name string, kind func(*Stage) []*Service) Fault {
	return Fault{Name: name, Do: func(_ context.Context, stage *Stage, _ *rand.Rand) (bool, error) {
		killed := false
		for _, s := range kind(stage) {
			killed = s.Signal(syscall.SIGKILL) == nil || killed
		}
		return killed, nil
	}}
}

func partKilled(part string) Fault {
	return Fault{Name: part + ": killed", Do: func(ctx context.Context, stage *Stage, _ *rand.Rand) (bool, error) {
		return true, stage.World.Kill(ctx, part)
	}}
}

func partStopped(part string) Fault {
	return Fault{Name: part + ": stopped", Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
		lasts := lasting(random, 300*time.Millisecond, 3*time.Second)
		wake, err := stage.World.Stop(ctx, part)
		if err != nil {
			return false, err
		}
		wait(ctx, lasts)
		wake()
		return true, nil
	}}
}

func lineCut(line string) Fault {
	return Fault{Name: "line to " + line + ": cut", Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
		lasts := lasting(random, 100*time.Millisecond, 3*time.Second)
		mend, err := stage.World.Cut(ctx, line)
		if err != nil {
			return false, err
		}
		wait(ctx, lasts)
		return true, mend()
	}}
}

func poisoned(line, how string, t toxic) Fault {
	return Fault{Name: "line to " + line + ": " + how, Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
		lasts := lasting(random, 500*time.Millisecond, 3*time.Second)
		heal, err := stage.World.Poison(ctx, line, t)
		if err != nil {
			return false, err
		}
		wait(ctx, lasts)
		return true, heal()
	}}
}
