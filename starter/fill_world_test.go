//go:build world

package starter

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// What the new times of an update have had due is started, or apply says that it is not: also when the schedule is asked for
// other things in the same moment, of which it takes up the last alone.
func TestAnUpdateDoesNotClaimStartsThatAreNotThere(t *testing.T) {
	starts := newStarter(t)
	every := func(name string, length time.Duration, boundary time.Time) export.Definition {
		return export.Definition{
			Name: name, Team: export.Team{ID: 1}, Connection: "lake", Every: export.Duration(length),
			Offset:      export.Duration(boundary.Sub(boundary.Truncate(length))),
			Destination: "s3", Settings: json.RawMessage(`{}`),
		}.WithDefaults()
	}
	// Each is hourly, with a boundary a moment ago, and goes over to minutes, of which one ends after it was made and before it is
	// updated.
	const quiet, busy = "quiet", "busy"
	before := time.Now().UTC().Truncate(time.Second).Add(-50 * time.Second)
	for _, name := range []string{quiet, busy} {
		old := every(name, time.Hour, before)
		if _, err := starts.Apply(t.Context(), Change{Export: name, Action: ActionCreate, Definition: &old}); err != nil {
			t.Fatal(err)
		}
	}
	// The server counts a schedule as made when its scheduler first comes to work, which is a while after the answer.
	var since time.Time
	for _, name := range []string{quiet, busy} {
		testworld.Eventually(t, 20*time.Second, func() error {
			described, err := starts.Temporal.ScheduleClient().GetHandle(t.Context(), name).Describe(t.Context())
			if err == nil && described.Info.CreatedAt.Before(before) {
				err = fmt.Errorf("%s is made at %s", name, described.Info.CreatedAt)
			}
			if err == nil && described.Info.CreatedAt.After(since) {
				since = described.Info.CreatedAt
			}
			return err
		})
	}
	due := before
	for !due.After(since) {
		due = due.Add(time.Minute)
	}
	changes := map[string]Change{}
	for _, name := range []string{quiet, busy} {
		wanted := every(name, time.Minute, before)
		changes[name] = Change{Export: name, Action: ActionUpdate, Definition: &wanted}
	}
	testworld.Eventually(t, 90*time.Second, func() error {
		if !time.Now().After(due.Add(time.Second)) {
			return fmt.Errorf("it is not yet %s", due)
		}
		return nil
	})
	isThere := func(name string) bool {
		t.Helper()
		run, _, err := starts.latest(t.Context(), name+"-"+due.Format(time.RFC3339))
		if err != nil {
			t.Fatal(err)
		}
		return run != ""
	}

	if change, err := starts.Apply(t.Context(), changes[quiet]); err != nil || change.FilledFrom == nil || !isThere(quiet) {
		t.Errorf("filled from %v (%v), and the start is there: %t", change.FilledFrom, err, isThere(quiet))
	}

	storm, end := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			beside := time.Date(2026, 3, 1, 1, 30, 1, 0, time.UTC)
			handle := starts.Temporal.ScheduleClient().GetHandle(storm, busy)
			for storm.Err() == nil {
				_ = handle.Backfill(storm, client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{{Start: beside, End: beside}}})
			}
		})
	}
	change, err := starts.Apply(t.Context(), changes[busy])
	there := isThere(busy)
	end()
	all.Wait()
	if err == nil && !there {
		t.Errorf("it is said to be filled from %v, and the start is not there", change.FilledFrom)
	}
	t.Logf("in a storm of requests: there %t, %v", there, err)
}
