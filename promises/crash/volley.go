package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// mostAtOnce faults come at once, each at another worker. While fewer than leastAwake workers are at work, faults wait,
// and those that would leave fewer are not chosen.
const (
	mostAtOnce = 3
	leastAwake = 3
)

// workAgainWithin is how long it may take until workers work again, also when Temporal has to be started again for it.
const workAgainWithin = 3 * time.Minute

// awake are the workers that do not stand still.
func (s *Stage) awake() (awake []*Service) {
	for _, w := range s.Workers {
		if !s.Asleep.Has(w) {
			awake = append(awake, w)
		}
	}
	return awake
}

// atWork are those of them that are not about to be started again.
func (s *Stage) atWork() []*Service {
	return slices.DeleteFunc(s.awake(), func(w *Service) bool { return !w.Works() })
}

// together are the faults of a hand that come at once: the first, alone if it must be, else others beside it, at most so many,
// each of another boundary, and at most so many of them stops.
func together(hand []Fault, atOnce, stops, most int) (faults []Fault) {
	at := map[string]bool{}
	for _, fault := range hand {
		boundary, isStop := boundaryOf(fault), strings.HasSuffix(fault.Name, "=stop")
		switch {
		case isStop && stops == 0 || at[boundary] && boundary != "":
			continue
		case !fault.AtOnce && len(faults) > 0:
			continue
		}
		faults = append(faults, fault)
		at[boundary] = true
		if isStop {
			stops--
		}
		if !fault.AtOnce || len(faults) == min(atOnce, most) {
			break
		}
	}
	return faults
}

// Volley brings the first fault of a hand about, and beside it others that may come at once. It returns those that came, at
// most so many, and those that found nothing to break.
func Volley(ctx context.Context, stage *Stage, random *rand.Rand, hand []Fault, most int) (came, missed []Fault, err error) {
	began := time.Now()
	for len(stage.atWork()) < leastAwake {
		if wait(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if late := time.Since(began); late > workAgainWithin {
			return nil, nil, fmt.Errorf("after %s %d of %d workers work, want %d", late, len(stage.atWork()), len(stage.Workers), leastAwake)
		}
	}
	stage.Phases.Add("waiting for workers", began)
	faults := together(hand, mostAtOnce, max(0, len(stage.awake())-leastAwake), most)
	own := rand.New(rand.NewPCG(random.Uint64(), 1))
	began = time.Now()
	if faults[0].AtOnce {
		came, missed = stage.atBoundaries(ctx, own, faults)
	} else if did, failed := faults[0].Do(ctx, stage, own); did {
		came, err = faults, failed
	} else {
		missed, err = faults, failed
	}
	phase := phaseMissed
	if len(came) > 0 {
		phase = phaseOf(came[0])
	}
	stage.Phases.Add(phase, began)
	return came, missed, err
}

// acted is a worker that has acted at a failpoint, given as "s3.looked=kill".
type acted struct {
	who *Service
	at  string
}

// atBoundaries arms all workers for all of the faults. Who comes by first at one of them acts, and the others are armed for the
// rest.
func (s *Stage) atBoundaries(ctx context.Context, random *rand.Rand, faults []Fault) (came, missed []Fault) {
	ctx, cancel := context.WithTimeout(ctx, exportHitWithin)
	defer cancel()
	missed = slices.Clone(faults)
	var entries []string
	stops := false
	for _, fault := range faults {
		entries = append(entries, fmt.Sprintf("%s@%d", fault.Name, 1+random.IntN(2)))
		stops = stops || strings.HasSuffix(fault.Name, "=stop")
	}
	armed := arm(s.atWork(), strings.Join(entries, ";"))
	hits := make(chan acted)
	var watching sync.WaitGroup
	for _, w := range armed {
		watching.Go(func() { w.pass(ctx, hits) })
	}
	// One that stands still when it is armed anew has acted, too.
	again := func(list string) {
		for _, w := range armed {
			if err := w.Arm(list); stops && errors.Is(err, os.ErrDeadlineExceeded) {
				s.Asleep.Put(w, exportZombie(random))
			}
		}
	}
	for len(missed) > 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case hit := <-hits:
			if strings.HasSuffix(hit.at, "=stop") {
				s.Asleep.Put(hit.who, exportZombie(random))
			}
			armed = slices.DeleteFunc(armed, func(w *Service) bool { return w == hit.who })
			i := slices.IndexFunc(missed, func(f Fault) bool { return f.Name == hit.at })
			if i < 0 {
				continue // the second that came by before it was armed anew
			}
			came, missed = append(came, missed[i]), slices.Delete(missed, i, i+1)
			entries = nil
			for _, fault := range missed {
				entries = append(entries, fault.Name+"@1")
			}
			again(strings.Join(entries, ";"))
		}
	}
	if len(missed) > 0 {
		again("")
	}
	cancel()
	watching.Wait()
	return came, missed
}

const phaseMissed = "waiting in vain for a fault to find something"

// phaseOf is what a fault's time is counted by.
func phaseOf(f Fault) string {
	point, _, at := strings.Cut(f.Name, "=")
	switch {
	case !at:
		return "other faults"
	case cancelBoundaries[point] != "":
		return "boundaries of a cancelled run"
	case closeBoundaries[point] != "":
		return "boundaries of a closed revision"
	case slices.Contains(sweepBoundaries, point):
		return "boundaries of a sweep"
	}
	return "boundaries of a run"
}
