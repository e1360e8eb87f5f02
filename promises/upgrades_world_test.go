//go:build world

package promises

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/testworld"
)

// TestThePageOnUpgrades runs the commands of docs/upgrades.md, with two builds side by side on the real server: runs go to the
// version that is current, and one that waits goes over to it.
func TestThePageOnUpgrades(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	where := eventstoretest.Config(tt)
	store, err := eventstore.Open(tt.Context(), where)
	if err != nil {
		tt.Fatal(err)
	}
	tt.Cleanup(func() { _ = store.Close() })
	if _, err := store.Setup(tt.Context()); err != nil {
		tt.Fatal(err)
	}
	t.events = store
	t.load(8, 1)
	t.promise(hour(6).Start) // 7:00 is waited for
	environment := fmt.Sprintf("export %s='%s' %s='%s' MILLRACE_S3_BUCKET='%s'\n", config.VarClickHouseURL, where.URL, config.VarClickHouseHTTPURL, where.HTTPURL, t.bucket)
	binary := t.build()

	const waiting = "shop-events-2026-03-01T07:00:00Z"
	page, commands, workers := blocks(tt, "../docs/upgrades.md"), 0, 0
	var current []string // the builds that were made current, one after the other
	for i, block := range page {
		text := environment + strings.ReplaceAll(block.text, "bin/millrace", binary)
		switch block.language {
		case "sh stays up":
			workers++
			t.staysUp(environment+"exec "+strings.TrimPrefix(text, environment), "worker is ready")
		case "sh":
			commands++
			sees := ""
			if i+1 < len(page) && page[i+1].language == "text" {
				sees = page[i+1].text
			}
			testworld.Eventually(tt, patience, func() error { // a version is known a moment after its worker is up
				output, err := t.shell(text)
				if missing := missingLine(output, sees); err != nil || missing != "" {
					return fmt.Errorf("docs/upgrades.md:%d: %w; the page says that one sees\n%s\nbut one sees\n%s", block.line, err, missing, output)
				}
				return nil
			})
		}
		if strings.Contains(block.text, "--build-id") && block.language == "sh" {
			_, id, _ := strings.Cut(block.text, "--build-id ")
			t.newRunIsOf(strings.Fields(id)[0], hour(len(current)).End)
			current = append(current, id)
		}
	}
	if len(current) != 3 || workers != 2 {
		tt.Errorf("the page has %d commands and %d workers, and makes %q current", commands, workers, current)
	}
	t.work() // without a version, as the page ends
	t.promise(time.Now())
	if outcome := t.outcome(waiting, ""); outcome.Status != export.StatusPublished || outcome.Rows != 7 {
		t.Errorf("the run that went from version to version ended with %+v", outcome)
	}
}

// newRunIsOf starts a run that does not wait, and looks who did it.
func (t *thread) newRunIsOf(build string, end time.Time) {
	t.Helper()
	started := t.run(hourly("of-"+strings.ReplaceAll(build, ".", "-"), 1), export.Interval{Start: end.Add(-time.Hour), End: end})
	description, err := t.Client.WorkflowService().DescribeWorkflowExecution(t.Context(), &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: t.Name, Execution: &commonpb.WorkflowExecution{WorkflowId: started.WorkflowID, RunId: started.RunID},
	})
	if err != nil {
		t.Fatal(err)
	}
	info := description.GetWorkflowExecutionInfo().GetVersioningInfo()
	if info.GetDeploymentVersion().GetBuildId() != build || info.GetBehavior() != enumspb.VERSIONING_BEHAVIOR_AUTO_UPGRADE {
		t.Errorf("with build %s current, a new run is of %v", build, info)
	}
	for _, event := range t.stored(started).Events {
		if done := event.GetWorkflowTaskCompletedEventAttributes(); done != nil && done.GetDeploymentVersion().GetBuildId() != build {
			t.Errorf("with build %s current, build %s worked a task of a new run", build, done.GetDeploymentVersion().GetBuildId())
		}
	}
}
