package telemetry_test

import (
	"fmt"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/telemetry"
)

func TestColumnsOfATerminal(t *testing.T) {
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	var number, locked int32
	for request, value := range map[uint]*int32{unix.TIOCGPTN: &number, unix.TIOCSPTLCK: &locked} {
		if _, _, code := unix.Syscall(unix.SYS_IOCTL, control.Fd(), uintptr(request), uintptr(unsafe.Pointer(value))); code != 0 {
			t.Fatal(code)
		}
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for _, test := range []struct{ set, want int }{{132, 132}, {72, 72}, {0, 80}} {
		if err := unix.IoctlSetWinsize(int(control.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(test.set)}); err != nil {
			t.Fatal(err)
		}
		if got := telemetry.Columns(terminal); got != test.want {
			t.Errorf("a terminal of %d columns has %d, want %d", test.set, got, test.want)
		}
	}
}
