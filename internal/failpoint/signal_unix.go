//go:build unix

package failpoint

import (
	"os"
	"syscall"
)

func kill() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}

func stop() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) }
