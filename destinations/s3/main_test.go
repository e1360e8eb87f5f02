package s3

import (
	"testing"

	"go.uber.org/goleak"
)

// asChild, when it is set, is what the process does instead of tests, and ends it: see killed_world_test.go.
var asChild func()

// Connections that wait in the pool for their next use are no leak.
func TestMain(m *testing.M) {
	if asChild != nil {
		asChild()
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}
