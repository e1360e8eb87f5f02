// Package failpoint breaks the program at named places, so that tests can prove what a crash there costs.
//
// A place is a call of Hit just before or after a side effect, named "room.what": "loader.inserted". It is compiled
// into every build, and costs one atomic load while nothing is armed. The environment arms it when the program starts:
//
//	MILLRACE_FAILPOINTS='loader.inserted=kill@3;loader.commit=error'
//
// The actions:
//
//	kill    the process ends at once, as by kill -9: no deferred call runs, nothing is flushed
//	stop    the process stands still, as by SIGSTOP, until somebody sends SIGCONT: a zombie
//	error   Hit returns ErrInjected
//	wait    Hit blocks until the point is disarmed, its context ends, or the process dies
//
//	on      On returns true: a switch for a build that is broken on purpose, to prove that a test catches it
//
// "@3" lets only the third hit act; without it every hit does. Each hit that acts is told on standard error first, one
// line "failpoint loader.inserted: kill", so that a harness knows where the process was.
//
// A process that runs can be armed anew: with MILLRACE_FAILPOINTS_SOCKET naming a file, it listens there as a Unix socket.
// Who connects writes a list, closes that side, and reads "armed", or what is wrong with the list. It takes the place of
// what was armed before; an empty one disarms all.
//
// An operator never sets this. A list that cannot be read ends the program, because a crash test that silently crashes
// nothing would pass.
package failpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// Variable is the environment variable that arms points.
const Variable = "MILLRACE_FAILPOINTS"

// SocketVariable is the environment variable that names the socket of a process that can be armed while it runs.
const SocketVariable = "MILLRACE_FAILPOINTS_SOCKET"

// ErrInjected is what Hit returns at a point armed with "error".
var ErrInjected = errors.New("failpoint: injected error")

type action string

const (
	actionKill  action = "kill"
	actionStop  action = "stop"
	actionError action = "error"
	actionWait  action = "wait"
	actionOn    action = "on"
)

type point struct {
	action action
	only   int64 // the hit that acts, from 1; 0 for every one
	hits   atomic.Int64
	freed  chan struct{}
}

// free lets go who waits at the point, now and later. It is not called by two goroutines at once.
func (p *point) free() {
	select {
	case <-p.freed:
	default:
		close(p.freed)
	}
}

// armed is nil while nothing is, which is the whole cost in production.
var armed atomic.Pointer[map[string]*point]

func init() {
	if list := os.Getenv(Variable); list != "" {
		points, err := parse(list)
		if err != nil {
			refuse(Variable, err)
		}
		armed.Store(&points)
	}
	if path := os.Getenv(SocketVariable); path != "" {
		if err := listen(path); err != nil {
			refuse(SocketVariable, err)
		}
	}
}

func refuse(variable string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", variable, err)
	os.Exit(2)
}

// Hit marks a place. It returns nil at once unless the place is armed.
func Hit(ctx context.Context, name string) error {
	points := armed.Load()
	if points == nil {
		return nil
	}
	return hit(ctx, (*points)[name], name)
}

// On tells whether a switch is on, and counts that it was asked.
func On(name string) bool {
	points := armed.Load()
	if points == nil {
		return false
	}
	p := (*points)[name]
	if p == nil || p.action != actionOn {
		return false
	}
	p.hits.Add(1)
	return true
}

func hit(ctx context.Context, p *point, name string) error {
	if p == nil {
		return nil
	}
	if count := p.hits.Add(1); p.only != 0 && count != p.only {
		return nil
	}
	if p.action == actionOn {
		return nil
	}
	fmt.Fprintf(os.Stderr, "failpoint %s: %s\n", name, p.action)
	switch p.action {
	case actionKill:
		kill()
	case actionStop:
		stop()
	case actionError:
		return fmt.Errorf("%s: %w", name, ErrInjected)
	case actionWait:
		select {
		case <-p.freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Arm arms points from inside a test, beside those that are armed, and returns what disarms all and frees who waits.
// Points are the process's, so tests that arm the same ones cannot run in parallel.
func Arm(list string) (disarm func(), err error) {
	points, err := parse(list)
	if err != nil {
		return nil, err
	}
	before := armed.Load()
	if before != nil {
		for name, p := range *before {
			if _, again := points[name]; !again {
				points[name] = p
			}
		}
	}
	armed.Store(&points)
	return func() {
		armed.Store(before)
		for _, p := range points {
			p.free()
		}
	}, nil
}

// Hits is how often an armed point was passed; 0 when it is not armed.
func Hits(name string) int64 {
	if points := armed.Load(); points != nil && (*points)[name] != nil {
		return (*points)[name].hits.Load()
	}
	return 0
}

func parse(list string) (map[string]*point, error) {
	points := map[string]*point{}
	for entry := range strings.SplitSeq(list, ";") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, what, found := strings.Cut(entry, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("%q is not NAME=ACTION", entry)
		}
		what, nth, limited := strings.Cut(what, "@")
		p := &point{action: action(what), freed: make(chan struct{})}
		switch p.action {
		case actionKill, actionStop, actionError, actionWait, actionOn:
		default:
			return nil, fmt.Errorf("%q: the action %q is none of kill, stop, error, wait, on", entry, what)
		}
		if limited {
			only, err := strconv.ParseInt(nth, 10, 64)
			if err != nil || only < 1 {
				return nil, fmt.Errorf("%q: the hit %q is not a number from 1", entry, nth)
			}
			p.only = only
		}
		points[name] = p
	}
	return points, nil
}
