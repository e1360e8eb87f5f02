package main

import (
	"os"
	"testing"
)

// TestMain lets the test binary be the sub-commands that devstack starts itself as.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if code, ok := runHidden(os.Args[1], os.Args[2:]); ok {
			os.Exit(code)
		}
	}
	os.Exit(m.Run())
}
