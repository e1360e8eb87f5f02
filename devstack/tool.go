package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Tool is something a part needs that is built or installed once on a machine and then kept.
type Tool interface {
	// Name is the key in Site.Tools and the word in messages.
	Name() string

	// Key names the tool's folder in the cache. Another version, platform or set of dependencies has
	// another key.
	Key(repo string) (string, error)

	// Build fills dir, which exists and is empty.
	Build(ctx context.Context, repo, dir string, progress *Progress) error

	// File is what Site.Tools points at, in dir.
	File(dir string) string
}

// GoTool is a program of another project, pinned by a Go module of ours that does nothing else.
type GoTool struct {
	Binary  string
	Folder  string // of the pinning module, from the repository's root
	Module  string // whose version names the build
	Package string // of the program
}

// Name implements Tool.
func (t GoTool) Name() string { return t.Binary }

// Key implements Tool.
func (t GoTool) Key(repo string) (string, error) {
	mod, err := os.ReadFile(filepath.Join(repo, t.Folder, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("read which version of %s is wanted: %w", t.Binary, err)
	}
	sum, err := os.ReadFile(filepath.Join(repo, t.Folder, "go.sum"))
	if err != nil {
		return "", fmt.Errorf("read which version of %s is wanted: %w", t.Binary, err)
	}
	version := requiredVersion(string(mod), t.Module)
	if version == "" {
		return "", fmt.Errorf("find %s in %s/go.mod: no version is required there", t.Module, t.Folder)
	}
	return strings.Join([]string{t.Binary, version, runtime.GOOS, runtime.GOARCH, contentHash(mod, sum)}, "-"), nil
}

// requiredVersion is the version that a go.mod requires of module, or "".
func requiredVersion(mod, module string) string {
	for line := range strings.Lines(mod) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module {
			return fields[1]
		}
	}
	return ""
}

func contentHash(contents ...[]byte) string {
	h := sha256.New()
	for _, c := range contents {
		fmt.Fprintf(h, "%d\n", len(c))
		h.Write(c)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// Build implements Tool.
func (t GoTool) Build(ctx context.Context, repo, dir string, progress *Progress) error {
	program, err := exec.LookPath("go")
	if err != nil {
		return errors.New("the go command is not on PATH; install Go 1.26 or newer")
	}
	// A tool is built once on a machine, so what was compiled on the way, over a gigabyte, is not kept. It lies in dir,
	// which is cleared away should this build not come to its end.
	compiled := filepath.Join(dir, "go-build")
	defer func() { _ = os.RemoveAll(compiled) }() // dir is cleared away whole before the next try
	// Without cgo the build is the same whether or not the machine has a C compiler. Nobody debugs the tools.
	cmd := exec.CommandContext(ctx, program, "build", "-v", "-gcflags", "all=-dwarf=false", "-ldflags", "-s -w", "-o", t.File(dir), t.Package)
	cmd.Dir = filepath.Join(repo, t.Folder)
	cmd.Env = overlay(os.Environ(), []Variable{{"CGO_ENABLED", "0"}, {"GOCACHE", compiled}, {"GOFLAGS", "-buildvcs=false"}, {"GOWORK", "off"}, {"GOOS", runtime.GOOS}, {"GOARCH", runtime.GOARCH}, {"PWD", cmd.Dir}})
	return progress.Run(cmd)
}

// File implements Tool.
func (t GoTool) File(dir string) string { return filepath.Join(dir, t.Binary) }
