//go:build world

package promises

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// A run that failed points to the page of its kind, and each command of `temporal` on the pages works as it stands there;
// those of `millrace` are parsed by cmd/millrace, and run by the tests that break things.
func TestTheRunbooks(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.work()
	t.apply(hourly("shop-events", 1))
	failed := t.fails(strings.Replace(typed, `"lake"`, `"stranger"`, 1))
	if failed.Type() != string(export.KindAuth) {
		t.Fatalf("it ended with %v", failed)
	}
	testworld.Eventually(tt, patience, func() error {
		runs, err := t.starter.Runs(t.Context(), "shop-events", 10)
		if err != nil || len(runs) == 0 {
			return fmt.Errorf("%d runs are visible (%w)", len(runs), err)
		}
		shown, err := t.shell("temporal workflow metadata --workflow-id " + runs[0].WorkflowID)
		if err != nil || !strings.Contains(shown, export.KindAuth.Sentence()) || !strings.Contains(shown, "docs/runbooks/auth.md") {
			return fmt.Errorf("the details show no page: %w\n%s", err, shown)
		}
		return nil
	})
	pages, err := filepath.Glob("../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string]bool{}
	for _, page := range pages {
		for _, block := range blocks(tt, page) {
			for line := range strings.Lines(block.text) {
				if strings.HasPrefix(line, "temporal ") {
					commands[line] = true
				}
			}
		}
	}
	if len(commands) < 8 {
		t.Errorf("the pages have %d commands of temporal", len(commands))
	}
	for command := range commands {
		if output, err := t.shell(command); err != nil {
			t.Errorf("%s: %v\n%s", command, err, output)
		}
	}
}
