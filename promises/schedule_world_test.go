//go:build world

package promises

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

func (t *thread) diff(definition export.Definition) starter.Change {
	t.Helper()
	changes, err := t.starter.Diff(t.Context(), []export.Definition{definition})
	if err != nil {
		t.Fatal(err)
	}
	return changes[0]
}

func TestApplyingTwiceChangesNothingTheSecondTime(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	for i, change := range []func(*export.Definition){
		func(*export.Definition) {},
		func(d *export.Definition) {
			d.Every, d.Offset = export.Duration(6*time.Hour), export.Duration(90*time.Minute)
		},
		func(d *export.Definition) { d.Every = export.Duration(7 * 24 * time.Hour) },
		func(d *export.Definition) { d.Every, d.TimeZone = export.Duration(24*time.Hour), "Asia/Beirut" },
		func(d *export.Definition) { d.Every, d.TimeZone = export.Duration(7*24*time.Hour), "Africa/Cairo" },
		func(d *export.Definition) { d.Title = "The shop's events" },
	} {
		name := fmt.Sprintf("shop-events-%d", i) // for not every length can follow every other
		definition := hourly(name, 1)
		change(&definition)
		first := t.apply(definition)
		if again := t.diff(definition); again.Action != starter.ActionNone || len(again.Fields) != 0 {
			t.Errorf("after %s, applying again would %s: %+v", first.Action, again.Action, again.Fields)
		}
		before := t.describe(name).Info.LastUpdateAt
		t.apply(definition)
		if after := t.describe(name).Info.LastUpdateAt; !after.Equal(before) {
			t.Errorf("applying again wrote the schedule at %s", after)
		}
	}
}

func (t *thread) describe(name string) *client.ScheduleDescription {
	t.Helper()
	description, err := t.Client.ScheduleClient().GetHandle(t.Context(), name).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return description
}

func TestADiffShowsWhatWouldChange(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	definition := hourly("shop-events", 1)
	t.apply(definition)
	definition.Title, definition.Every = "Shop", export.Duration(15*time.Minute)
	got := t.diff(definition)
	if got.Definition == nil || len(got.Definition.Earlier) != 1 {
		t.Fatalf("it does not keep how time was cut: %+v", got.Definition)
	}
	until := got.Definition.Earlier[0].Until
	want := []starter.FieldChange{
		{Field: "earlier", To: fmt.Sprintf(`[{"every":"1h","until":%q}]`, until.Format(time.RFC3339))},
		{Field: "every", From: `"1h"`, To: `"15m"`},
		{Field: "title", To: `"Shop"`},
		{Field: "schedule.times", From: "every 1h", To: "every 15m"},
	}
	if got.Action != starter.ActionUpdate || !slices.Equal(got.Fields, want) {
		t.Errorf("the diff is %s %+v", got.Action, got.Fields)
	}
	if got := t.diff(hourly("blog-events", 2)); got.Action != starter.ActionCreate {
		t.Errorf("of a new export it is %s", got.Action)
	}
}

func TestAnUpdateKeepsAPause(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	definition := hourly("shop-events", 1)
	t.apply(definition)
	handle := t.Client.ScheduleClient().GetHandle(t.Context(), "shop-events")
	if err := handle.Pause(t.Context(), client.SchedulePauseOptions{Note: "the bucket moves"}); err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(tt, patience, func() error {
		if !t.describe("shop-events").Schedule.State.Paused {
			return fmt.Errorf("it is not paused yet")
		}
		return nil
	})
	definition.Title = "Shop"
	t.apply(definition)
	testworld.Eventually(tt, patience, func() error {
		if again := t.diff(definition); again.Action != starter.ActionNone {
			return fmt.Errorf("the update has not been taken up: %+v", again.Fields)
		}
		return nil
	})
	if state := t.describe("shop-events").Schedule.State; !state.Paused || state.Note != "the bucket moves" {
		t.Errorf("after the update its state is %+v", state)
	}
}

// An update may come at the worst moment: just before a start is due, in that moment, and just after it. The interval
// is exported all the same, and nothing from before the schedule was made.
func TestAnUpdateLosesNoInterval(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.work()
	definition := hourly("shop-events", 1)
	definition.Every = export.Duration(time.Minute)
	made := time.Now()
	t.apply(definition)
	grid, err := definition.Grid()
	if err != nil {
		t.Fatal(err)
	}
	last := grid.LastEnded(made.Add(time.Minute)) // the first that ends while the schedule is there
	for i, offset := range []time.Duration{-2 * time.Second, -50 * time.Millisecond, 0, 50 * time.Millisecond, time.Second} {
		<-time.After(time.Until(last.End.Add(offset))) // the moment is what is tested
		definition.Title = fmt.Sprintf("title %d", i)
		if change := t.apply(definition); change.Action != starter.ActionUpdate {
			t.Errorf("the action is %s", change.Action)
		}
	}
	t.promise(time.Now())
	testworld.Eventually(tt, patience, func() error {
		if _, found := t.manifests()[last.Key()]; !found {
			return fmt.Errorf("%s has no manifest", last)
		}
		return nil
	})
	for key, manifest := range t.manifests() {
		if manifest.Run.End.Before(made) {
			t.Errorf("%s ended before the schedule was made at %s, and was exported", key, made)
		}
	}
}
