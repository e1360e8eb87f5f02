//go:build world

package postgres

import (
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// Each part of publishing is there for one interleaving. Here each is taken out, by a switch (see internal/failpoint), and
// what the tests of its interleaving look at must differ: a test that passes without what it tests proves nothing.

func armed(t *testing.T, list string) {
	t.Helper()
	disarm, err := failpoint.Arm(list)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(disarm)
}

// dies has a publisher die when the run's row is taken and no row is moved, has the run done again, and counts the rows.
func dies(t *testing.T, s schema) string {
	t.Helper()
	plan := s.planOf(t, 0, 10, nil)
	manifest, err := write(t.Context(), s.open(t, nil), plan, someRows(10))
	if err != nil {
		t.Fatal(err)
	}
	disarm, err := failpoint.Arm("postgres.run.taken=error@1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.open(t, nil).Publish(t.Context(), manifest)
	disarm()
	if err == nil {
		t.Fatal("it did not die")
	}
	if again, err := s.open(t, nil).Publish(t.Context(), manifest); err != nil || again.Rows != 10 {
		t.Fatalf("again: %d rows, %v", again.Rows, err)
	}
	return s.text(t, "SELECT count(*)::text FROM SCHEMA.events")
}

func TestOutsideOfTheTransactionAKilledPublisherLosesRows(t *testing.T) {
	if rows := dies(t, newSchema(t)); rows != "10" {
		t.Errorf("with the transaction there are %s rows", rows)
	}
	armed(t, switchOutside+"=on")
	if rows := dies(t, newSchema(t)); rows != "0" {
		t.Errorf("nobody would notice: there are %s rows", rows)
	}
}

// comesLate has a second execution stage its rows when the run is published already, and publish them, and counts the rows.
func comesLate(t *testing.T, s schema) string {
	t.Helper()
	plan := s.planOf(t, 0, 10, nil)
	if _, err := runOnce(t.Context(), s.open(t, nil), plan, someRows(10)); err != nil {
		t.Fatal(err)
	}
	zombie := s.open(t, nil)
	receipt, err := zombie.WriteChunk(t.Context(), destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "zombie", Source: someRows(10)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zombie.Publish(t.Context(), export.NewManifest(plan, []export.Receipt{receipt}, export.Proof{}, plan.By)); err != nil {
		t.Fatal(err)
	}
	return s.text(t, "SELECT count(*)::text FROM SCHEMA.events")
}

func TestFencedByRevisionAloneAZombieDoubles(t *testing.T) {
	if rows := comesLate(t, newSchema(t)); rows != "10" {
		t.Errorf("with the whole fence there are %s rows", rows)
	}
	armed(t, switchByRevision+"=on")
	if rows := comesLate(t, newSchema(t)); rows != "20" {
		t.Errorf("nobody would notice: there are %s rows", rows)
	}
}
