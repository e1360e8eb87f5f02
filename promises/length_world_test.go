//go:build world

package promises

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// (promise 8) An export goes over from hours to days. The schedule's run of the day ends at the same instant as that of its last
// hour, which is published, as some others are; one is under way, and one was begun and left. Each row is there once, and the day
// has no hole; then everything is done for whoever comes by the one length or the other.
func TestAnExportThatGoesFromHoursToDays(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	const n = 48
	ids := t.load(n, 1)
	t.work()
	definition := hourly("lengthened", 1)
	definition.Connection = "tampered"
	t.apply(definition)
	due := func(ends ...time.Time) {
		t.Helper()
		var request client.ScheduleBackfillOptions // one, for of several that come at once a schedule takes up the last
		for _, end := range ends {
			request.Backfill = append(request.Backfill, client.ScheduleBackfill{Start: end, End: end, Overlap: allowAll})
		}
		if err := t.Client.ScheduleClient().GetHandle(t.Context(), definition.Name).Backfill(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	due(hour(0).End, hour(1).End, hour(2).End, hour(3).End, hour(4).End, hour(23).End)
	if got := t.outcomes(definition.Name, 6); got[export.StatusPublished] != 6 {
		t.Fatalf("six hours ended as %v", got)
	}
	t.planned(definition, 9)
	release := t.hold()
	inFlight, err := t.starter.Start(t.Context(), definition, hour(7))
	if err != nil {
		t.Fatal(err)
	}
	testworld.Eventually(tt, patience, func() error {
		if plans := ending(t.objects(), hour(7).Key()+"/r0001/plan.json"); len(plans) == 0 {
			return fmt.Errorf("it is not planned yet")
		}
		return nil
	})

	definition.Every = export.Duration(24 * time.Hour)
	applied := t.apply(definition)
	midnight := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
	if earlier := applied.Definition.Earlier; len(earlier) != 1 || earlier[0].Every != export.Duration(time.Hour) || !earlier[0].Until.Equal(midnight) {
		t.Fatalf("it is applied with %+v, want hours until %s", applied.Definition.Earlier, midnight)
	}
	definition = *applied.Definition
	if again := t.apply(definition); again.Action != starter.ActionNone {
		t.Errorf("applied again it is %+v", again)
	}
	written := definition
	written.Earlier = nil
	for _, want := range []starter.Action{starter.ActionCreate, ""} {
		nightly, err := t.starter.DiffNightly(t.Context(), []export.Definition{written}, &export.Nightly{At: "03:30"})
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range nightly {
			if change.Action != want || len(change.Definition.Earlier) != 1 {
				t.Errorf("to reconcile it by night is to %s with %+v", change.Action, change.Definition.Earlier)
			}
			if err := t.starter.ApplyNightly(t.Context(), change); err != nil {
				t.Fatal(err)
			}
		}
	}
	if again := t.apply(written); again.Action != starter.ActionNone {
		t.Errorf("applied again, without what was found, it is %+v", again)
	}
	due(hour(23).End) // the day
	id := definition.Name + "-" + hour(23).End.Format(time.RFC3339)
	testworld.Eventually(tt, patience, func() error {
		if claims := ending(t.objects(), hour(22).Key()+"/r0001/plan.json"); len(claims) == 0 {
			return fmt.Errorf("the day has not claimed its hours yet")
		}
		return nil
	})
	release()
	t.ends(inFlight)
	if outcome := t.outcome(id, ""); outcome.Status != export.StatusPublished || !outcome.Run.Interval.Equal(span(0, 23)) {
		t.Errorf("the day ended with %+v", outcome)
	}
	t.history("a day over hours of former times", starter.Started{WorkflowID: id})
	t.once("the day", uuids(t.rows(definition.Name)), ids[1][:24*25/2])

	due(hour(47).End) // the day after, whole
	all := func() error {
		if got := len(t.rows(definition.Name)); got != n*(n+1)/2 {
			return fmt.Errorf("%d rows", got)
		}
		return nil
	}
	testworld.Eventually(tt, patience, all)
	t.once("both days", uuids(t.rows(definition.Name)), ids[1])
	backfill := hours(definition, n)
	for step, intervals := range map[time.Duration]int{0: n, 7 * 24 * time.Hour: 2} { // the two days end with a week and begin another
		backfill.Step = export.Duration(step)
		if progress, err := t.backfill(backfill); err != nil || progress.Intervals != intervals || progress.AlreadyDone != intervals {
			t.Errorf("a backfill by %s ended with %+v, %v", step, progress, err)
		}
	}
	report, err := t.starter.Reconcile(t.Context(), export.ReconcileTask{Definition: definition, Start: backfill.Start, End: backfill.End})
	if err != nil || report.States[export.StateProved] != n {
		t.Errorf("reconciled: %+v, %v", report, err)
	}
	t.once("at last", uuids(t.rows(definition.Name)), ids[1])
}

// (promise 8) A live export is changed from one minute to two while rows arrive: each row is exported once, and no minute is left out at
// the change.
func TestALiveExportWhoseLengthIsChanged(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.events = behind(t, day)
	rows, stop := t.arrive()
	t.work()
	definition := hourly("changed", 1)
	definition.Every = export.Duration(time.Minute)
	t.apply(definition)
	published := func(length time.Duration) func() error {
		return func() error {
			for _, manifest := range t.manifests() {
				if manifest.Run.Length() == length {
					return nil
				}
			}
			return fmt.Errorf("no run of %s is published", length)
		}
	}
	testworld.Eventually(tt, patience+time.Minute, published(time.Minute))
	testworld.Eventually(tt, patience, func() error { // an interval that is about to end would be refused
		if time.Now().Second() > 40 {
			return fmt.Errorf("the minute ends soon")
		}
		return nil
	})
	definition.Every = export.Duration(2 * time.Minute)
	applied := t.apply(definition)
	testworld.Eventually(tt, patience+2*time.Minute, func() error {
		until := applied.Definition.Earlier[0].Until
		for _, manifest := range t.manifests() {
			if manifest.Run.End.After(until) {
				return nil
			}
		}
		return fmt.Errorf("nothing after %s is published", until)
	})
	stop()
	var first, last time.Time
	for _, manifest := range t.manifests() {
		if first.IsZero() || manifest.Run.Start.Before(first) {
			first = manifest.Run.Start
		}
		if manifest.Run.End.After(last) {
			last = manifest.Run.End
		}
	}
	t.once(fmt.Sprintf("from %s to %s, changed at %s", first, last, applied.Definition.Earlier[0].Until), uuids(t.rows(definition.Name)), rows.within(export.Interval{Start: first, End: last}))
}

// A change that would cut time twice or leave some out is refused: by its lengths, and while a backfill cuts as before.
func TestAChangeOfTheLengthThatCannotBeIsRefused(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.load(3, 1)
	t.work()
	definition := tampered("refused", export.ProofStream)
	t.apply(definition)
	shifted := definition
	shifted.Offset = export.Duration(10 * time.Minute)
	if _, err := t.starter.Diff(t.Context(), []export.Definition{shifted}); export.KindOf(err) != export.KindConfig || !strings.Contains(fmt.Sprint(err), `apply every "10m" without offset first`) {
		t.Errorf("an offset of ten minutes is answered %v", err)
	}
	release := t.hold()
	if _, err := t.starter.StartBackfill(t.Context(), hours(definition, 3)); err != nil {
		t.Fatal(err)
	}
	t.progressIs(definition.Name, func(p export.BackfillProgress) bool { return p.Running > 0 })
	days := definition
	days.Every = export.Duration(24 * time.Hour)
	changes, err := t.starter.Diff(t.Context(), []export.Definition{days})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := t.starter.Apply(t.Context(), changes[0]); export.KindOf(err) != export.KindConfig || !strings.Contains(fmt.Sprint(err), "a backfill is under way that cuts time as before") {
		t.Errorf("with a backfill under way it is answered %v", err)
	}
	release()
	if _, err := t.starter.FollowBackfill(t.Context(), definition.Name, nil); err != nil {
		t.Error(err)
	}
}
