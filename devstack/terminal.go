package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminalFD is standard input, through which COMMAND would read from a terminal.
const terminalFD = 0

// holdsTerminal says whether standard input is a terminal whose foreground is devstack's to give away. In
// the background (devstack … &) it is not.
func holdsTerminal() bool {
	group, err := unix.IoctlGetInt(terminalFD, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// takeTerminalBack makes devstack's own group the foreground again, so that whoever called devstack finds
// the terminal as it was. A group in the background that does so is sent SIGTTOU, which would stop it.
func takeTerminalBack() {
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	if err := unix.IoctlSetPointerInt(terminalFD, unix.TIOCSPGRP, unix.Getpgrp()); err != nil {
		say("take the terminal back: %v", &os.PathError{Op: "ioctl", Path: "standard input", Err: err})
	}
}
