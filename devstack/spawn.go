package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Linux can kill a child when its parent dies, but takes the thread that started the child for the parent.
// All children are therefore started by one thread, which lives as long as devstack.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for do := range work {
			do()
		}
	}()
	return work
})

// spawn is cmd.Start on the thread that outlives everything.
func spawn(cmd *exec.Cmd) error {
	result := make(chan error)
	spawner() <- func() { result <- cmd.Start() }
	return <-result
}

// ownProgram is the file to start devstack's sub-commands from. Linux keeps the running program reachable
// even after a new build has replaced its file.
func ownProgram() (string, error) {
	if runtime.GOOS == "linux" {
		return linuxSelf, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find devstack's own program: %w", err)
	}
	return self, nil
}

const linuxSelf = "/proc/self/exe"

func isOwnProgram(program string) bool {
	self, err := ownProgram()
	return err == nil && program == self
}

// signalGroup signals all processes of a group that we started. A group that is gone has nothing to be told.
func signalGroup(group int, s syscall.Signal) { _ = syscall.Kill(-group, s) }
