package main

import (
	"os"
	"os/exec"
	"testing"
)

// asProgram in the environment makes the test binary be devstack.
const asProgram = "DEVSTACK_TEST_AS_PROGRAM"

// TestMain lets the test binary be devstack, and the sub-commands that devstack starts itself as.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args[1:]))
	}
	if len(os.Args) > 1 {
		if code, ok := runHidden(os.Args[1], os.Args[2:]); ok {
			os.Exit(code)
		}
	}
	os.Exit(m.Run())
}

// devstack is the program as a command to start.
func devstack(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}
