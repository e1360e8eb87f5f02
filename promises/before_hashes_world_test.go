//go:build world

package promises

import (
	"encoding/json"
	"testing"

	"go.temporal.io/sdk/testsuite"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
)

// without takes from a manifest what programs did not write before there were hashes.
func without(manifest export.Manifest) export.Manifest {
	manifest.Receipts = append([]export.Receipt{}, manifest.Receipts...)
	for i := range manifest.Receipts {
		manifest.Receipts[i].Hash, manifest.Receipts[i].ReadBack = "", false
	}
	manifest.Proof.Level, manifest.Proof.Source, manifest.Proof.Stored = export.ProofStream, nil, nil
	return manifest
}

// A run whose chunks were written before an upgrade is proved after it as if they had been written by now.
func TestARunThatGoesOverAnUpgradeIsProved(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	definition := inEncoding("upgraded", encodings[0], export.ProofReadback)
	manifest := t.published(definition)
	var plan export.Plan
	if err := json.Unmarshal(t.read(ending(t.objects(), "/plan.json")[0]), &plan); err != nil {
		t.Fatal(err)
	}
	environment := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	steps := t.worker(nil).Steps
	environment.RegisterActivity(steps)
	prove := func() (export.Proof, error) {
		value, err := environment.ExecuteActivity(steps.ProveRun, activities.FinishTask{Plan: plan, Receipts: without(manifest).Receipts})
		if err != nil {
			return export.Proof{}, err
		}
		var proof export.Proof
		return proof, value.Get(&proof)
	}
	want := t.sourceContent()
	if proof, err := prove(); err != nil || proof.Level != export.ProofReadback || *proof.Source != want || *proof.Stored != want {
		t.Errorf("it is proved by %+v, %v; the source has %s", proof, err, want)
	}
	eventstoretest.Exec(tt, "ALTER TABLE `"+t.events.Database()+"`.events UPDATE event = 'other' WHERE distinct_id = '7' SETTINGS mutations_sync = 1")
	if proof, err := prove(); err == nil {
		t.Errorf("with other rows in the source it is proved by %+v", proof)
	}
}

// Of what was published before there were hashes, verify holds the bytes and says that it cannot hold the rows.
func TestVerifySaysWhatItCannotProve(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	definition := inEncoding("old", encodings[0], export.ProofStream)
	manifest := without(t.published(definition))
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	t.put(t.markKey("old", 1), text, nil)
	results := func(want string) {
		t.Helper()
		report, err := t.starter.Verify(t.Context(), definition, hour(0))
		if err != nil || len(report.Intervals) != 1 || report.Intervals[0].Result != want {
			t.Errorf("the report is %+v, %v, want %q", report, err, want)
		}
	}
	// The ledger knows better, so somebody has taken the proof away.
	results(export.VerifiedDiffers)
	eventstoretest.Exec(tt, "ALTER TABLE `"+t.events.Database()+"`.ledger UPDATE source_hash = '' WHERE 1 SETTINGS mutations_sync = 1")
	results(export.VerifiedUnproved)
	key := "events/" + manifest.Receipts[1].Location
	t.put(key, flipped(t.read(key)), nil)
	results(export.VerifiedDiffers)
}
