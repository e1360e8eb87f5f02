package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// knownPorts are the ports that devstack and docker-compose.yml have for people. Where one is taken, the demo's world
// gets a free one instead, so that it runs beside another world.
var knownPorts = []struct {
	name   string
	number int
}{
	{"temporal", 7233}, {"temporal-ui", 8233}, {"clickhouse", 9000}, {"clickhouse-http", 8123}, {"kafka", 9092}, {"s3", 7070},
}

const devstackProgram = "bin/devstack"

// launch builds what is not built yet, side by side, and becomes devstack, which calls the demo again inside the world.
// It only returns when that cannot be.
func launch(ctx context.Context, progress *Progress, options Options) error {
	if _, err := os.Stat(configFile); err != nil {
		return fmt.Errorf("find the demo's files: %w: call it in the root of the repository", err)
	}
	for tool, remedy := range map[string]string{"go": "Go 1.26 or newer", "node": "Node.js 20 or newer", "npm": "Node.js 20 or newer, with npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("find the command %s: %w: install %s", tool, err, remedy)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if err := setUp(ctx, progress); err != nil {
		return err
	}
	arguments := []string{devstackProgram, "--free", "--installed"}
	for _, port := range knownPorts {
		if free(port.number) {
			arguments = append(arguments, "--port", fmt.Sprintf("%s=%d", port.name, port.number))
		}
	}
	arguments = append(arguments, "--", self)
	if options.Stay {
		arguments = append(arguments, "--stay")
	}
	if options.Then != "" {
		arguments = append(arguments, "--then", options.Then)
	}
	arguments = append(arguments, "--inside", "--began", milliseconds(progress.began), "--set-up-until", milliseconds(time.Now()))
	progress.Say("starting the world: Temporal, ClickHouse, Kafka and S3")
	return fmt.Errorf("start devstack: %w", syscall.Exec(devstackProgram, arguments, os.Environ()))
}

func milliseconds(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func free(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

// setUp builds and installs what a machine needs once. Each step looks first whether it is done.
func setUp(ctx context.Context, progress *Progress) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	build := func(name string, arguments ...string) error {
		return step(ctx, progress, "building "+name, nil, append([]string{"go", "build"}, arguments...)...)
	}
	if err := build("devstack", "-C", "devstack", "-o", "../"+devstackProgram, "."); err != nil {
		return err
	}
	tools := []string{devstackProgram, "--build-only"}
	if _, err := exec.LookPath("temporal"); err == nil {
		// devstack is going to take it, or to build its own if that one is too old.
		tools = append(tools, "--parts", "clickhouse,kafka,s3")
	}
	var all sync.WaitGroup
	steps := []func() error{
		func() error { return step(ctx, progress, "", os.Stderr, tools...) },
		func() error {
			return build("millrace", "-ldflags", os.Getenv("LDFLAGS"), "-o", millraceProgram, "./cmd/millrace")
		},
		func() error { return install(ctx, progress) },
	}
	errs := make([]error, len(steps))
	for i, do := range steps {
		all.Go(func() {
			if errs[i] = do(); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	var real []error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			real = append(real, err)
		}
	}
	if len(real) == 0 {
		return ctx.Err()
	}
	return errors.Join(real...)
}

// step runs a command and tells of it if it takes longer than a moment. What the command says to standard error goes to
// said, or is kept for the error.
func step(ctx context.Context, progress *Progress, what string, said *os.File, arguments ...string) error {
	began := time.Now()
	command := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var kept bytes.Buffer
	command.Stderr = &kept
	if said != nil {
		command.Stderr = said
	}
	const moment = 2 * time.Second
	if what != "" {
		soon := time.AfterFunc(moment, func() { progress.Say("%s", what) })
		defer soon.Stop()
	}
	err := command.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(kept.String()))
	}
	if took := time.Since(began); what != "" && took > moment {
		progress.Say("%s: done in %s", what, minutesSeconds(took))
	}
	return nil
}

// install has npm install the data and the reader, unless what is there came from the same lock file.
func install(ctx context.Context, progress *Progress) error {
	const folder = "examples/demo"
	lock, err := os.ReadFile(folder + "/package-lock.json")
	if err != nil {
		return fmt.Errorf("read what to install: %w", err)
	}
	stamp := folder + "/node_modules/.installed-lock.json"
	if installed, err := os.ReadFile(stamp); err == nil && bytes.Equal(installed, lock) {
		return nil
	}
	err = step(ctx, progress, "installing the flights and hyparquet", nil, "npm", "ci", "--prefix", folder, "--ignore-scripts", "--loglevel=error")
	if err != nil {
		return err
	}
	if err := os.WriteFile(stamp, lock, 0o644); err != nil {
		return fmt.Errorf("note what was installed: %w", err)
	}
	return nil
}
