package main

import "syscall"

// partAttributes put a child into a process group of its own, so that Ctrl-C reaches devstack and not the
// child, and have the kernel kill it when devstack dies.
func partAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// groupAttributes leave a child of a part in the part's process group, and have the kernel kill it when its parent dies.
func groupAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
