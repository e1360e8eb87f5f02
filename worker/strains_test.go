package worker

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/eventstore"
)

// Each thing that ClickHouse has too much of is a reason by itself, and a server that rests gives none.
func TestWhatStrainsClickHouse(t *testing.T) {
	rested := eventstore.Strain{Queries: 3, Memory: 1 << 30, MemoryMost: 16 << 30, Merges: 2, MergesMost: 16, Parts: 40, PartsDelay: 1000, DelayedInserts: 7}
	for kind, change := range map[string]func(*eventstore.Strain){
		"":        func(*eventstore.Strain) {},
		"queries": func(s *eventstore.Strain) { s.Queries = 51 },
		"memory":  func(s *eventstore.Strain) { s.Memory = 13 << 30 },
		"merges":  func(s *eventstore.Strain) { s.Merges = 15 },
		"parts":   func(s *eventstore.Strain) { s.Parts = 501 },
		"inserts": func(s *eventstore.Strain) { s.DelayedInserts++ },
	} {
		var looks strains
		if seen := looks.ofClickHouse(rested); len(seen) != 0 { // also inserts that were delayed before it looked
			t.Errorf("at rest: %v", seen)
		}
		found := rested
		change(&found)
		seen := looks.ofClickHouse(found)
		switch {
		case kind == "" && len(seen) > 0:
			t.Errorf("still at rest: %v", seen)
		case kind != "" && (len(seen) != 1 || seen[0].Kind != "clickhouse_"+kind):
			t.Errorf("%s: %v", kind, seen)
		}
	}
	// What a server does not tell is no reason.
	if seen := (&strains{}).ofClickHouse(eventstore.Strain{Memory: 1 << 40, Merges: 99, Parts: 9999}); len(seen) != 0 {
		t.Errorf("without limits: %v", seen)
	}
}

// An old watermark is a reason while it moves: one that stands still waits for people, and not for backfills.
func TestAnOldWatermarkIsAReasonWhileItMoves(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var looks strains
	see := func(after, age time.Duration) string {
		t.Helper()
		now = now.Add(after)
		seen := looks.ofWatermark(now, now.Add(-age))
		if len(seen) == 0 {
			return ""
		}
		return seen[0].What
	}
	if said := see(0, time.Hour); said != "" {
		t.Errorf("at the first look, at which nobody knows whether it moves: %s", said)
	}
	if said := see(2*time.Second, 40*time.Second); !strings.Contains(said, "40s old") {
		t.Errorf("it moves and is old: %q", said)
	}
	if said := see(2*time.Second, 2*time.Second); said != "" {
		t.Errorf("it moves and is young: %s", said)
	}
	if said := see(20*time.Second, 22*time.Second); !strings.Contains(said, "22s old") {
		t.Errorf("it has just stopped: %q", said)
	}
	if said := see(time.Minute, 82*time.Second); said != "" {
		t.Errorf("it has stood still for long: %s", said)
	}
}

// What waits in Kafka is a reason by how long the loaders take for it, and while they load.
func TestLoadersThatAreFarBehindAreAReason(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var looks strains
	loaded := uint64(1_000_000)
	see := func(rows, behind uint64) string {
		t.Helper()
		now, loaded = now.Add(2*time.Second), loaded+rows
		seen := looks.ofKafka(now, []eventstore.Mark{
			{Partition: 0, Offset: loaded - 1000, Behind: behind / 2},
			{Partition: 1, Offset: 1000, Behind: behind - behind/2},
			{Partition: 2, Offset: 7, Behind: 9_000_000, Retired: true},
		})
		if len(seen) == 0 {
			return ""
		}
		return seen[0].What
	}
	for _, look := range []struct {
		rows, behind uint64
		says         string
	}{
		{0, 900_000, ""}, // at the first look nobody knows how fast they load
		{600, 900, ""},   // three seconds of loading
		{20_000, 300_000, "300000 messages wait in Kafka, which take the loaders 30s"},
		{20_000, 100_000, ""},
		{0, 900_000, ""}, // they stand still: that is for people
		{100, 900_000, "900000 messages wait in Kafka, which take the loaders 5h0m0s"},
	} {
		if said := see(look.rows, look.behind); said != look.says {
			t.Errorf("%d more are loaded, %d wait: %q, want %q", look.rows, look.behind, said, look.says)
		}
	}
}

// A look is slow by the best of times, and not by a number that would be wrong elsewhere; a machine that became slower for good
// is not held to be strained for ever.
func TestALookIsSlowByTheBestOfTimes(t *testing.T) {
	var p pace
	for _, look := range []struct {
		took time.Duration
		slow bool
	}{{5 * time.Millisecond, false}, {2 * time.Millisecond, false}, {9 * time.Millisecond, false}, {40 * time.Millisecond, true}, {3 * time.Millisecond, false}} {
		if slow := p.slow(look.took); slow != look.slow {
			t.Errorf("%s after %s at best: slow is %t", look.took, p.best, slow)
		}
	}
	looks := 0
	for p.slow(60 * time.Millisecond) {
		looks++
	}
	if looks < 30 || looks > 600 {
		t.Errorf("60ms are usual after %d looks", looks)
	}
}
