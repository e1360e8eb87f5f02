package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Free ports are drawn below every system's range for outgoing connections (Linux from 32768, macOS from
// 49152): a port drawn from that range could be taken by anybody's client between choice and use.
const (
	firstFreePort = 15000
	lastFreePort  = 29999
)

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// ErrPortTaken is returned when something else listens on a port that a part needs.
type ErrPortTaken struct {
	Part string
	Name string
	Port int
}

func (e *ErrPortTaken) Error() string {
	return fmt.Sprintf("%s cannot listen on 127.0.0.1:%d: the port is taken by another process", e.Part, e.Port)
}

// withRemedy says of ports that cannot be had, once for all of them, what to do.
func withRemedy(refused []error) error {
	var flags, assignments []string
	for _, err := range refused {
		var taken *ErrPortTaken
		if errors.As(err, &taken) {
			flags, assignments = append(flags, "--port "+taken.Name+"=N"), append(assignments, taken.Name+"=N")
		}
	}
	if len(flags) == 0 {
		return errors.Join(refused...)
	}
	return errors.Join(append(refused, fmt.Errorf("stop what has taken them, or choose other ports, with %s, or, as for `make up`, "+
		"with %s=%s in the environment; %s=%s takes a free port for each that is taken, and --free is a world of its own on free ports",
		strings.Join(flags, " "), portsVariable, strings.Join(assignments, ","), portsVariable, yieldWord))...)
}

// fixedPorts gives every port its default, or what chosen says. One that is taken is an error, or, with yield and if it
// was not chosen, becomes a free one, which is held as those of freePorts.
func fixedPorts(dir string, parts []Part, chosen map[string]int, yield bool) (map[string]int, *Reservation, error) {
	ports, held := map[string]int{}, &Reservation{}
	var refused []error
	for _, part := range parts {
		for _, p := range part.Ports() {
			number, isChosen := chosen[p.Name]
			if !isChosen {
				number = p.Default
			}
			err := claim(part, p, number)
			if taken := new(ErrPortTaken); yield && !isChosen && errors.As(err, &taken) {
				if number, err = held.drawIn(dir); err == nil {
					say("port %d is taken: %s is on port %d", taken.Port, p.Name, number)
				}
			}
			if err != nil {
				refused = append(refused, err)
			}
			ports[p.Name] = number
		}
	}
	if len(refused) > 0 {
		held.Close()
		return nil, nil, withRemedy(refused)
	}
	return ports, held, nil
}

// claim says, for people, whether the part can have the port.
func claim(part Part, p Port, number int) error {
	switch err := probe(number); {
	case errors.Is(err, syscall.EADDRINUSE):
		return &ErrPortTaken{Part: part.Name(), Name: p.Name, Port: number}
	case err != nil:
		return fmt.Errorf("look whether port %d for %s is free: %w", number, p.Name, err)
	}
	return nil
}

func probe(port int) error {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return err
	}
	return l.Close()
}

// Reservation keeps the ports of one world away from other worlds of this user, until it is closed or the
// process ends, however it ends.
type Reservation struct{ locks []*Lock }

// freePorts draws a free port for each that is not chosen. Two worlds that start at once never draw the
// same: each port is held by a lock on a file in dir, which all worlds of a user share.
func freePorts(dir string, parts []Part, chosen map[string]int) (map[string]int, *Reservation, error) {
	held := &Reservation{}
	ports := map[string]int{}
	for _, part := range parts {
		for _, p := range part.Ports() {
			n, err := held.take(dir, part, p, chosen)
			if err != nil {
				held.Close()
				return nil, nil, err
			}
			ports[p.Name] = n
		}
	}
	return ports, held, nil
}

func (r *Reservation) take(dir string, part Part, p Port, chosen map[string]int) (int, error) {
	n, ok := chosen[p.Name]
	if !ok {
		return r.drawIn(dir)
	}
	if err := claim(part, p, n); err != nil {
		return n, withRemedy([]error{err})
	}
	return n, nil
}

// drawIn draws a free port, and holds it by a lock on a file in dir, which is made if need be.
func (r *Reservation) drawIn(dir string) (int, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("make the folder of port reservations: %w", err)
	}
	const attempts = 1000
	for range attempts {
		n := firstFreePort + rand.IntN(lastFreePort-firstFreePort+1)
		lock, err := TryLock(filepath.Join(dir, strconv.Itoa(n)))
		if errors.Is(err, ErrLocked) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("reserve port %d: %w", n, err)
		}
		if probe(n) != nil {
			_ = lock.Close()
			continue
		}
		r.locks = append(r.locks, lock)
		return n, nil
	}
	return 0, fmt.Errorf("find a free port from %d to %d: none in %d draws", firstFreePort, lastFreePort, attempts)
}

// Close gives the ports back. Closing twice does nothing.
func (r *Reservation) Close() {
	for _, l := range r.locks {
		_ = l.Close()
	}
	r.locks = nil
}
