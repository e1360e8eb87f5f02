//go:build world && tctl

package promises

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/testworld"
)

// The one line with the retired tctl, word for word. It has a tag of its own because tctl takes minutes to build, which
// only .ci/run does; it puts tctl on PATH.
func TestThePagesLineWithTctl(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.work()
	started, err := t.starter.Start(t.Context(), hourly("shop-events", 1), hour(3))
	if err != nil {
		t.Fatal(err)
	}
	t.outcome(started.WorkflowID, started.RunID)
	lines := 0
	for _, block := range blocks(tt, "../docs/temporal.md") {
		if block.language != "tctl" {
			continue
		}
		lines++
		testworld.Eventually(tt, patience, func() error {
			output, err := t.shell(block.text)
			if err == nil && !strings.Contains(output, started.WorkflowID) {
				err = fmt.Errorf("%s is not listed", started.WorkflowID)
			}
			if err != nil {
				return fmt.Errorf("docs/temporal.md:%d: %w\n%s", block.line, err, output)
			}
			return nil
		})
	}
	if lines != 1 {
		t.Errorf("the page has %d lines with tctl", lines)
	}
}
