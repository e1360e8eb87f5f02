// Package testworld is where tests that need the outside world find it. `devstack -- COMMAND` puts the addresses into
// the environment; a test that misses them fails and says how to run it, for a skipped test proves nothing.
package testworld

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Env is the value of an environment variable of the outside world, and fails the test when it is not set.
func Env(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: this test needs the outside world, run it by `make test` or `bin/devstack --free -- go test -tags world ./...`", name)
	}
	return value
}

// Name makes a name that no other test of this world has, fit for databases, topics, buckets and namespaces.
func Name(t testing.TB) string {
	t.Helper()
	base := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, t.Name())
	if len(base) > 30 {
		base = base[:30]
	}
	return fmt.Sprintf("%s%08x", base, rand.Uint32())
}

// Rand is a random source whose seed the test prints; MILLRACE_TEST_SEED repeats a run.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("MILLRACE_TEST_SEED"); text != "" {
		given, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("MILLRACE_TEST_SEED %q is not a number", text)
		}
		seed = given
	}
	t.Logf("seed: MILLRACE_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Eventually asks again and again, with short pauses, until condition returns nil, and fails the test with its last
// answer when the deadline has passed.
func Eventually(t testing.TB, deadline time.Duration, condition func() error) {
	t.Helper()
	give := time.Now().Add(deadline)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(give) {
			t.Fatalf("after %s: %v", deadline, err)
		}
		<-ticker.C
	}
}
