//go:build world

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A section of the file gives each export a schedule that reconciles it by night, which changes with it and goes with it.
func TestASectionReconcilesByNight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(exitDone, "setup")
	file := filepath.Join(t.TempDir(), "exports.yaml")
	apply := func(title, section string) string {
		t.Helper()
		text := "exports:\n  - {name: shop-events, title: " + title + ", team: 1, connection: lake, every: 1h, s3: {prefix: events}}\n" + section
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ := w.do(exitDone, "apply", "-f", file, "--yes")
		return out
	}
	const id = "shop-events--reconcile"
	for _, step := range []struct {
		title, section string
		told           []string
	}{
		{"Shop", "", []string{"+ shop-events  create"}},
		{"Shop", "reconcile: {at: \"03:30\", fill: true}\n", []string{"= shop-events  unchanged", "+ " + id + "  create", "+ reconcile: every day at 03:30 UTC", "created " + id}},
		{"Shop", "reconcile: {at: \"03:30\", fill: true}\n", []string{"= shop-events  unchanged"}},
		{"Shops", "reconcile: {at: \"03:30\", fill: true, sample: 5}\n", []string{"~ shop-events  update", "~ " + id + "  update", "reconcile.sample: 10 -> 5", "updated " + id}},
		{"Shops", "", []string{"= shop-events  unchanged", "- " + id + "  delete", "deleted " + id}},
	} {
		out := apply(step.title, step.section)
		for _, line := range step.told {
			if !strings.Contains(out, line) {
				t.Errorf("%s, %q: it does not say %q:\n%s", step.title, step.section, line, out)
			}
		}
		if strings.Contains(out, id) != strings.Contains(strings.Join(step.told, " "), id) {
			t.Errorf("%s, %q: it says\n%s", step.title, step.section, out)
		}
		if !slices.Contains(step.told, "created "+id) {
			continue
		}
		for _, command := range [][]string{{"status", id}, {"pause", id, "--note", "quiet"}} {
			if _, stderr := w.do(exitUsage, command...); !strings.Contains(stderr, "the schedule that reconciles export shop-events") {
				t.Errorf("%v says %q", command, stderr)
			}
		}
	}
}
