//go:build world

package eventstore_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// cutter passes connections on to an HTTP server and cuts one of them, once as much of the answers has passed as it is told.
type cutter struct {
	url string

	mu    sync.Mutex
	limit int64 // of bytes; a negative one is how many bytes of the answer's end are kept back
	seen  int64
}

const uncut = 1 << 40

func newCutter(t *testing.T, target string) *cutter {
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
	c := &cutter{url: parsed.String(), limit: uncut}
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

// allow begins to count anew.
func (c *cutter) allow(limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit, c.seen = limit, 0
}

// passed is how many bytes of answers have passed since.
func (c *cutter) passed() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// lastChunk ends a chunked answer.
var lastChunk = []byte("\r\n0\r\n\r\n")

// next takes what the server sent and returns what may pass, what has to wait, and whether the connection is cut after it.
func (c *cutter) next(pending []byte) (pass, wait []byte, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		c.seen += int64(len(pass))
		if cut {
			c.limit = uncut // one only: what comes next, such as a kill, goes through
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

func (c *cutter) passOn(client net.Conn, server string) {
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
