package main

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// commandGrace is how long COMMAND may take to end after a signal. A Millrace worker drains for up to 90 s.
const commandGrace = 100 * time.Second

// Run is COMMAND at work, in a process group of its own. On a terminal that group is in the foreground:
// COMMAND may read from it, and Ctrl-C reaches COMMAND alone, once.
type Run struct {
	Ended chan struct{}
	cmd   *exec.Cmd
}

func startRun(args, environment []string, guard *Guard) (*Run, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = environment
	cmd.SysProcAttr = partAttributes()
	terminal := holdsTerminal()
	if terminal {
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, terminalFD
	}
	if err := spawn(cmd); err != nil {
		return nil, err
	}
	r := &Run{cmd: cmd, Ended: make(chan struct{})}
	guard.Watch(cmd.Process.Pid)
	go func() {
		_ = cmd.Wait() // how it ended is in its ProcessState
		if terminal {
			takeTerminalBack()
		}
		// What COMMAND left behind in its group has no world to live in any more.
		signalGroup(cmd.Process.Pid, syscall.SIGKILL)
		guard.Forget(cmd.Process.Pid)
		close(r.Ended)
	}()
	return r, nil
}

// Interrupt passes a signal on and waits until COMMAND has ended: by itself, or killed when its time is up
// or another signal comes.
func (r *Run) Interrupt(s os.Signal, more <-chan os.Signal) {
	r.signal(syscall.Signal(signalNumber(s)))
	select {
	case <-r.Ended:
	case <-more:
		r.kill()
	case <-time.After(commandGrace):
		say("%s did not end within %s of the signal: it is killed", r.cmd.Args[0], commandGrace)
		r.kill()
	}
}

// Stop ends a COMMAND whose world has fallen apart. On a nil Run it does nothing.
func (r *Run) Stop() {
	if r == nil {
		return
	}
	r.signal(syscall.SIGTERM)
	select {
	case <-r.Ended:
	case <-time.After(stopWithin):
		r.kill()
	}
}

func (r *Run) kill() {
	r.signal(syscall.SIGKILL)
	<-r.Ended
}

func (r *Run) signal(s syscall.Signal) {
	select {
	case <-r.Ended:
	default:
		signalGroup(r.cmd.Process.Pid, s)
	}
}

// Code is the exit code to pass on: COMMAND's own, or 128 and the number of the signal that killed it, as
// shells say it.
func (r *Run) Code() int {
	status := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func signalNumber(s os.Signal) int { return int(s.(syscall.Signal)) }
