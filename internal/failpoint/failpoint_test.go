package failpoint

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestNothingHappensUnlessArmed(t *testing.T) {
	if err := Hit(t.Context(), "test.point"); err != nil {
		t.Errorf("an unarmed point: %v", err)
	}
	if allocated := testing.AllocsPerRun(100, func() { _ = Hit(context.Background(), "test.point") }); allocated > 0 {
		t.Errorf("an unarmed point allocates %v times", allocated)
	}
}

func TestAnErrorAtTheNamedHitOnly(t *testing.T) {
	disarm, err := Arm("test.point=error@2")
	if err != nil {
		t.Fatal(err)
	}
	defer disarm()
	for count, want := range []error{nil, ErrInjected, nil} {
		if err := Hit(t.Context(), "test.point"); !errors.Is(err, want) {
			t.Errorf("hit %d: %v, want %v", count+1, err, want)
		}
	}
	if hits := Hits("test.point"); hits != 3 {
		t.Errorf("%d hits were counted", hits)
	}
	if err := Hit(t.Context(), "test.other"); err != nil {
		t.Errorf("another point: %v", err)
	}
	disarm()
	if err := Hit(t.Context(), "test.point"); err != nil {
		t.Errorf("a disarmed point: %v", err)
	}
}

func TestWaitEndsByDisarmAndByContext(t *testing.T) {
	disarm, err := Arm("test.point=wait")
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() { waiting <- Hit(context.Background(), "test.point") }()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Hit(ended, "test.point"); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait whose context has ended: %v", err)
	}
	disarm()
	if err := <-waiting; err != nil {
		t.Errorf("a freed wait: %v", err)
	}
}

func TestMistakesInTheListAreNamed(t *testing.T) {
	for list, want := range map[string]string{
		"loader":               `"loader" is not NAME=ACTION`,
		"loader.x=explode":     `"loader.x=explode": the action "explode" is none of kill, stop, error, wait, on`,
		"loader.x=kill@0":      `"loader.x=kill@0": the hit "0" is not a number from 1`,
		"a=error;loader.x=k@1": `"loader.x=k@1": the action "k" is none of kill, stop, error, wait, on`,
	} {
		if _, err := Arm(list); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", list, err, want)
		}
	}
}

// TestKillEndsTheProcess runs this test again as a process of its own, which the environment arms.
func TestKillEndsTheProcess(t *testing.T) {
	if os.Getenv(Variable) != "" {
		_ = Hit(t.Context(), "test.point")
		_ = Hit(t.Context(), "test.point")
		os.Exit(0) // not reached: the second hit kills
	}
	child := exec.Command(os.Args[0], "-test.run=^TestKillEndsTheProcess$")
	child.Env = append(os.Environ(), Variable+"=test.point=kill@2")
	output, err := child.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() {
		t.Errorf("the process ended with %v, want by a signal", err)
	}
	if told := strings.Count(string(output), "failpoint test.point: kill\n"); told != 1 {
		t.Errorf("the point told %d times in:\n%s", told, output)
	}
}
