package starter

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
)

// What makes a schedule lose intervals is told, and each counter of what it has lost.
func TestWarningsOfASchedule(t *testing.T) {
	const day = 24 * time.Hour
	described := func(overlap enumspb.ScheduleOverlapPolicy, window time.Duration) *client.ScheduleDescription {
		return &client.ScheduleDescription{Schedule: client.Schedule{Policy: &client.SchedulePolicies{Overlap: overlap, CatchupWindow: window}}}
	}
	lossy := described(enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, time.Hour)
	lossy.Schedule.Policy.PauseOnFailure = true
	const fill = ": `millrace reconcile shop --fill` finds and fills what is missing"
	for name, test := range map[string]struct {
		description *client.ScheduleDescription
		left        LeftOut
		want        []string
	}{
		"as millrace makes them":      {described(enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL, 365*day), LeftOut{}, nil},
		"as it makes those in order":  {described(enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL, 365*day), LeftOut{}, nil},
		"in order, and too many wait": {described(enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL, 365*day), LeftOut{BufferDropped: 12}, []string{"12 starts were dropped, for a thousand waited already" + fill}},
		"with all that loses": {lossy, LeftOut{MissedCatchupWindow: 3, OverlapSkipped: 4}, []string{
			"overlap policy Skip loses an interval whenever a run is late: set AllowAll with `millrace apply`, or with `temporal schedule update`",
			"catch-up window 1h0m0s loses what is due while Temporal is down for longer: `millrace apply` sets a year",
			"it pauses after a failed run: later intervals then wait for somebody to resume it",
			"3 starts were lost, for Temporal was down longer than the catch-up window" + fill,
			"4 starts were skipped, for a run was still going" + fill,
		}},
	} {
		if diff := cmp.Diff(test.want, warnings("shop", test.description, test.left)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
