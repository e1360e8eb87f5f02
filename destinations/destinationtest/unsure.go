package destinationtest

import (
	"testing"

	"github.com/millrace/millrace/export"
)

// unsure holds what becomes of a publication when its answer, or the request itself, is lost and the system does not answer any
// more: nobody knows then what came of it.
var unsure = []promise{
	{"a publication whose answer is lost is there once", inEachForm(func(t *testing.T, s Subject, f Form) {
		s.publishUnsure(t, f, true)
	})},
	{"a publication that is lost itself is not there, and its repeat is once", inEachForm(func(t *testing.T, s Subject, f Form) {
		s.publishUnsure(t, f, false)
	})},
}

func (s Subject) publishUnsure(t *testing.T, f Form, arrives bool) {
	made := tableOf([]string{"text String"}, []string{"a"}, []string{"b"}, []string{"c"})
	if f.Fit != nil {
		f.Fit(t, made.columns)
	}
	plan := s.planIn(f, made, false)
	manifest := s.carry(t, f, plan, made)
	_, err := f.Unsure(t, made.shape(), arrives).Publish(t.Context(), manifest)
	kindIs(t, err, export.KindDestinationUnavailable)

	found, err := f.Open(t, made.shape()).Published(t.Context(), plan.Run)
	if err != nil || (found != nil) != arrives {
		t.Fatalf("published is answered %v, %v; it took effect: %t", found, err, arrives)
	}
	again := manifest
	again.By = by("successor")
	holds, err := f.Open(t, made.shape()).Publish(t.Context(), again)
	if err != nil {
		t.Fatalf("the repeat: %v", err)
	}
	wins := map[bool]string{true: manifest.By.WorkflowID, false: again.By.WorkflowID}[arrives]
	if holds.By.WorkflowID != wins {
		t.Errorf("it is published by %q, want %q", holds.By.WorkflowID, wins)
	}
	before := s.contents(t)
	if third, err := f.Open(t, made.shape()).Publish(t.Context(), again); err != nil || asJSON(t, third) != asJSON(t, holds) {
		t.Errorf("a third time: %s, %v", asJSON(t, third), err)
	}
	s.sameContents(t, before)
	s.nothingUnfinished(t)
	f.reads(t, holds, made)
}
