package main

import (
	"errors"
	"maps"
	"net"
	"slices"
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

	_, err = fixedPorts([]Part{S3{}}, map[string]int{"s3": taken})
	var problem *ErrPortTaken
	if !errors.As(err, &problem) || problem.Part != "s3" || problem.Port != taken {
		t.Fatalf("got %v, want an ErrPortTaken of s3 and %d", err, taken)
	}
	for _, want := range []string{"s3 cannot listen on " + loopback(taken), "--port s3=N", "--free"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
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
