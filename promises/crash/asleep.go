package crash

import (
	"context"
	"sync"
	"syscall"
	"time"
)

// Asleep wakes stopped services in their own time, beside the rounds that go on.
type Asleep struct {
	mu      sync.Mutex
	who     map[*Service]bool
	list    string     // what those are armed with that wake
	woken   []*Service // who was armed with it
	sleeps  sync.WaitGroup
	waking  context.Context
	wakeAll context.CancelFunc
}

// NewAsleep has nobody.
func NewAsleep() *Asleep {
	a := &Asleep{who: map[*Service]bool{}}
	a.waking, a.wakeAll = context.WithCancel(context.Background())
	return a
}

// Put takes a service that is stopped, and wakes it after a while.
func (a *Asleep) Put(s *Service, lasts time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.who[s] {
		return
	}
	a.who[s] = true
	waking := a.waking
	a.sleeps.Go(func() {
		wait(waking, lasts)
		a.mu.Lock()
		defer a.mu.Unlock()
		_ = s.Signal(syscall.SIGCONT)
		_ = s.Arm(a.list) // so that it does not stop there again
		if a.list != "" {
			a.woken = append(a.woken, s)
		}
		delete(a.who, s)
	})
}

// ArmWoken arms those that wake from now on; with nothing, those too that have woken since.
func (a *Asleep) ArmWoken(list string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = list
	if list == "" {
		for _, s := range a.woken {
			_ = s.Arm("")
		}
		a.woken = nil
	}
}

// Has tells whether a service is asleep.
func (a *Asleep) Has(s *Service) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.who[s]
}

// Drain waits until all are awake in their own time.
func (a *Asleep) Drain() { a.sleeps.Wait() }

// Close wakes all at once.
func (a *Asleep) Close() {
	a.wakeAll()
	a.sleeps.Wait()
}

// awaitAnyHit waits until one of the services acts at its failpoint; nil if that takes too long.
func awaitAnyHit(ctx context.Context, services []*Service, hit string, within time.Duration) *Service {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := make(chan *Service, len(services))
	var all sync.WaitGroup
	for _, s := range services {
		all.Go(func() {
			if s.AwaitHit(ctx, hit, within) {
				first <- s
				cancel()
			}
		})
	}
	all.Wait()
	select {
	case s := <-first:
		return s
	default:
		return nil
	}
}
