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
