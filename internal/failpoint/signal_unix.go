//go:build unix

package failpoint

import (
	"os"
	"syscall"
	"time"
)

func kill() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}

func stop() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	time.Sleep(100 * time.Millisecond) // the signal is on its way, and must not find us beyond the point
}
