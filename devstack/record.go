package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// worldVariable tells COMMAND where world.json is. It is devstack's own: a program that uses it depends on
// devstack, and cannot run among containers.
const worldVariable = "DEVSTACK_WORLD"

// Record is world.json in the data folder: what is up, where, and as which process, for programs that look
// at a world from outside or kill its parts on purpose.
type Record struct {
	PID         int               `json:"pid"` // of devstack
	Parts       []PartRecord      `json:"parts"`
	Environment map[string]string `json:"environment"`
}

// PartRecord is one part of a Record.
type PartRecord struct {
	Name      string            `json:"name"`
	PID       int               `json:"pid"` // 0 until started
	Ready     bool              `json:"ready"`
	Addresses map[string]string `json:"addresses"`
	Log       string            `json:"log"`
}

// record writes world.json and world.env, each in one step, so that a reader never sees half of it.
func (w *World) record() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.recordLocked()
}

func (w *World) recordLocked() error {
	r := Record{PID: os.Getpid(), Environment: map[string]string{}}
	for _, part := range w.parts {
		pr := PartRecord{
			Name: part.Name(), Ready: w.ready[part.Name()], Addresses: map[string]string{},
			Log: filepath.Join(w.dir, part.Name()+".log"),
		}
		if p := w.running[part.Name()]; p != nil {
			pr.PID = p.PID
		}
		for _, p := range part.Ports() {
			pr.Addresses[p.Name] = address(w.sites[part.Name()], p)
		}
		r.Parts = append(r.Parts, pr)
	}
	for _, v := range w.variables {
		r.Environment[v.Name] = v.Value
	}
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the record of the world: %w", err)
	}
	if err := replaceFile(w.recordFile(), content); err != nil {
		return fmt.Errorf("write the record of the world: %w", err)
	}
	if err := replaceFile(w.envFile(), []byte(exportLines(w.variables)+pathLine(withOurs(w.path)))); err != nil {
		return fmt.Errorf("write the variables of the world: %w", err)
	}
	return nil
}

func (w *World) recordFile() string { return filepath.Join(w.dir, "world.json") }

func (w *World) envFile() string { return filepath.Join(w.dir, "world.env") }

// withOurs adds the folder of devstack itself, where `make` puts the programs of Millrace, so that a shell which sources the world
// has them by the names that messages call them.
func withOurs(dirs []string) []string {
	own, err := os.Executable()
	if err != nil {
		return dirs
	}
	return append(slices.Clone(dirs), filepath.Dir(own))
}

// pathLine puts the tools before what is on the sourcing shell's own PATH.
func pathLine(dirs []string) string {
	if len(dirs) == 0 {
		return ""
	}
	return "export PATH=" + shellQuote(strings.Join(dirs, string(os.PathListSeparator))) + `:"$PATH"` + "\n"
}

func replaceFile(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func address(site Site, p Port) string {
	if p.Scheme == "" {
		return site.Addr(p.Name)
	}
	return p.Scheme + "://" + site.Addr(p.Name)
}

// announce tells people that all parts answer: in a line when COMMAND does the work, else with all that
// one needs to use the world by hand.
func (w *World) announce(after time.Duration) {
	after = after.Round(10 * time.Millisecond)
	if len(w.options.Command) > 0 {
		say("all parts answer after %s", after)
		return
	}
	var b strings.Builder
	for _, part := range w.parts {
		for _, p := range part.Ports() {
			fmt.Fprintf(&b, "  %-16s %s\n", p.Name, address(w.sites[part.Name()], p))
		}
		for name, own := range w.sites[part.Name()].Installed {
			fmt.Fprintf(&b, "  %-16s by the %s on PATH: %s, server %s\n", "", name, own.File, own.Version)
		}
	}
	fmt.Printf("All parts answer after %s:\n\n%s\nState and logs are in %s.\nIn another shell:\n\n  . %s\n\nwhich says:\n\n%s%s\nCtrl-C takes everything down.\n",
		after, b.String(), w.dir, shellQuote(w.envFile()), exportLines(w.variables), pathLine(withOurs(w.path)))
}
