package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// answerWithin is how long a loader waits for any answer but those that a rebalance holds back. A broker needs
// milliseconds; one that needs more than this is frozen, or cut off without a word, and others take over what it led.
const answerWithin = 5 * time.Second

// A broker that has not answered is not dialled again for shunFirst, and twice as long after each further attempt that
// it does not answer, up to shunMost.
const (
	shunFirst = 5 * time.Second
	shunMost  = time.Minute
)

// errShunned says that nothing was tried.
var errShunned = errors.New("the broker has not answered a moment ago, and is left alone for a while")

// watchBrokers makes a client give up on brokers that keep silent. The answer to a join may take as long as join.
func watchBrokers(config *sarama.Config, join time.Duration) {
	config.Net.ReadTimeout = answerWithin
	config.Net.Proxy.Enable = true
	config.Net.Proxy.Dialer = &dialer{silences: &known, timeout: config.Net.DialTimeout, join: join}
}

// known is what this process has learnt about the addresses of brokers, for all its clients: each new client would begin
// with the silent one in its turn.
var known silences

// silences are the brokers that do not answer. sarama alone would wait for a frozen one again and again: its heartbeat
// tries the coordinator that it knows four times, and leaves the group there; and while it waits for a broker's greeting
// it holds a lock that every other request of the client needs. Together that is minutes.
type silences struct {
	mu     sync.Mutex
	silent map[string]silence
}

type silence struct {
	times int // in a row
	until time.Time
}

// mayDial lets one attempt through when the time is over, and the others when that was answered.
func (s *silences) mayDial(address string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	is, isSilent := s.silent[address]
	if !isSilent {
		return true
	}
	if now.Before(is.until) {
		return false
	}
	is.until = now.Add(answerWithin)
	s.silent[address] = is
	return true
}

// keepsSilent notes that time ran out.
func (s *silences) keepsSilent(address string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent == nil {
		s.silent = map[string]silence{}
	}
	is := s.silent[address]
	if is.times > 0 && now.Before(is.until) {
		return // of several connections that wait for one broker, the first says it all
	}
	is.until = now.Add(min(shunFirst<<min(is.times, 10), shunMost))
	is.times++
	s.silent[address] = is
}

func (s *silences) answers(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.silent, address)
}

// dialer connects one client to its brokers. It takes the place of sarama's own. Connections are plain TCP, because it
// reads in each request what kind it is.
type dialer struct {
	silences *silences
	timeout  time.Duration
	// join is how long the answer to a join may take: until every member has let go of its partitions.
	join time.Duration
}

// Dial implements proxy.Dialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	if !d.silences.mayDial(address, time.Now()) {
		return nil, fmt.Errorf("dial %s: %w", address, errShunned)
	}
	raw, err := net.DialTimeout(network, address, d.timeout)
	var timed net.Error
	if errors.As(err, &timed) && timed.Timeout() {
		d.silences.keepsSilent(address, time.Now())
	}
	if err != nil {
		return nil, err
	}
	return &conn{Conn: raw, silences: d.silences, join: d.join, address: address}, nil
}

// Kinds of requests, as Kafka's protocol numbers them.
const (
	kindJoinGroup  = 11
	kindHeartbeat  = 12
	kindLeaveGroup = 13
	kindSyncGroup  = 14
)

// conn waits longer for some answers than for others. sarama has one limit for all, which has to hold for a join; and so
// a heartbeat to a frozen coordinator, or a fetch from a frozen leader, would wait as long as the slowest rebalance.
type conn struct {
	net.Conn
	silences *silences
	join     time.Duration
	address  string

	mu       sync.Mutex
	patient  time.Time // until when the answer to a join may come; zero when none is waited for
	answered bool
}

// Write sends one request, as sarama hands it over: length, kind, and the rest.
func (c *conn) Write(request []byte) (int, error) {
	if len(request) > 6 {
		c.mu.Lock()
		switch binary.BigEndian.Uint16(request[4:]) {
		case kindJoinGroup, kindSyncGroup:
			c.patient = time.Now().Add(c.join)
		case kindHeartbeat, kindLeaveGroup: // who sends this has had the answer
			c.patient = time.Time{}
		}
		c.mu.Unlock()
	}
	return c.Conn.Write(request)
}

// SetReadDeadline puts off what sarama sets for all answers alike.
func (c *conn) SetReadDeadline(at time.Time) error {
	c.mu.Lock()
	if c.patient.After(at) {
		at = c.patient
	}
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(at)
}

// secondLook is how long an answer is looked for once more when its time is over. If it was this process that stood still
// and not the broker, the answer has long been there.
const secondLook = 250 * time.Millisecond

// Read is called only while an answer is due, so a deadline that passes is a broker that keeps silent.
func (c *conn) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if err := c.Conn.SetReadDeadline(time.Now().Add(secondLook)); err != nil {
			return 0, err
		}
		n, err = c.Conn.Read(into)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.answered = false
		c.silences.keepsSilent(c.address, time.Now())
	case n > 0 && !c.answered:
		c.answered = true
		c.silences.answers(c.address)
	}
	return n, err
}
