package destinationtest

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/export"
)

// drift holds what becomes of columns that change: between two intervals, and under a run that is at work.
var drift = []promise{
	{"a column that is new in an interval", inEachForm(func(t *testing.T, s Subject, f Form) {
		now := tableOf([]string{"text String"}, []string{"a"}, []string{"b"})
		then := tableOf([]string{"text String", "more Nullable(Decimal(18, 4))"}, []string{"c", "1.5"}, []string{"d", null}).later()
		s.drifts(t, f, now, then, "more")
	})},
	{"a column that has another type in an interval", inEachForm(func(t *testing.T, s Subject, f Form) {
		now := tableOf([]string{"size Int64"}, []string{"9223372036854775807"}, []string{"-1"})
		then := tableOf([]string{"size String"}, []string{"XL"}, []string{""}).later()
		s.drifts(t, f, now, then, "size")
	})},
	{underwayPromise, inEachForm(func(t *testing.T, s Subject, f Form) {
		made := tableOf([]string{"size Int64"}, []string{"1"}, []string{"-1"})
		f.Fit(t, made.columns)
		plan := s.planIn(f, made, false)
		manifest := s.carry(t, f, plan, made)
		other := tableOf([]string{"size String"})
		f.Fit(t, other.columns)
		before := s.contents(t)
		_, err := f.Open(t, made.shape()).Publish(t.Context(), manifest)
		kindIs(t, err, export.KindSchema)
		if err != nil && !strings.Contains(err.Error(), `column "size"`) {
			t.Errorf("%q does not name the column", err)
		}
		s.sameContents(t, before)
		s.notPublished(t)
	})},
}

// drifts does a run of each of two intervals. The second has columns that a place with a table of its own has not yet: it
// refuses them, changes nothing, and takes them when its owner has made them fit. The rows of the first stay as they are.
func (s Subject) drifts(t *testing.T, f Form, now, then table, column string) {
	t.Helper()
	if f.Fit != nil {
		f.Fit(t, now.columns)
	}
	first := s.publishIn(t, f, s.planIn(f, now, false), now)
	plan := s.planIn(f, then, true)
	if f.Fit != nil {
		before := s.contents(t)
		_, err := f.Open(t, then.shape()).Prepare(t.Context(), plan)
		kindIs(t, err, export.KindSchema)
		if err != nil && !strings.Contains(err.Error(), `column "`+column+`"`) {
			t.Errorf("%q does not name column %s", err, column)
		}
		s.sameContents(t, before)
		f.Fit(t, then.columns)
	}
	second := s.publishIn(t, f, plan, then)
	f.reads(t, first, now)
	f.reads(t, second, then)
}
