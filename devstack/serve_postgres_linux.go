package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mindPostgres is the hidden sub-command whose process makes one of the server's processes. Each of them makes itself a
// session of its own, as it must, for the server signals it by its group; but then SIGKILL and SIGSTOP to the part's group
// reach only the first, and those that are at work for clients would go on for a while after the part is thought dead.
const mindPostgres = "mind-postgres"

// mindEvery is how often the minder looks whether the part was stopped or goes on.
const mindEvery = 20 * time.Millisecond

// startMinder starts the minder in a session of its own. It ends when this process ends, however that happens, or when
// the answer is called.
func startMinder(data string) (end func(), err error) {
	self, err := ownProgram()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, mindPostgres, data, strconv.Itoa(os.Getpid()))
	cmd.Args[0] = "devstack"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = pipe.Close()
		_ = cmd.Wait() // whatever it could not do is done by the next start
	}, nil
}

// runMindPostgres does to the processes that work in the data folder what is done to the part: stops them, lets them go
// on, and kills them when the pipe closes.
func runMindPostgres(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want a folder and a process, got %q", args)
	}
	data, part := args[0], args[1]
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	tick := time.NewTicker(mindEvery)
	defer tick.Stop()
	stopped := false
	for {
		select {
		case <-ended:
			return killLeftovers(data)
		case <-tick.C:
		}
		is := isStopped(part)
		if is == stopped && !is {
			continue
		}
		signal := syscall.SIGCONT
		if is {
			signal = syscall.SIGSTOP // also those that were just being born
		}
		for _, pid := range workingIn(data) {
			_ = syscall.Kill(pid, signal)
		}
		stopped = is
	}
}

// isStopped tells a process that stands still by SIGSTOP.
func isStopped(pid string) bool {
	content, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(content), ") ")
	return strings.HasPrefix(after, "T")
}

// endLeftovers makes room for a new server: it kills what is left of an old one, and takes away the file that would warn
// of it.
func endLeftovers(data string) error {
	if err := sweepSegments(); err != nil {
		return err
	}
	if err := killLeftovers(data); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(data, "postmaster.pid")); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// killLeftovers kills the processes whose working folder is the data folder, as every process of a server has it, and
// waits until they are gone.
func killLeftovers(data string) error {
	const every, patience = 5 * time.Millisecond, 10 * time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(every) {
		left := workingIn(data)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end: %w", left, os.ErrDeadlineExceeded)
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// workingIn lists the processes whose working folder is the folder, also when that was removed in the meantime.
func workingIn(dir string) []int {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil
	}
	var found []int
	for _, link := range links {
		if at, err := os.Readlink(link); err == nil && strings.TrimSuffix(at, " (deleted)") == dir {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
				found = append(found, pid)
			}
		}
	}
	return found
}

// sweepSegments removes what killed servers in folders that are gone have left in the kernel, which has room for 4,096
// segments: those of a server's size and user that nobody is attached to, and whose maker has ended. The server itself
// does so only in its own folder.
func sweepSegments() error {
	const size = "56"
	table, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return nil // a kernel without them has nothing to sweep
	}
	user := os.Geteuid()
	if user == 0 {
		user = serverUser
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line) // key shmid perms size cpid lpid nattch uid …
		if len(fields) < 8 || fields[3] != size || fields[6] != "0" || fields[7] != strconv.Itoa(user) {
			continue
		}
		segment, err := strconv.Atoi(fields[1])
		if err != nil {
			return err
		}
		if maker, err := strconv.Atoi(fields[4]); err != nil || !errors.Is(syscall.Kill(maker, 0), syscall.ESRCH) {
			continue
		}
		// Another devstack may have been faster.
		if _, err := unix.SysvShmCtl(segment, unix.IPC_RMID, nil); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EIDRM) {
			return err
		}
	}
	return nil
}

// keepAccess lets a process that gives up root still reach folders below root's own, such as /root/.cache: the tools
// and the data may lie there. It changes nothing where root itself has not the right to pass it on.
func keepAccess(attributes *syscall.SysProcAttr) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held [2]unix.CapUserData
	if err := unix.Capget(&header, &held[0]); err != nil {
		return err
	}
	const wanted = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_SETPCAP
	if held[0].Permitted&wanted != wanted {
		return nil
	}
	attributes.AmbientCaps = []uintptr{unix.CAP_DAC_OVERRIDE}
	// Else access(2), by which the server looks for its own program, would not count the right of a user other than root.
	// It belongs to a thread, and children have it from the one that starts them.
	const noSetuidFixup = 1 << 2
	result := make(chan error)
	spawner() <- func() { result <- unix.Prctl(unix.PR_SET_SECUREBITS, noSetuidFixup, 0, 0, 0) }
	return <-result
}
