package broker

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// silentBroker takes connections and never answers.
func silentBroker(t *testing.T) (address string, accepted <-chan net.Conn) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	connections := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			connections <- c
		}
	}()
	return listener.Addr().String(), connections
}

// request is a request of a kind, of which the dialer reads nothing else.
func request(kind byte) []byte { return []byte{0, 0, 0, 4, 0, kind, 0, 0} }

func TestABrokerThatKeepsSilentIsNotDialledAgainForAWhile(t *testing.T) {
	address, accepted := silentBroker(t)
	d := &dialer{silences: &silences{}, timeout: time.Minute}
	connection, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := connection.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read: %v", err)
	}
	if _, err := d.Dial("tcp", address); !errors.Is(err, errShunned) {
		t.Errorf("dialled again: %v", err)
	}

	answering := <-accepted
	defer answering.Close()
	if _, err := answering.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := connection.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := connection.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	again, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatalf("it has answered, and is not dialled: %v", err)
	}
	_ = again.Close()
}

func TestABrokerThatIsShunnedIsTriedByOneAtATimeAndEverMoreSeldom(t *testing.T) {
	var s silences
	now := time.Now()
	wantMay := func(at time.Duration, want bool) {
		t.Helper()
		if got := s.mayDial("a", now.Add(at)); got != want {
			t.Errorf("after %s: may dial %t, want %t", at, got, want)
		}
	}
	wantMay(0, true)
	s.keepsSilent("a", now)
	s.keepsSilent("a", now.Add(time.Millisecond)) // another connection that waited for the same
	wantMay(shunFirst-1, false)
	wantMay(shunFirst, true)
	wantMay(shunFirst+1, false) // one is on its way
	s.keepsSilent("a", now.Add(shunFirst+answerWithin))
	wantMay(3*shunFirst+answerWithin-1, false)
	wantMay(3*shunFirst+answerWithin, true)
	s.answers("a")
	wantMay(3*shunFirst+answerWithin+1, true)
	wantMay(3*shunFirst+answerWithin+2, true)
}

// A process that was stopped and woken finds its time run out, and the answer in the socket.
func TestAnAnswerThatIsThereWhenItsTimeIsOverIsTaken(t *testing.T) {
	address, accepted := silentBroker(t)
	d := &dialer{silences: &silences{}, timeout: time.Minute}
	connection, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	answering := <-accepted
	defer answering.Close()
	if _, err := answering.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := connection.SetReadDeadline(time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := connection.Read(make([]byte, 1)); err != nil {
		t.Errorf("read: %v", err)
	}
	again, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatalf("the broker is blamed: %v", err)
	}
	_ = again.Close()
}

// deadlines notes what it is told.
type deadlines struct {
	net.Conn
	set []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

func (d *deadlines) Write(p []byte) (int, error) { return len(p), nil }

func TestOnlyTheAnswersOfARebalanceAreWaitedForLonger(t *testing.T) {
	const fetch = 1
	for _, c := range []struct {
		name    string
		kinds   []byte
		patient bool
	}{
		{"fetch", []byte{fetch}, false},
		{"join", []byte{kindJoinGroup}, true},
		{"join, and metadata beside it", []byte{kindJoinGroup, 3}, true},
		{"sync", []byte{kindJoinGroup, kindSyncGroup}, true},
		{"heartbeat after it", []byte{kindJoinGroup, kindSyncGroup, kindHeartbeat}, false},
		{"leaving after it", []byte{kindJoinGroup, kindSyncGroup, kindLeaveGroup}, false},
	} {
		inner := &deadlines{}
		connection := &conn{Conn: inner, silences: &silences{}, join: time.Hour}
		for _, kind := range c.kinds {
			if _, err := connection.Write(request(kind)); err != nil {
				t.Fatal(err)
			}
		}
		at := time.Now().Add(answerWithin)
		if err := connection.SetReadDeadline(at); err != nil {
			t.Fatal(err)
		}
		if patient := inner.set[0].After(at); patient != c.patient {
			t.Errorf("%s: waits longer %t, want %t", c.name, patient, c.patient)
		}
	}
}
