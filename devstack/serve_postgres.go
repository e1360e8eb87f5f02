package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// servePostgres is the hidden sub-command whose process starts the Postgres server and is, to devstack, the one process
// of the part. It is needed because Postgres takes SIGTERM for "when all clients have gone", refuses to run as root, and
// gives each of its processes a session of its own, which a signal to the part's process group would not reach.
const servePostgres = "serve-postgres"

// runServePostgres serves until SIGTERM or SIGINT, or until the server ends, which is an error.
func runServePostgres(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("want the server's program, a folder for data and a port, got %q", args)
	}
	program, data, port := args[0], args[1], args[2]
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	// The folder is locked by devstack, so whoever is still at work in it is left over from a part that was killed.
	if err := endLeftovers(data); err != nil {
		return fmt.Errorf("end what is left of a killed server: %w", err)
	}
	if err := makeCluster(program, data); err != nil {
		return err
	}
	endMinder, err := startMinder(data)
	if err != nil {
		return fmt.Errorf("mind the server's processes: %w", err)
	}
	defer endMinder()
	server, err := serverCommand(program, append([]string{"-D", data}, postgresSettings(port)...)...)
	if err != nil {
		return err
	}
	server.Stdout, server.Stderr = os.Stdout, os.Stderr
	if err := spawn(server); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = server.Wait() // how it ended is in its ProcessState
		close(ended)
	}()
	select {
	case <-stop:
		_ = server.Process.Signal(syscall.SIGINT) // its "fast shutdown": clients are cut off; one that has ended needs none
		<-ended
		return nil
	case <-ended:
		return fmt.Errorf("the server ended: %s", server.ProcessState)
	}
}

// postgresSettings are given on every start, and not written once, so that a folder follows a change of them.
func postgresSettings(port string) []string {
	var args []string
	for _, setting := range []string{
		"port=" + port,
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=", // a path in a deep folder is too long for one
		"timezone=UTC",
		"log_timezone=UTC",
		// A killed process loses nothing without them, only a power cut would.
		"fsync=off",
		"full_page_writes=off",
		// Files in the data folder, where others would stay with the machine after SIGKILL.
		"dynamic_shared_memory_type=mmap",
		"log_checkpoints=off",
	} {
		args = append(args, "-c", setting)
	}
	return args
}

// makeCluster gives the server its folder, once. One that was killed half-way is done again.
func makeCluster(program, data string) error {
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	unfinished, password := data+".new", data+".password"
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("clear away an unfinished folder: %w", err)
	}
	if err := os.Mkdir(unfinished, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(password, []byte(postgresPassword+"\n"), 0o600); err != nil {
		return err
	}
	defer func() { _ = os.Remove(password) }() // it is no secret, and the folder is ours
	for _, path := range []string{unfinished, password} {
		if err := giveToServer(path); err != nil {
			return fmt.Errorf("give a folder to the user that the server runs as: %w", err)
		}
	}
	cmd, err := serverCommand(filepath.Join(filepath.Dir(program), "initdb"), "-D", unfinished, "--no-sync", "--no-instructions",
		"--username="+postgresUser, "--pwfile="+password, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
	if err != nil {
		return err
	}
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err = spawn(cmd); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("make the server's folder: %w\n%s", err, out)
	}
	return os.Rename(unfinished, data)
}

// serverUser is the number of the user and the group nobody, as whom the server runs for a root who may not run it.
const serverUser = 65534

func giveToServer(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(path, serverUser, serverUser)
}

// serverCommand is a program of the server's, in the part's process group, and as another user if we are root.
func serverCommand(program string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(program, args...)
	if cmd.SysProcAttr = groupAttributes(); cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if os.Geteuid() != 0 {
		return cmd, nil
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: serverUser, Gid: serverUser}
	if err := keepAccess(cmd.SysProcAttr); err != nil {
		return nil, fmt.Errorf("let the server's user into root's folders: %w", err)
	}
	return cmd, nil
}
