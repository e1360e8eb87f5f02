//go:build !linux

package main

import "syscall"

// partAttributes put a child into a process group of its own, so that Ctrl-C reaches devstack and not the
// child. Here the guard alone ends children of a killed devstack.
func partAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// groupAttributes leave a child of a part in the part's process group.
func groupAttributes() *syscall.SysProcAttr { return nil }
