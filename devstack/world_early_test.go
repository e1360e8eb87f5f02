package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// standIn is a part that answers once a file is there.
type standIn struct{ name, answersOnce string }

func (s standIn) Name() string            { return s.name }
func (standIn) Ports() []Port             { return nil }
func (standIn) Tools() []Tool             { return nil }
func (standIn) Variables(Site) []Variable { return nil }
func (standIn) Command(Site) (Command, error) {
	return Command{Program: "/bin/sh", Args: []string{"-c", "exec sleep 600"}}, nil
}

func (s standIn) Ready(context.Context, Site) error {
	_, err := os.Stat(s.answersOnce)
	return err
}

// In each world COMMAND makes the file that the late part waits for, and then waits itself until that part
// is recorded as ready: it can only end well if it is started before that.
func TestCommandStartsWhenTheEarlyPartsAnswer(t *testing.T) {
	w := standInWorld(t, []string{"early"}, `touch late.file; until grep -q '"ready": true' world.json && ! grep -q '"ready": false' world.json; do sleep 0.01; done; exit 5`)
	if code := w.run(nil); code != 5 {
		t.Errorf("exit code %d, want COMMAND's 5", code)
	}
}

func TestCommandWaitsForAllPartsWithoutEarly(t *testing.T) {
	w := standInWorld(t, nil, `if grep -q '"ready": false' world.json; then exit 4; fi; exit 6`)
	if err := os.WriteFile(filepath.Join(w.dir, "late.file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := w.run(nil); code != 6 {
		t.Errorf("exit code %d, want 6: all parts were ready", code)
	}
}

func standInWorld(t *testing.T, early []string, script string) *World {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "early.file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	guard, err := startGuard()
	if err != nil {
		t.Fatal(err)
	}
	w := &World{
		options: Options{Free: true, Early: early, Command: []string{"/bin/sh", "-c", "cd " + shellQuote(dir) + " && " + script}},
		toolbox: &Toolbox{},
		dir:     dir,
		guard:   guard,
		sites:   map[string]Site{},
		running: map[string]*Process{},
		ready:   map[string]bool{},
	}
	for _, name := range []string{"early", "late"} {
		w.parts = append(w.parts, standIn{name: name, answersOnce: filepath.Join(dir, name+".file")})
		w.sites[name] = Site{Dir: filepath.Join(dir, name)}
	}
	return w
}
