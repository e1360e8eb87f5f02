package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// guardCommand is the hidden sub-command whose process outlives a devstack that was killed, and cleans up.
const guardCommand = "guard"

// Guard is devstack's end of a pipe to a process that does one thing: when the pipe closes, because
// devstack ended in whatever way, it kills the process groups and removes the folders it was told of.
// No way of dying can leave a pipe open, on any system; and unlike Linux's parent death signal this
// reaches COMMAND's own children.
type Guard struct {
	mu   sync.Mutex
	pipe io.WriteCloser
	cmd  *exec.Cmd
}

func startGuard() (*Guard, error) {
	self, err := ownProgram()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, guardCommand)
	cmd.Args[0] = "devstack"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("open a pipe to the guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return &Guard{pipe: pipe, cmd: cmd}, nil
}

// Watch has the process group killed when devstack ends.
func (g *Guard) Watch(group int) { g.tell("watch", strconv.Itoa(group)) }

// Forget takes Watch back: the group is gone, and its number may soon be another's.
func (g *Guard) Forget(group int) { g.tell("forget", strconv.Itoa(group)) }

// Remove has the folder removed when devstack ends.
func (g *Guard) Remove(dir string) { g.tell("remove", dir) }

// tell takes a guard that is gone for no error: Linux's own death signal still holds, and devstack's own
// clean end does not need the guard.
func (g *Guard) tell(what, value string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fmt.Fprintf(g.pipe, "%s %s\n", what, value)
}

// Close ends the guard and waits until it has done its work.
func (g *Guard) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.pipe.Close()
	_ = g.cmd.Wait()
}

func runGuard(in io.Reader) error {
	groups := map[int]bool{}
	var dirs []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		what, value, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "remove":
			dirs = append(dirs, value)
		case "watch", "forget":
			group, err := strconv.Atoi(value)
			if err != nil || group <= 1 {
				return fmt.Errorf("read the process group %q", value)
			}
			groups[group] = what == "watch"
		default:
			return fmt.Errorf("understand %q", what)
		}
	}
	for group, watched := range groups {
		if watched {
			signalGroup(group, syscall.SIGKILL)
		}
	}
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, removeAll(dir))
	}
	return errors.Join(errs...)
}

// removeAll removes a folder in which killed processes may still be finishing a write.
func removeAll(dir string) error {
	const attempts = 20
	var err error
	for range attempts {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
	}
	return err
}
