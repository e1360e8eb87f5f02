package testcut

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Commits passes connections on to Postgres, and cuts them at a COMMIT where it is told to.
type Commits struct {
	// Address is where to connect instead, as host:port.
	Address string

	listener net.Listener
	server   string
	at       func(n int64) Cut
	count    atomic.Int64
	open     sync.WaitGroup
}

// Cut says what becomes of a COMMIT.
type Cut int

const (
	// PassOn lets it be.
	PassOn Cut = iota
	// LoseAnswer lets the server have it: it takes effect, and the client sees the end of its connection instead of the answer.
	LoseAnswer
	// LoseItself ends both connections instead: it never comes to the server.
	LoseItself
)

// NewCommits passes on to a server, given as host:port, until Close. Every COMMIT is counted, from 1, and at says what
// becomes of it; it may be called by several goroutines.
func NewCommits(server string, at func(n int64) Cut) (*Commits, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("stand between clients and postgres: %w", err)
	}
	c := &Commits{Address: listener.Addr().String(), listener: listener, server: server, at: at}
	c.open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			c.open.Go(func() { c.carry(client) })
		}
	})
	return c, nil
}

// Count is how many COMMITs there were.
func (c *Commits) Count() int64 { return c.count.Load() }

// Refuse takes no new connection; those that are open go on. It may be called twice.
func (c *Commits) Refuse() { _ = c.listener.Close() }

// Close is Refuse, and waits until the clients have ended the connections that are open.
func (c *Commits) Close() {
	c.Refuse()
	c.open.Wait()
}

// commitMessage is how the client says COMMIT.
var commitMessage = append([]byte{'Q', 0, 0, 0, 11}, "commit\x00"...)

func (c *Commits) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.server)
	if err != nil {
		return
	}
	defer server.Close()
	var deaf atomic.Bool
	back := make(chan struct{})
	go func() {
		defer close(back)
		defer client.Close()
		answers(client, server, &deaf)
	}()
	// The first message of a connection has no letter in front.
	for letter := false; ; letter = true {
		message, err := readMessage(client, letter)
		if err != nil {
			break
		}
		if bytes.Equal(message, commitMessage) {
			what := c.at(c.count.Add(1))
			if what == LoseAnswer {
				deaf.Store(true)
				_, _ = server.Write(message)
				<-back
			}
			if what != PassOn {
				break
			}
		}
		if _, err := server.Write(message); err != nil {
			break
		}
	}
	_ = server.Close()
	<-back
}

// answers passes on what the server says, until one of the two ends, or an answer comes that the client must not hear.
func answers(client, server net.Conn, deaf *atomic.Bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := server.Read(buffer)
		if n > 0 && deaf.Load() { // the answer to the COMMIT, which has had its effect
			return
		}
		if n > 0 {
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// readMessage reads one message of Postgres's protocol.
func readMessage(from io.Reader, letter bool) ([]byte, error) {
	head := make([]byte, 4)
	if letter {
		head = make([]byte, 5)
	}
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	long := binary.BigEndian.Uint32(head[len(head)-4:])
	if long < 4 {
		return nil, io.ErrUnexpectedEOF
	}
	rest := make([]byte, long-4)
	_, err := io.ReadFull(from, rest)
	return append(head, rest...), err
}
