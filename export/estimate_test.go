package export_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/export"
)

// What is wrong with a task is said before anything is asked, also where a range without end would be cut.
func TestTasksOfEstimatesAreChecked(t *testing.T) {
	definition := export.Definition{
		Name: "e", Team: export.Team{ID: 1}, Connection: "lake", Every: export.Duration(time.Hour), Destination: "s3", Settings: json.RawMessage("{}"),
	}.WithDefaults()
	own := definition
	own.Model = export.Model{Name: "orders", Query: "SELECT 1", Arrival: "at", Key: []string{"id"}, Settle: export.Duration(time.Minute), Team: "shop"}
	at := func(text string) *time.Time {
		parsed, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return &parsed
	}
	noon, one := at("2026-11-23T12:00:00Z"), at("2026-11-23T13:00:00Z")
	for name, test := range map[string]struct {
		task  export.EstimateTask
		want  string // of the error; "" for none
		words string // Range
	}{
		"a range":              {export.EstimateTask{Definition: definition, Start: noon, End: one}, "", "2026-11-23T12:00:00Z–2026-11-23T13:00:00Z"},
		"the last interval":    {export.EstimateTask{Definition: definition}, "", "the last interval"},
		"all of the past":      {export.EstimateTask{Definition: definition, Past: true}, "", "the earliest row–now"},
		"the past up to":       {export.EstimateTask{Definition: definition, Past: true, End: one}, "", "the earliest row–2026-11-23T13:00:00Z"},
		"of a model":           {export.EstimateTask{Definition: own, Past: true}, "start is missing: where the rows of model \"orders\" begin is not known", "the earliest row–now"},
		"no end":               {export.EstimateTask{Definition: definition, Start: noon}, "start is given without end", "2026-11-23T12:00:00Z"},
		"the wrong way":        {export.EstimateTask{Definition: definition, Start: one, End: noon}, "is not before end", "2026-11-23T13:00:00Z–2026-11-23T12:00:00Z"},
		"off the grid":         {export.EstimateTask{Definition: definition, Start: noon, End: at("2026-11-23T13:30:00Z")}, "end 2026-11-23T13:30:00Z is not a boundary", "2026-11-23T12:00:00Z–2026-11-23T13:30:00Z"},
		"too long":             {export.EstimateTask{Definition: definition, Start: at("1926-11-23T12:00:00Z"), End: noon}, "more than 250000 intervals of 1h", "1926-11-23T12:00:00Z–2026-11-23T12:00:00Z"},
		"too long for a past":  {export.EstimateTask{Definition: definition, Start: at("1926-11-23T12:00:00Z"), End: noon, Past: true}, "more than 250000 intervals of 1h", "1926-11-23T12:00:00Z–2026-11-23T12:00:00Z"},
		"a definition of none": {export.EstimateTask{}, "name: \"\" must be", "the last interval"},
	} {
		err := test.task.Validate()
		if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || export.KindOf(err) != export.KindConfig) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		text, err := json.Marshal(test.task)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := export.ParseEstimate(text); (err == nil) != (test.want == "") {
			t.Errorf("%s: read from its JSON, %v", name, err)
		}
		if words := test.task.Range(); words != test.words {
			t.Errorf("%s: it is called %q", name, words)
		}
	}
	if _, err := export.ParseEstimate([]byte(`{"nobodys": {}}`)); export.KindOf(err) != export.KindConfig || !strings.Contains(err.Error(), "nobodys") {
		t.Errorf("a field that nobody knows: %v", err)
	}
}
