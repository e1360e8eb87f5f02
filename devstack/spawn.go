package main

import (
	"os/exec"
	"runtime"
	"sync"
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
