// Package testcut cuts the connections of tests where they want them cut.
package testcut

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Cutter passes connections on to an HTTP server and cuts one of them, once as much of the answers has passed as it is told.
// It may be used by several goroutines, with one request at a time.
type Cutter struct {
	// URL is where to send requests instead.
	URL string

	mu    sync.Mutex
	limit int64 // of bytes; a negative one is how many bytes of the answer's end are kept back
	seen  int64
}

// Uncut lets everything pass.
const Uncut = 1 << 40

// New passes on to an HTTP address until the test ends.
func New(t testing.TB, target string) *Cutter {
	t.Helper()
	parsed, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	server := parsed.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	parsed.Host = listener.Addr().String()
	c := &Cutter{URL: parsed.String(), limit: Uncut}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go c.passOn(client, server)
		}
	}()
	return c
}

// Allow begins to count anew, and lets so many bytes of answers pass; of a negative number, all but so many.
func (c *Cutter) Allow(limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit, c.seen = limit, 0
}

// Passed is how many bytes of answers have passed since.
func (c *Cutter) Passed() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// lastChunk ends a chunked answer.
var lastChunk = []byte("\r\n0\r\n\r\n")

// next takes what the server sent and returns what may pass, what has to wait, and whether the connection is cut after it.
func (c *Cutter) next(pending []byte) (pass, wait []byte, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		c.seen += int64(len(pass))
		if cut {
			c.limit = Uncut // one only: what comes next, such as a kill, goes through
		}
	}()
	switch {
	case c.limit >= 0 && int64(len(pending)) > c.limit-c.seen:
		return pending[:c.limit-c.seen], nil, true
	case c.limit >= 0:
		return pending, nil, false
	case bytes.HasSuffix(pending, lastChunk):
		return pending[:int64(len(pending))+c.limit], nil, true
	}
	keep := min(len(pending), len(lastChunk))
	return pending[:len(pending)-keep], pending[len(pending)-keep:], false
}

func (c *Cutter) passOn(client net.Conn, server string) {
	defer func() { _ = client.Close() }()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = upstream.Close() }()
	go func() {
		_, _ = io.Copy(upstream, client)
		_ = upstream.Close()
	}()
	buffer := make([]byte, 32<<10)
	var waiting []byte
	for {
		n, err := upstream.Read(buffer)
		pass, wait, cut := c.next(append(waiting, buffer[:n]...))
		if _, writing := client.Write(pass); writing != nil || cut || err != nil {
			return
		}
		waiting = bytes.Clone(wait)
	}
}
