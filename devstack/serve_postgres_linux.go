package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stayInGroup makes setsid, for this process and all that it starts, a call that succeeds and does nothing. Each process
// of the server calls it to leave the process group; then SIGKILL and SIGSTOP to the group would not reach those
// that are at work for clients, and they would go on, for a while, after the part is thought to be dead.
func stayInGroup() error {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equals = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
	)
	filter := []unix.SockFilter{
		{Code: load, K: 0}, // the call's number comes first in struct seccomp_data
		{Code: equals, Jt: 0, Jf: 1, K: unix.SYS_SETSID},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO}, // with error 0, which is none
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Only who makes this promise, or root, may filter. Both go to all threads below, for children inherit from the one
	// that starts them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, code := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); code != 0 {
		return code
	}
	return nil
}

// endLeftovers kills the processes whose working folder is the data folder, as every process of a server has it, waits
// until they are gone, and takes away the file that would warn a new server of them.
func endLeftovers(data string) error {
	if err := sweepSegments(); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(data)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	const every, patience = 5 * time.Millisecond, 10 * time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(every) {
		left := workingIn(real)
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return os.ErrDeadlineExceeded
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if err := os.Remove(filepath.Join(real, "postmaster.pid")); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func workingIn(dir string) []int {
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil
	}
	var found []int
	for _, link := range links {
		if at, err := os.Readlink(link); err == nil && at == dir {
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
