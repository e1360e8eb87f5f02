package export_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
)

// A range is cut into steps without hole or overlap, from either end alike but for its first and last step; each step ends on the
// grid, and but for the ends of the range where an export of that length would cut.
func TestARangeIsCutIntoSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := func(text string) export.Duration {
			parsed, err := export.ParseDuration(text)
			if err != nil {
				t.Fatal(err)
			}
			return parsed
		}
		definition := export.Definition{Name: "shop-events", Every: length(rapid.SampledFrom([]string{"15m", "1h", "1d"}).Draw(t, "every"))}
		steps := []string{"1h", "6h", "1d", "1w"}
		if definition.Every == length("1d") {
			steps = steps[2:]
			definition.TimeZone = rapid.SampledFrom([]string{"", "Europe/Berlin", "America/Havana"}).Draw(t, "zone")
		}
		backfill := export.Backfill{Definition: definition, Step: length(rapid.SampledFrom(steps).Draw(t, "step"))}
		grid, err := definition.Grid()
		if err != nil {
			t.Fatal(err)
		}
		span := grid.Containing(time.Unix(rapid.Int64Range(1_600_000_000, 1_900_000_000).Draw(t, "from"), 0))
		for range rapid.IntRange(0, 300).Draw(t, "cells") {
			span.End = grid.Containing(span.End).End
		}
		intervals, err := backfill.Cut(span)
		if err != nil {
			t.Fatal(err)
		}
		by, err := export.NewGrid(backfill.Step, 0, definition.TimeZone)
		if err != nil {
			t.Fatal(err)
		}
		cut, err := backfill.Steps()
		if err != nil {
			t.Fatal(err)
		}
		at := span.Start
		for i, interval := range intervals {
			if !interval.Start.Equal(at) || grid.OnGrid(interval) != nil || !by.Containing(interval.Start).Equal(by.Containing(interval.End.Add(-time.Second))) {
				t.Fatalf("step %d is %s, the one before ended at %s", i, interval, at)
			}
			if back := cut.Until(span.Start, interval.End); !back.Equal(interval) {
				t.Fatalf("from its end step %d is %s, from its start %s", i, back, interval)
			}
			at = interval.End
		}
		if !at.Equal(span.End) {
			t.Fatalf("the steps end at %s, the range at %s", at, span.End)
		}
	})
}
