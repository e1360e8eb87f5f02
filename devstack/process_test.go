package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestADeadPartIsNamedWithTheLastLinesOfItsLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "part.log")
	p := startForTest(t, log, "for i in $(seq 100); do echo line $i; done; exit 3")
	<-p.Ended
	why := p.Why()
	for _, want := range []string{"exit status 3", log, "line 86", "line 100"} {
		if !strings.Contains(why, want) {
			t.Errorf("%q does not say %q", why, want)
		}
	}
	if strings.Contains(why, "line 85\n") {
		t.Errorf("%q says more than the last 15 lines", why)
	}
}

func TestAPartThatIgnoresSIGTERMIsKilled(t *testing.T) {
	log := filepath.Join(t.TempDir(), "part.log")
	p := startForTest(t, log, "trap '' TERM; echo trapped; while :; do sleep 1; done")
	deadline := time.Now().Add(10 * time.Second)
	for !slices.Contains(lastLines(log, 1), "trapped") {
		if time.Now().After(deadline) {
			t.Fatal("the process did not set its trap")
		}
		time.Sleep(time.Millisecond)
	}
	p.Stop(50 * time.Millisecond)
	if why := p.Why(); !strings.Contains(why, "signal: killed") {
		t.Errorf("%q does not say that it was killed", why)
	}
	p.Stop(0) // harmless the second time
}

func startForTest(t *testing.T, log, script string) *Process {
	t.Helper()
	guard, err := startGuard()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(guard.Close)
	p, err := startProcess(Command{Program: "/bin/sh", Args: []string{"-c", script}}, log, guard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(0) })
	return p
}

func TestLastLinesOfALongLogStayShort(t *testing.T) {
	log := filepath.Join(t.TempDir(), "long.log")
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	if err := os.WriteFile(log, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lastLines(log, 2); !slices.Equal(got, []string{"line 99998", "line 99999"}) {
		t.Errorf("got %q", got)
	}
}
