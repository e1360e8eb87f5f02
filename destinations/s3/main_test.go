package s3

import (
	"testing"

	"go.uber.org/goleak"
)

// Connections that wait in the pool for their next use are no leak.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}
