package loader

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
)

func TestTheLargestStateFitsIntoACommit(t *testing.T) {
	state := State{
		TopicID: "MMMMMMMMMMMMMMMMMMMMMM", W: math.MaxInt64, P: math.MaxInt64,
		Plan: &Plan{
			End: math.MaxInt64, At: math.MaxInt64, Rows: math.MaxInt64, Quarantined: math.MaxInt64, Window: math.MaxInt64, Try: math.MaxInt64,
			Parser: Config{Duplicates: math.MaxInt64}.parser(),
		},
	}
	text, err := state.Text()
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > broker.MaxMetadataBytes/4 {
		t.Errorf("%d bytes, brokers take %d", len(text), broker.MaxMetadataBytes)
	}
	back, err := ParseState(text)
	if diff := cmp.Diff(state, back); diff != "" || err != nil {
		t.Errorf("read back with error %v (-written +read):\n%s", err, diff)
	}
}

func TestATokenNamesOneAttemptAtOneRange(t *testing.T) {
	plan := Plan{End: 20, At: 30, Try: 1}
	if token := plan.token("c/t/0", 10); token != "c/t/0/10-20/1/30" {
		t.Errorf("the token is %s", token)
	}
}

func TestOnlyWhatAgreesIsBelieved(t *testing.T) {
	at := State{W: 1000}.Watermark()
	witness := eventstore.Mark{At: at, Offset: 50}
	good := State{TopicID: "t", W: 1000, P: 40}
	for name, c := range map[string]struct {
		committed int64
		metadata  string
		state     State
		witness   eventstore.Mark
		isSeen    bool
		believed  bool
	}{
		"nothing anywhere":             {committed: -1, believed: true},
		"only a word that it is new":   {committed: -1, witness: eventstore.Mark{New: true, Offset: 7}, isSeen: true, believed: true},
		"as published":                 {committed: 50, metadata: "m", state: good, witness: witness, isSeen: true, believed: true},
		"not published yet":            {committed: 60, metadata: "m", state: State{TopicID: "t", W: 2000, P: 50}, witness: witness, isSeen: true, believed: true},
		"expired":                      {committed: -1, witness: witness, isSeen: true},
		"expired while it came back":   {committed: -1, witness: eventstore.Mark{New: true, At: at}, isSeen: true},
		"set by hand":                  {committed: 50, witness: witness, isSeen: true},
		"set by hand before any load":  {committed: 50},
		"another topic":                {committed: 50, metadata: "m", state: State{TopicID: "u", W: 1000}, witness: witness, isSeen: true},
		"no witness":                   {committed: 50, metadata: "m", state: good},
		"offset behind":                {committed: 49, metadata: "m", state: good, witness: witness, isSeen: true},
		"watermark behind":             {committed: 50, metadata: "m", state: State{TopicID: "t", W: 999}, witness: witness, isSeen: true},
		"clickhouse restored":          {committed: 60, metadata: "m", state: State{TopicID: "t", W: 2000, P: 51}, witness: witness, isSeen: true},
		"back from being retired":      {committed: 50, metadata: "m", state: State{TopicID: "t", W: 1}, witness: eventstore.Mark{Retired: true, At: at, Offset: 50}, isSeen: true, believed: true},
		"back, and expired meanwhile":  {committed: -1, witness: eventstore.Mark{Retired: true, At: at, Offset: 50}, isSeen: true},
		"back, and set back meanwhile": {committed: 3, metadata: "m", state: State{TopicID: "t", W: 1}, witness: eventstore.Mark{Retired: true, At: at, Offset: 50}, isSeen: true},
	} {
		reason := doubt(c.committed, c.metadata, c.state, "t", c.witness, c.isSeen)
		if c.believed != (reason == "") {
			t.Errorf("%s: %q", name, reason)
		}
	}
}
