//go:build world

package postgres

import (
	"testing"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// A claim that is killed or told of no answer is repeated, and there is one.
func TestAFaultWhileItClaimsCostsOneRepeat(t *testing.T) {
	for point, holds := range map[string]string{"postgres.claim.put": "successor", "postgres.claim.answered": "first"} {
		t.Run(point, func(t *testing.T) {
			s := newSchema(t)
			plan := s.planOf(t, 0, 10, nil)
			disarm, err := failpoint.Arm(point + "=error@1")
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			claim := export.Claim{Version: export.ClaimVersion, Run: plan.Run, CoveredBy: export.Interval{Start: plan.Run.Start, End: plan.Run.End.Add(plan.Run.Length())}, By: plan.By}
			claim.By.WorkflowID = "first"
			if _, err := s.open(t, nil).Claim(t.Context(), claim); err == nil {
				t.Error("the fault was not told")
			}
			claim.By.WorkflowID = "successor"
			holder, err := s.open(t, nil).Claim(t.Context(), claim)
			if err != nil || holder.Claim == nil || holder.Claim.By.WorkflowID != holds {
				t.Errorf("again: %+v, %v, want the claim of the %s", holder, err, holds)
			}
			if got := s.text(t, "SELECT count(*) || ' plans' FROM SCHEMA.millrace_plans"); got != "1 plans" {
				t.Errorf("there are %s", got)
			}
		})
	}
}
