package main

import (
	"errors"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestATakenPortIsNamedWithPartAndRemedy(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	taken := other.Addr().(*net.TCPAddr).Port

	_, _, err = fixedPorts(t.TempDir(), []Part{S3{}}, map[string]int{"s3": taken}, true)
	var problem *ErrPortTaken
	if !errors.As(err, &problem) || problem.Part != "s3" || problem.Port != taken {
		t.Fatalf("got %v, want an ErrPortTaken of s3 and %d", err, taken)
	}
	for _, want := range []string{"s3 cannot listen on " + loopback(taken), "--port s3=N", "DEVSTACK_PORTS=s3=N", "DEVSTACK_PORTS=free", "--free"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

// partAt is a part whose usual port is one that the test knows.
type partAt struct {
	S3
	port int
}

func (p partAt) Ports() []Port { return []Port{{Name: "s3", Default: p.port}} }

func TestAFreePortIsTakenInThePlaceOfOneThatIsTaken(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	taken := other.Addr().(*net.TCPAddr).Port
	dir := t.TempDir()
	ports, held, err := fixedPorts(dir, []Part{partAt{port: taken}, Kafka{}}, map[string]int{"kafka": drawn(t, dir)}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if ports["s3"] == taken || ports["s3"] < firstFreePort || ports["s3"] > lastFreePort {
		t.Errorf("s3 is on port %d, and %d is taken", ports["s3"], taken)
	}
	if _, _, err := fixedPorts(dir, []Part{partAt{port: taken}}, nil, false); err == nil {
		t.Error("a port that is taken is given out")
	}
	// The port is another world's no more.
	if lock, err := TryLock(filepath.Join(dir, strconv.Itoa(ports["s3"]))); err == nil {
		_ = lock.Close()
		t.Errorf("nobody holds port %d", ports["s3"])
	}
}

// drawn is a port that is free.
func drawn(t *testing.T, dir string) int {
	t.Helper()
	reservation := &Reservation{}
	t.Cleanup(reservation.Close)
	port, err := reservation.drawIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestWorldsSideBySideNeverDrawTheSamePort(t *testing.T) {
	dir := t.TempDir()
	seen := map[int]bool{}
	const worlds = 20
	for range worlds {
		ports, held, err := freePorts(dir, Parts(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		for name, n := range ports {
			if seen[n] {
				t.Errorf("%s got port %d, which another world holds", name, n)
			}
			if n < firstFreePort || n > lastFreePort {
				t.Errorf("%s got port %d, outside of %d to %d", name, n, firstFreePort, lastFreePort)
			}
			seen[n] = true
		}
	}
}

func TestChosenPortsAreKeptAmongFreeOnes(t *testing.T) {
	drawn, first, err := freePorts(t.TempDir(), []Part{Kafka{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	ports, held, err := freePorts(t.TempDir(), Parts(), drawn)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if ports["kafka"] != drawn["kafka"] {
		t.Errorf("kafka got port %d, want the chosen %d", ports["kafka"], drawn["kafka"])
	}

	other, err := net.Listen("tcp", loopback(drawn["kafka"]))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var problem *ErrPortTaken
	if _, _, err := freePorts(t.TempDir(), Parts(), drawn); !errors.As(err, &problem) {
		t.Errorf("a chosen port that is taken: got %v, want an ErrPortTaken", err)
	}
}

func TestNamesAndNumbersOfPortsAreUnique(t *testing.T) {
	names, numbers := map[string]bool{}, map[int]bool{}
	for _, part := range Parts() {
		for _, p := range part.Ports() {
			if names[p.Name] || numbers[p.Default] {
				t.Errorf("%s (%d) is there twice: %v %v", p.Name, p.Default, slices.Sorted(maps.Keys(names)), slices.Sorted(maps.Keys(numbers)))
			}
			names[p.Name], numbers[p.Default] = true, true
		}
	}
}
