package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Process is a running part: a process group of its own, whose output goes to a file.
type Process struct {
	PID   int
	Log   string
	Grace time.Duration // Command.Grace
	Ended chan struct{} // closed when the process has ended
	err   error         // why it ended; may be read after Ended is closed
}

func startProcess(command Command, log string, guard *Guard) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(command.Program, command.Args...)
	if isOwnProgram(command.Program) {
		cmd.Args[0] = "devstack" // what ps shows
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = overlay(os.Environ(), command.Env)
	cmd.SysProcAttr = partAttributes()
	if err := spawn(cmd); err != nil {
		return nil, err
	}
	p := &Process{PID: cmd.Process.Pid, Log: log, Grace: command.Grace, Ended: make(chan struct{})}
	guard.Watch(p.PID)
	go func() {
		p.err = cmd.Wait()
		guard.Forget(p.PID)
		close(p.Ended)
	}()
	return p, nil
}

// Stop ends the process: by SIGTERM and, if it is still there after grace, by SIGKILL.
func (p *Process) Stop(grace time.Duration) {
	if grace > 0 {
		signalGroup(p.PID, syscall.SIGTERM)
		select {
		case <-p.Ended:
			return
		case <-time.After(grace):
		}
	}
	select {
	case <-p.Ended: // its number may be another's by now
	default:
		signalGroup(p.PID, syscall.SIGKILL)
		<-p.Ended
	}
}

// Why says how an ended process ended, with the last lines of its log.
func (p *Process) Why() string {
	how := "ended with exit code 0"
	var exit *exec.ExitError
	switch {
	case errors.As(p.err, &exit):
		how = "ended: " + exit.ProcessState.String()
	case p.err != nil:
		how = "ended: " + p.err.Error()
	}
	lines := lastLines(p.Log, 15)
	if len(lines) == 0 {
		return fmt.Sprintf("%s; it left its log empty (%s)", how, p.Log)
	}
	return fmt.Sprintf("%s; the last lines of its log %s:\n%s", how, p.Log, indent(lines))
}

// lastLines are at most n lines from the end of a file, or none if it cannot be read.
func lastLines(path string, n int) []string {
	const enough = 16 << 10
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > enough {
		if _, err := f.Seek(-enough, io.SeekEnd); err != nil {
			return nil
		}
	}
	content, err := io.ReadAll(f)
	if err != nil {
		return nil
	}
	text := strings.TrimRight(string(content), "\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):]
}
