package postgres

import (
	"testing"

	"go.uber.org/goleak"
)

// asChild, when it is set, is what the process does instead of tests, and ends it: see killed_world_test.go.
var asChild func()

func TestMain(m *testing.M) {
	if asChild != nil {
		asChild()
	}
	goleak.VerifyTestMain(m)
}
