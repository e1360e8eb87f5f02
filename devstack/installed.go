package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// Installed is a program of the machine's own that does for a tool of ours.
type Installed struct {
	File    string
	Version string // of what matters: for temporal, the server inside
}

// findInstalled looks on PATH for a program that serves instead of the tool, and says why not if there is
// none. Only temporal is looked for: versitygw is seldom installed, and a clickhouse on PATH would have to
// be started, and would behave, in another way than the engine that tests run against.
func findInstalled(ctx context.Context, tool Tool) (Installed, error) {
	if tool.Name() != temporalTool().Name() {
		return Installed{}, fmt.Errorf("%s is always the pinned one", tool.Name())
	}
	file, err := exec.LookPath(tool.Name())
	if err != nil {
		return Installed{}, err
	}
	if file, err = filepath.Abs(file); err != nil {
		return Installed{}, err
	}
	out, err := exec.CommandContext(ctx, file, "--version").Output()
	if err != nil {
		return Installed{}, fmt.Errorf("ask %s for its version: %w", file, err)
	}
	version, err := fitTemporal(string(out))
	if err != nil {
		return Installed{}, fmt.Errorf("%s is not fit: %w", file, err)
	}
	return Installed{File: file, Version: version}, nil
}

var serverInside = regexp.MustCompile(`\(Server (1)\.(\d+)\.(\d+),`)

// fitTemporal takes what temporal --version says, and returns the version of the dev server inside. From
// 1.29 on a server has priority and fairness, which Millrace uses.
func fitTemporal(output string) (string, error) {
	const leastMinor = 29
	m := serverInside.FindStringSubmatch(output)
	if m == nil {
		return "", fmt.Errorf("it names no server 1.x: %q", output)
	}
	minor, err := strconv.Atoi(m[2])
	if err != nil {
		return "", err
	}
	if minor < leastMinor {
		return "", fmt.Errorf("its server is 1.%d.%s, older than 1.%d", minor, m[3], leastMinor)
	}
	return fmt.Sprintf("1.%d.%s", minor, m[3]), nil
}
