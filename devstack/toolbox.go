package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Toolbox keeps built tools in a folder that all worlds of a user share.
type Toolbox struct {
	Repo  string // root of the repository, which holds the modules that pin the tools
	Cache string
	Say   func(format string, args ...any)
}

// openToolbox finds the repository and the cache: $MILLRACE_CACHE, or millrace in the user's cache folder.
func openToolbox(say func(string, ...any)) (*Toolbox, error) {
	repo, err := findRepo()
	if err != nil {
		return nil, err
	}
	cache := os.Getenv("MILLRACE_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find a folder for built tools: %w; set MILLRACE_CACHE to one", err)
		}
		cache = filepath.Join(user, "millrace")
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return nil, err
	}
	return &Toolbox{Repo: repo, Cache: cache, Say: say}, nil
}

// findRepo looks upwards from the program, then from the working folder.
func findRepo() (string, error) {
	var starts []string
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			starts = append(starts, filepath.Dir(real))
		}
	}
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	for _, start := range starts {
		for dir := start; ; dir = filepath.Dir(dir) {
			if isRepo(dir) {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("find Millrace's repository above %q: run devstack from inside it, or build it into its bin folder", starts)
}

func isRepo(dir string) bool {
	for _, file := range []string{"devstack/go.mod", "tools/temporal/go.mod"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			return false
		}
	}
	return true
}

// Dir is the folder in which Provide keeps the tool. It can be named before the tool is there.
func (b *Toolbox) Dir(tool Tool) (string, error) {
	key, err := tool.Key(b.Repo)
	if err != nil {
		return "", err
	}
	return filepath.Join(b.Cache, "tools", key), nil
}

// Provide returns the tool's file, building it first if this machine has not built it yet. Processes that
// want the same tool at once build it once; a build that is killed leaves nothing that could be taken for a
// finished one.
func (b *Toolbox) Provide(ctx context.Context, tool Tool) (string, error) {
	dir, err := b.Dir(tool)
	if err != nil {
		return "", err
	}
	switch _, err := os.Stat(tool.File(dir)); {
	case err == nil:
		return tool.File(dir), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("make the folder of built tools: %w", err)
	}
	lock, err := WaitLock(ctx, dir+".lock", func() {
		b.Say("%s: another devstack is building it; waiting", tool.Name())
	})
	if err != nil {
		return "", fmt.Errorf("wait for another devstack to build %s: %w", tool.Name(), err)
	}
	defer lock.Close()
	if _, err := os.Stat(tool.File(dir)); err == nil {
		return tool.File(dir), nil
	}

	partial := dir + ".partial"
	for _, leftover := range []string{partial, dir} {
		if err := os.RemoveAll(leftover); err != nil {
			return "", fmt.Errorf("clear away an unfinished build of %s: %w", tool.Name(), err)
		}
	}
	if err := os.Mkdir(partial, 0o755); err != nil {
		return "", fmt.Errorf("make the folder to build %s in: %w", tool.Name(), err)
	}
	progress := startProgress(b.Say, tool.Name(), filepath.Base(dir))
	err = tool.Build(ctx, b.Repo, partial, progress)
	progress.Stop(err)
	if err != nil {
		_ = os.RemoveAll(partial) // the next try clears it away as well
		return "", fmt.Errorf("build %s: %w", tool.Name(), err)
	}
	if err := os.Rename(partial, dir); err != nil {
		return "", fmt.Errorf("keep the build of %s: %w", tool.Name(), err)
	}
	return tool.File(dir), nil
}
