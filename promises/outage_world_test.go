//go:build world

package promises

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// (promise 9) While a destination is away, the runs of an export wait and say so, and just one step at a time asks it; other
// exports go on. When it is back all runs finish without a hand, and nothing is lost or doubled.
func TestADestinationThatIsAwayIsWaitedFor(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.starter.Namespace = t.Name
	const n = 12
	ids := t.load(n, 1)
	t.work()
	definition := slowly("patient")
	t.apply(definition)
	t.slow.away.Store(true)
	for h := range n {
		if _, err := t.starter.Start(t.Context(), definition, hour(h)); err != nil {
			t.Fatal(err)
		}
	}
	// attempts is how often the steps of all runs were tried, and how many runs were told to wait.
	attempts := func() (tried, wait int) {
		for h := range n {
			described, err := t.Client.DescribeWorkflowExecution(t.Context(), "patient-"+clockOf(hour(h)), "")
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range described.GetPendingActivities() {
				tried += int(step.GetAttempt())
				if strings.Contains(step.GetLastFailure().GetMessage(), `connection "slow" has not answered since `) {
					wait++
				}
			}
		}
		return tried, wait
	}
	testworld.Eventually(tt, patience, func() error {
		if _, wait := attempts(); wait < n-1 { // one may be asking
			return fmt.Errorf("%d of %d runs wait", wait, n)
		}
		return nil
	})
	status, err := t.starter.Export(t.Context(), definition.Name, 1)
	if err != nil || status.Running != n || status.Waits == nil || status.Waits.Kind != export.KindDestinationUnavailable || status.Waits.Step != "FindPublished" ||
		status.Waits.Attempt < 2 || status.Waits.Error == "" || time.Since(status.Waits.Since) > time.Hour {
		t.Errorf("the status is %+v, waits for %+v, %v", status, status.Waits, err)
	}

	// From here on, one of them asks every five seconds at most. A step that asks sends three requests, for the client tries by itself.
	before, _ := attempts()
	began, asked := time.Now(), t.slow.asked.Load()
	testworld.Eventually(tt, patience, func() error {
		if after, _ := attempts(); after < before+3*n {
			return fmt.Errorf("%d attempts since, of %d", after-before, 3*n)
		}
		return nil
	})
	asked, passed := t.slow.asked.Load()-asked, time.Since(began)
	after, _ := attempts()
	tt.Logf("in %s %d attempts of %d runs have sent %d requests", passed.Round(time.Second), after-before, n, asked)
	if most := 3 * (int64(passed/(5*time.Second)) + 2); asked > most {
		t.Errorf("in %s the destination was asked %d times, more than %d", passed, asked, most)
	}
	if outcome := t.outcome(t.run(hourly("other", 1), hour(0)).WorkflowID, ""); outcome.Status != export.StatusPublished {
		t.Errorf("meanwhile another export's run ended with %+v", outcome)
	}

	t.slow.away.Store(false)
	if counts := t.outcomes(definition.Name, n); counts[export.StatusPublished] != n {
		t.Errorf("after its return the runs ended with %v", counts)
	}
	t.publishedOnce(definition.Name, n)
	if got := uuids(t.rows(definition.Name)); len(got) != len(ids[1]) {
		t.Errorf("%d rows are in files, %d were loaded", len(got), len(ids[1]))
	}
}
