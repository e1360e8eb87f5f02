package export

import (
	"strings"
	"testing"
)

// What is retried and what is not is a promise to users: a change of the table changes this test.
func TestEachKindHasItsRule(t *testing.T) {
	want := map[Kind]After{
		KindConfig: AfterEnds, KindAuth: AfterEnds, KindPermission: AfterEnds, KindNotFound: AfterEnds, KindSchema: AfterEnds, KindData: AfterEnds,
		KindQuota: AfterTriesAgain, KindDestinationUnavailable: AfterTriesAgain, KindSourceUnavailable: AfterTriesAgain,
		KindSourceBehind: AfterWaits, KindCancelled: AfterStops, KindInternal: AfterTriesAgain,
	}
	pauses := map[Kind]bool{KindConfig: true, KindAuth: true, KindPermission: true, KindNotFound: true, KindSchema: true}
	if len(Kinds()) != len(want) {
		t.Errorf("there are %d kinds, %d are expected", len(Kinds()), len(want))
	}
	for _, kind := range Kinds() {
		if kind.After() != want[kind] {
			t.Errorf("%s: a run %s, want %s", kind, kind.After(), want[kind])
		}
		if kind.UserMustAct() != (want[kind] == AfterEnds) {
			t.Errorf("%s: user must act: %t", kind, kind.UserMustAct())
		}
		if kind.PausesExport() != pauses[kind] {
			t.Errorf("%s: pauses an export: %t", kind, kind.PausesExport())
		}
		if sentence := kind.Sentence(); !strings.HasSuffix(sentence, ".") || strings.ToUpper(sentence[:1]) != sentence[:1] {
			t.Errorf("%s: %q is no sentence", kind, sentence)
		}
		if kind.Runbook() != "docs/runbooks/"+string(kind)+".md" {
			t.Errorf("%s: its page is %q", kind, kind.Runbook())
		}
	}
	// An error's type in a history may be somebody else's.
	if stranger := Kind("TimeoutError"); stranger.After() != AfterTriesAgain || stranger.PausesExport() || stranger.Sentence() != "" || stranger.Runbook() != "" {
		t.Errorf("what is no kind: %s, %q, %q", stranger.After(), stranger.Sentence(), stranger.Runbook())
	}
}

func TestACodeIsJudgedByItselfAndThenByItsClass(t *testing.T) {
	codes := Codes{"22": KindData.Means("class"), "22P05": KindSchema.Means("itself")}
	for _, test := range []struct {
		code  string
		class int
		want  string
	}{
		{"22P05", 2, "itself"}, {"22001", 2, "class"}, {"22001", 0, ""}, {"2", 2, ""}, {"", 2, ""}, {"23001", 2, ""},
	} {
		found, known := codes.Judge(test.code, test.class)
		if found.Text != test.want || known != (test.want != "") {
			t.Errorf("%q by %d: %+v, %t", test.code, test.class, found, known)
		}
	}
}
