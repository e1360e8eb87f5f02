package export

import (
	"encoding/json"
	"testing"
	"time"
)

// A redo asks for what was published before its instant, and never for what a redo of that instant, or a later one, has
// published, whatever the clock of who published said.
func TestWhatARedoAsksFor(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	before, later := at.Add(-time.Hour), at.Add(time.Hour)
	published := func(at time.Time, by *time.Time) Publication {
		return Publication{By: Author{At: at}, RedoBefore: by}
	}
	redo := &Redo{Before: at}
	for _, test := range []struct {
		name string
		redo *Redo
		of   Publication
		asks bool
	}{
		{"published before", redo, published(before, nil), true},
		{"published at the instant", redo, published(at, nil), false},
		{"published later", redo, published(later, nil), false},
		{"its own, by a clock that is behind", redo, published(before, &at), false},
		{"a later redo's, by a clock that is behind", redo, published(before, &later), false},
		{"an earlier redo's", redo, published(before, &before), true},
		{"no redo", nil, published(before, nil), false},
	} {
		if got := test.redo.Asks(test.of); got != test.asks {
			t.Errorf("%s: %t", test.name, got)
		}
	}
	if err := redo.Validate(at.Add(-time.Minute)); err != nil {
		t.Errorf("by a clock that is a little ahead: %v", err)
	}
	if err := redo.Validate(before); KindOf(err) != KindConfig {
		t.Errorf("of the future: %v", err)
	}
}

func TestAnInputCarriesItsRedo(t *testing.T) {
	start, end := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC)
	in := Input{Start: &start, End: &end, Redo: &Redo{Before: end, Reason: "because"}}
	if err := json.Unmarshal([]byte(shopEvents), &in.Definition); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var back Input
	if err := json.Unmarshal(text, &back); err != nil || back.Redo == nil || *back.Redo != *in.Redo {
		t.Errorf("%s comes back as %+v, %v", text, back.Redo, err)
	}
	grid, err := in.Grid()
	if err != nil {
		t.Fatal(err)
	}
	run := Run{Export: in.Name, Interval: Interval{Start: start, End: end}, Revision: FirstRevision}
	if id := in.Redo.WorkflowID(run, grid); id != "shop-events-2026-11-23T11:00:00Z-redo-2026-11-23T11:00:00Z" {
		t.Errorf("its id is %s", id)
	}
	var none *Redo
	if none.WorkflowID(run, grid) != run.WorkflowID(grid) {
		t.Error("without a redo the id is another")
	}
}

// A backfill that redoes asks by the instant that it is given, or by when it began; only one that does may say why.
func TestWhatABackfillRedoes(t *testing.T) {
	began, given := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	if redo := (Backfill{}).RedoFrom(began); redo != nil {
		t.Errorf("one that leaves alone what is published asks for %+v", redo)
	}
	if redo := (Backfill{Redo: true}).RedoFrom(began); redo == nil || !redo.Before.Equal(began) || redo.Reason != DefaultRedoReason {
		t.Errorf("by its beginning it asks for %+v", redo)
	}
	if redo := (Backfill{Redo: true, RedoBefore: &given, RedoReason: "why"}).RedoFrom(began); redo == nil || !redo.Before.Equal(given) || redo.Reason != "why" {
		t.Errorf("by an instant it asks for %+v", redo)
	}
	_, err := ParseBackfill([]byte(`{"definition": ` + shopEvents + `, "start": "2026-11-22T10:00:00Z", "redo_reason": "why"}`))
	if KindOf(err) != KindConfig || err == nil || err.Error() != `redo_reason: "why" is given without redo: say redo: true, or leave it out` {
		t.Errorf("a reason without a redo: %v", err)
	}
}
