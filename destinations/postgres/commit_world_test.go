//go:build world

package postgres

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// cut says what a line does with a COMMIT.
type cut int

const (
	passOn     cut = iota
	loseAnswer     // the server gets it and answers, the client hears nothing
	loseItself     // the server gets nothing, and sees the end of the connection
)

// line stands between the client and the server, and cuts the connection at the COMMITs that at chooses.
type line struct {
	net.Listener
	server  string
	commits atomic.Int64
	at      func(n int64) cut
	open    sync.WaitGroup
}

func newLine(t testing.TB, s schema, at func(n int64) cut) *line {
	t.Helper()
	address, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener, server: address.Host, at: at}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			l.open.Go(func() { l.carry(client) })
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		l.open.Wait()
	})
	return l
}

func (l *line) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.server)
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
			if n > 0 && deaf.Load() { // the answer to the COMMIT: it had its effect
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
	letter := false
	for {
		message, err := readMessage(client, letter)
		if err != nil {
			break
		}
		letter = true
		if bytes.Equal(message, commitMessage) {
			switch l.at(l.commits.Add(1)) {
			case loseItself:
				server.Close()
				<-back
				return
			case loseAnswer:
				deaf.Store(true)
				_, _ = server.Write(message)
				<-back
				return
			}
		}
		if _, err := server.Write(message); err != nil {
			break
		}
	}
	server.Close()
	<-back
}

// commitMessage is how the client says COMMIT.
var commitMessage = append([]byte{'Q', 0, 0, 0, 11}, "commit\x00"...)

// readMessage reads one message of Postgres's protocol.
func readMessage(from io.Reader, letter bool) ([]byte, error) {
	head := make([]byte, 4)
	if letter {
		head = make([]byte, 5)
	}
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	rest := make([]byte, binary.BigEndian.Uint32(head[len(head)-4:])-4)
	_, err := io.ReadFull(from, rest)
	return append(head, rest...), err
}

// The connection is cut at each COMMIT of a run, once so that it had its effect and once so that it had not. The step, or
// its repeat, finds out which, and there is one copy of everything in the end.
func TestWhateverComesOfACommitThereIsOneCopy(t *testing.T) {
	for _, mode := range []string{modeAppend, modeMerge} {
		for name, what := range map[string]cut{"its answer is lost": loseAnswer, "it is lost itself": loseItself} {
			t.Run(mode+", "+name, func(t *testing.T) {
				more := map[string]any{"mode": mode}
				for n := int64(1); ; n++ {
					s := newSchema(t)
					l := newLine(t, s, func(commit int64) cut {
						if commit == n {
							return what
						}
						return passOn
					})
					plan := s.planOf(t, 0, 10, more)
					d := s.openAt(t, s.through(t, l.Addr().String()), more)
					manifest, err := runOnce(t.Context(), d, plan, someRows(10))
					if err != nil {
						if export.KindOf(err) != export.KindDestinationUnavailable {
							t.Errorf("COMMIT %d: %v (%s)", n, err, export.KindOf(err))
						}
						manifest, err = runOnce(t.Context(), d, plan, someRows(10))
					}
					if err != nil || manifest.Rows != 10 {
						t.Errorf("COMMIT %d, the repeat: %d rows, %v", n, manifest.Rows, err)
					}
					s.wantRun(t, 10)
					if l.commits.Load() < n {
						t.Logf("%d commits were cut", n-1)
						if n < 5 {
							t.Error("there should be more")
						}
						return
					}
				}
			})
		}
	}
}

// The answer to the COMMIT that publishes is lost: the same call finds the run's row and says that it is published.
func TestALostAnswerToThePublishingCommitIsReadBack(t *testing.T) {
	s := newSchema(t)
	plan := s.planOf(t, 0, 10, nil)
	manifest, err := write(t.Context(), s.open(t, nil), plan, someRows(10))
	if err != nil {
		t.Fatal(err)
	}
	l := newLine(t, s, func(commit int64) cut {
		if commit == 1 {
			return loseAnswer
		}
		return passOn
	})
	published, err := s.openAt(t, s.through(t, l.Addr().String()), nil).Publish(t.Context(), manifest)
	if err != nil || published.Rows != 10 || l.commits.Load() == 0 {
		t.Errorf("%d rows, %v, after %d commits", published.Rows, err, l.commits.Load())
	}
	s.wantRun(t, 10)
}

// The COMMIT of a second revision is lost itself: that the first one is published is no answer to it.
func TestALostCommitOfASecondRevisionIsTriedAgain(t *testing.T) {
	s := newSchema(t)
	more := map[string]any{"mode": modeMerge}
	plan := s.planOf(t, 0, 10, more)
	if _, err := runOnce(t.Context(), s.open(t, more), plan, someRows(10)); err != nil {
		t.Fatal(err)
	}
	plan.Run.Revision = 2
	if err := s.open(t, more).writePlan(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	receipt, err := s.open(t, more).WriteChunk(t.Context(), destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Source: someRows(10)})
	if err != nil {
		t.Fatal(err)
	}
	l := newLine(t, s, func(commit int64) cut {
		if commit == 1 {
			return loseItself
		}
		return passOn
	})
	d := s.openAt(t, s.through(t, l.Addr().String()), more)
	manifest := export.NewManifest(plan, []export.Receipt{receipt}, export.Proof{}, plan.By)
	_, err = d.Publish(t.Context(), manifest)
	wantError(t, err, export.KindDestinationUnavailable, "the answer to a commit was lost")
	published, err := d.Publish(t.Context(), manifest)
	if err != nil || published.Run.Revision != 2 {
		t.Errorf("again: revision %d, %v", published.Run.Revision, err)
	}
}
