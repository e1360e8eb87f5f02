//go:build world

package promises

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
)

// TestMain runs twice as many tests side by side as there are processors, unless -parallel says otherwise: these tests mostly
// wait, for minutes of a schedule to end, for heartbeats to be missed, for workers to drain.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", fmt.Sprint(2*runtime.GOMAXPROCS(0))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}
