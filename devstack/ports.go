package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
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
	return fmt.Sprintf("%s cannot listen on 127.0.0.1:%d: the port is taken by another process; "+
		"stop that process, or choose another port with --port %s=N, or let devstack choose all ports with --free",
		e.Part, e.Port, e.Name)
}

// fixedPorts gives every port its default, or what chosen says, and an error when one is taken.
func fixedPorts(parts []Part, chosen map[string]int) (map[string]int, error) {
	ports := map[string]int{}
	var taken []error
	for _, part := range parts {
		for _, p := range part.Ports() {
			number := p.Default
			if n, ok := chosen[p.Name]; ok {
				number = n
			}
			if err := claim(part, p, number); err != nil {
				taken = append(taken, err)
			}
			ports[p.Name] = number
		}
	}
	return ports, errors.Join(taken...)
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
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the folder of port reservations: %w", err)
	}
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
		return r.draw(dir)
	}
	return n, claim(part, p, n)
}

func (r *Reservation) draw(dir string) (int, error) {
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
