//go:build world

package loader_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shiftVariable shifts the wall clock of a loader that shiftedLoader built, by seconds.
const shiftVariable = "MILLRACE_TEST_CLOCK_SHIFT"

// shiftedLoader builds this test binary with a wall clock that can be wrong: time.Now with seconds added, and the monotonic
// clock left as it is. It takes a minute or two the first time on a machine, for the standard library is built anew.
func shiftedLoader(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	head, body, found := strings.Cut(string(source), "\nfunc Now() Time {\n")
	reading, rest, read := strings.Cut(body, "runtimeNow()\n")
	if !found || !read {
		t.Fatal("time.Now is not what this test knows how to change")
	}
	shifted := head + "\nfunc Now() Time {\n" + reading + "runtimeNow()\n\tsec += wallShift()\n" + rest + `
var wallShifted, wallShiftKnown int64

func wallShift() int64 {
	if wallShiftKnown == 0 {
		text, _ := syscall.Getenv("` + shiftVariable + `")
		sign, value := int64(1), int64(0)
		for _, digit := range text {
			if digit == '-' {
				sign = -1
			} else {
				value = 10*value + int64(digit-'0')
			}
		}
		wallShifted, wallShiftKnown = sign*value, 1
	}
	return wallShifted
}
`
	shifted = strings.Replace(shifted, "import (\n", "import (\n\t\"syscall\"\n", 1)
	dir := t.TempDir()
	changed, overlay, binary := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "loader")
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(changed, []byte(shifted), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, replaced, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "test", "-c", "-vet=off", "-tags", "world", "-overlay", overlay, "-o", binary, ".")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build a loader with a wrong clock: %v\n%s", err, output)
	}
	return binary
}

func TestTheLoadersOwnClockDecidesNothing(t *testing.T) {
	binary := shiftedLoader(t)
	w := newWorld(t)
	reader := w.startReader(t)
	for _, seconds := range []string{"31536000", "-3600", "0"} { // a year ahead, an hour behind, right
		w.send(t, 1000)
		began := time.Now()
		p := w.startBinary(t, binary, "loader.inserted=kill@5", shiftVariable+"="+seconds)
		p.awaitSaid(t, ": kill\n")
		_ = p.Wait()
		if said := p.said(); !strings.Contains(said, shiftedHour(t, began, seconds)) && !strings.Contains(said, shiftedHour(t, time.Now(), seconds)) {
			t.Errorf("the loader's clock is not shifted by %s s:\n%s", seconds, said)
		}
	}
	last := start(t, w.config(t))
	w.awaitRows(t, time.Minute)
	w.awaitWatermark(t, w.lastArrival(t))
	last.stop()
	reader.stop()
	w.checkEachOnce(t)
	reader.check(t, w)
	if wrong := w.number(t, "SELECT countIf(abs(dateDiff('second', inserted_at, now64(6))) > 600) FROM events"); wrong > 0 {
		t.Errorf("%d rows arrived at another time than ClickHouse's", wrong)
	}
}

// shiftedHour is the hour in which a loader with a shifted clock writes its log.
func shiftedHour(t *testing.T, at time.Time, seconds string) string {
	t.Helper()
	shift, err := time.ParseDuration(seconds + "s")
	if err != nil {
		t.Fatal(err)
	}
	return at.Add(shift).Format("2006/01/02 15:")
}
