package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/recorded"
)

const root = "../../"

// system is one that answers with codes of its own.
type system struct {
	name, room string
	codes      export.Codes
}

// systems are ClickHouse and all destinations.
func systems(t *testing.T) []system {
	all := []system{{"ClickHouse", "eventstore", eventstore.Codes}}
	for _, name := range destinations.Names() {
		kind, err := destinations.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(kind.Codes) == 0 {
			t.Errorf("destination %s has no codes", name)
		}
		all = append(all, system{name, "destinations/" + name, kind.Codes})
	}
	return all
}

// seen says which servers gave a code, or another of its class.
func (s system) seen(t *testing.T, code string) string {
	var by []string
	for _, server := range recorded.Read(t, root+s.room) {
		var others []string
		for _, answer := range server.Answers {
			if _, itself := s.codes[answer.Code]; answer.Code == code {
				others = []string{""}
				break
			} else if !itself && strings.HasPrefix(answer.Code, code) && !slices.Contains(others, answer.Code) {
				others = append(others, answer.Code)
			}
		}
		switch {
		case len(others) == 1 && others[0] == "":
			by = append(by, server.Name)
		case len(others) > 0:
			by = append(by, server.Name+" ("+strings.Join(others, ", ")+")")
		}
	}
	if len(by) == 0 {
		return "documentation"
	}
	return strings.Join(by, ", ")
}

// codesOf is the table of the codes of a kind.
func codesOf(t *testing.T, kind export.Kind) string {
	var rows []string
	for _, system := range systems(t) {
		for _, code := range slices.Sorted(maps.Keys(system.codes)) {
			if verdict := system.codes[code]; verdict.Kind == kind {
				shown := code
				if system.name == "postgres" && len(code) == 2 {
					shown += "…" // a class
				}
				rows = append(rows, fmt.Sprintf("| %s | `%s` | %s | %s |", system.name, shown, strings.ReplaceAll(verdict.Text, "|", "\\|"), system.seen(t, code)))
			}
		}
	}
	if len(rows) == 0 {
		return ""
	}
	return "## All codes\n\nWhat a system says, what it means, and whether a server of the tests said it or only the system's documentation has it.\n\n" +
		"| system | code | meaning | seen from |\n|---|---|---|---|\n" + strings.Join(rows, "\n") + "\n"
}

// between replaces what stands between two lines of a page.
func between(t *testing.T, page, text, from, to, new string) string {
	before, rest, began := strings.Cut(text, from+"\n")
	_, after, ended := strings.Cut(rest, to+"\n")
	if !began || !ended {
		t.Fatalf("%s lacks %q or %q", page, from, to)
	}
	return before + from + "\n" + new + to + "\n" + after
}

func TestEachKindHasARunbookWithAllItsCodes(t *testing.T) {
	index := "\n| kind | what it means | then the run | pauses the export |\n|---|---|---|---|\n"
	listed := 0
	for _, kind := range export.Kinds() {
		pauses := map[bool]string{true: "yes", false: "no"}[kind.PausesExport()]
		index += fmt.Sprintf("| [`%s`](%[1]s.md) | %s | %s | %s |\n", kind, kind.Sentence(), kind.After(), pauses)
		page := root + kind.Runbook()
		text := read(t, page)
		codes := codesOf(t, kind)
		if codes != "" {
			listed += strings.Count(codes, "\n| ") - 1 // but the table's head
		}
		golden(t, page, text, between(t, page, text, "<!-- codes -->", "<!-- /codes -->", codes))
		for _, want := range []string{"# `" + string(kind) + "`: ", kind.Sentence(), "\n## How it looks\n", "\n## What to do\n", "\n## Meanwhile\n", "millrace run "} {
			if kind == export.KindData && want == "\n## What to do\n" {
				want = "\n## A proof failed\n" // it has two sorts, and what to do stands with each
			}
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q", page, want)
			}
		}
	}
	page := root + "docs/runbooks/README.md"
	text := read(t, page)
	golden(t, page, text, between(t, page, text,
		"<!-- The kinds are written by the test that knows them: go test ./cmd/millrace -run Runbook -update -->", "<!-- Here they end. -->", index+"\n"))
	all := 0
	for _, system := range systems(t) {
		all += len(system.codes)
	}
	if listed != all {
		t.Errorf("%d codes of %d are listed: is the kind of each one of the closed set?", listed, all)
	}
	files, err := filepath.Glob(root + "docs/runbooks/*.md")
	if err != nil || len(files) != len(export.Kinds())+1 {
		t.Errorf("%d pages for %d kinds (%v)", len(files)-1, len(export.Kinds()), err)
	}
}

func golden(t *testing.T, path, is, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, is); diff != "" {
		t.Errorf("%s is not what the table of codes says; write it by `go test ./cmd/millrace -run Runbook -update` (-want +got):\n%s", path, diff)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	fencedShell = regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")
	inline      = regexp.MustCompile("`(millrace [^`]*)`")
	linked      = regexp.MustCompile(`\]\(([^)#:]+)[^)]*\)`)
)

// TestCommandsOfTheRunbooksAreThere parses each command of ours on the pages, as the program would, and follows links.
func TestCommandsOfTheRunbooksAreThere(t *testing.T) {
	pages, err := filepath.Glob(root + "docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, page := range pages {
		text := read(t, page)
		var lines []string
		for _, block := range fencedShell.FindAllStringSubmatch(text, -1) {
			lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
		}
		for _, found := range inline.FindAllStringSubmatch(text, -1) {
			lines = append(lines, found[1])
		}
		for _, line := range lines {
			words := strings.Fields(line)
			if words[0] != "millrace" {
				continue
			}
			commands++
			command, rest, err := (&program{}).root().Find(words[1:])
			if err == nil {
				command.InitDefaultHelpFlag()
				err = command.ParseFlags(rest)
			}
			// A command that is only named, such as `millrace run`, has no arguments.
			if err == nil && len(words) > 2 && command.Args != nil && !slices.Contains(words, "--help") {
				err = command.Args(command, command.Flags().Args())
			}
			if err != nil || command.Name() == "millrace" {
				t.Errorf("%s: %s: %v", page, line, err)
			}
		}
		for _, link := range linked.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), link[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, link[1], err)
			}
		}
	}
	if commands < 40 {
		t.Errorf("there are %d commands on the pages", commands)
	}
}
