package crash

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// DatabaseRelay stands between workers and Postgres, and cuts connections at COMMIT when it is told to.
type DatabaseRelay struct {
	// Address is the relay's, as host:port.
	Address string

	listener net.Listener
	server   string
	cuts     atomic.Pointer[commitCuts]
	open     sync.WaitGroup
}

// commitCuts says what becomes of COMMITs.
type commitCuts struct {
	left atomic.Int64 // how many are still cut
	// answers lets the server have them: they take effect, and only the answer is lost. Otherwise they are lost themselves.
	answers bool
	cut     chan struct{} // gets one for each that was cut
}

// StartDatabaseRelay relays to a server, given as host:port, until Close.
func StartDatabaseRelay(server string) (*DatabaseRelay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &DatabaseRelay{Address: listener.Addr().String(), listener: listener, server: server}
	r.open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			r.open.Go(func() { r.carry(client) })
		}
	})
	return r, nil
}

// Close takes no new connection; those that are open end with their clients.
func (r *DatabaseRelay) Close() { _ = r.listener.Close() }

// cutCommits cuts the next COMMITs. The channel gets one for each.
func (r *DatabaseRelay) cutCommits(number int64, answers bool) <-chan struct{} {
	cuts := &commitCuts{answers: answers, cut: make(chan struct{}, number)}
	cuts.left.Store(number)
	r.cuts.Store(cuts)
	return cuts.cut
}

// mend cuts no more.
func (r *DatabaseRelay) mend() { r.cuts.Store(nil) }

// commitMessage is how the client says COMMIT.
var commitMessage = append([]byte{'Q', 0, 0, 0, 11}, "commit\x00"...)

func (r *DatabaseRelay) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.server)
	if err != nil {
		return
	}
	defer server.Close()
	var deaf atomic.Bool
	back := make(chan struct{})
	go func() {
		defer close(back)
		defer client.Close()
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
	}()
	// The first message of a connection has no letter in front.
	for letter := false; ; letter = true {
		message, err := readMessage(client, letter)
		if err != nil {
			break
		}
		if cuts := r.cuts.Load(); cuts != nil && bytes.Equal(message, commitMessage) && cuts.left.Add(-1) >= 0 {
			if cuts.answers {
				deaf.Store(true)
				_, _ = server.Write(message)
				<-back
			}
			cuts.cut <- struct{}{}
			break
		}
		if _, err := server.Write(message); err != nil {
			break
		}
	}
	_ = server.Close()
	<-back
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
