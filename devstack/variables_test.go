package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOverlayReplacesAndNeverDoubles(t *testing.T) {
	got := overlay([]string{"A=1", "PATH=/bin", "B=2", "A=3"}, []Variable{{"A", "9"}, {"C", "x=y"}})
	if want := []string{"PATH=/bin", "B=2", "A=9", "C=x=y"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExportLinesSurviveAShell(t *testing.T) {
	const awkward = `it's a "$HOME" \ value`
	file := filepath.Join(t.TempDir(), "world.env")
	lines := exportLines([]Variable{{"MILLRACE_X", awkward}}) + pathLine([]string{"/a b", "/c"})
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", `. "$0"; printf '%s\n%s' "$MILLRACE_X" "$PATH"`, file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	value, path, _ := strings.Cut(string(out), "\n")
	if value != awkward {
		t.Errorf("the shell read %q, want %q", value, awkward)
	}
	if want := "/a b:/c:" + os.Getenv("PATH"); path != want {
		t.Errorf("PATH is %q, want %q", path, want)
	}
}
