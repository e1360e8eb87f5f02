package export_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
)

// definitionJSON is an hourly export, open for one more field.
const definitionJSON = `{"name": "shop-events", "team": 1, "connection": "lake", "every": "1h", "s3": {}`

func TestABackfillIsReadOrRefusedInFull(t *testing.T) {
	model := `, "model": {"name": "orders", "query": "SELECT 1", "arrival": "at", "key": ["id"], "team": "shop", "settle": "1m"}`
	for _, test := range []struct{ name, text, refusal string }{
		{"a range", `{"definition": ` + definitionJSON + `}, "start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"}`, ""},
		{"everything", `{"definition": ` + definitionJSON + `}}`, ""},
		{"an open end", `{"definition": ` + definitionJSON + `}, "start": "2026-03-01T00:00:00Z"}`, ""},
		{"nothing", ``, "has no input"},
		{"no JSON", `{`, "not the JSON of a backfill"},
		{"a slip of the pen", `{"definition": ` + definitionJSON + `}, "at_once": 3}`, `unknown field "at_once"`},
		{"no definition", `{"start": "2026-03-01T00:00:00Z"}`, "name"},
		{"a start off the grid", `{"definition": ` + definitionJSON + `}, "start": "2026-03-01T00:30:00Z"}`, "start 2026-03-01T00:30:00Z is not a boundary"},
		{"an end off the grid", `{"definition": ` + definitionJSON + `}, "end": "2026-03-01T00:30:00Z"}`, "end 2026-03-01T00:30:00Z is not a boundary"},
		{"an end before the start", `{"definition": ` + definitionJSON + `}, "start": "2026-03-02T00:00:00Z", "end": "2026-03-01T00:00:00Z"}`, "not before end"},
		{"centuries", `{"definition": ` + definitionJSON + `}, "start": "1026-03-02T00:00:00Z", "end": "2026-03-01T00:00:00Z"}`, "more than 250000 intervals of 1h"},
		{"too many at once", `{"definition": ` + definitionJSON + `}, "parallel": 65}`, "parallel: 65 must be from 1 to 64"},
		{"fewer than one", `{"definition": ` + definitionJSON + `}, "parallel": -1}`, "parallel: -1 must be from 1 to 64"},
		{"a model without a start", `{"definition": ` + definitionJSON + model + `}}`, `start is missing: where the rows of model "orders" begin`},
		{"a step", `{"definition": ` + definitionJSON + `}, "step": "24h"}`, ""},
		{"a step that is a part of an interval", `{"definition": ` + definitionJSON + `}, "step": "30m"}`, `step: "30m" must be a whole number of the export's intervals (every "1h")`},
		{"a step between two intervals", `{"definition": ` + definitionJSON + `}, "step": "90m"}`, `step: "1h30m" must be a whole number`},
		{"a step that no day has evenly", `{"definition": ` + definitionJSON + `}, "step": "5h"}`, `step: "5h" must divide a day evenly, or be "1d" or "1w"`},
		{"a step of too many intervals", `{"definition": {"name": "shop-events", "team": 1, "connection": "lake", "every": "1m", "s3": {}}, "step": "1d"}`, `step: "1d" has 1440 of the export's intervals`},
		{"files in order", `{"definition": ` + definitionJSON + `, "order": "strict"}}`, ""},
		{"files in order, side by side", `{"definition": ` + definitionJSON + `, "order": "strict"}, "parallel": 2}`, "parallel: 2"},
		{"files in order, newest first", `{"definition": ` + definitionJSON + `, "order": "strict"}, "newest_first": true}`, "newest_first"},
	} {
		t.Run(test.name, func(t *testing.T) {
			backfill, err := export.ParseBackfill([]byte(test.text))
			switch {
			case test.refusal == "" && err != nil:
				t.Fatal(err)
			case test.refusal != "" && (export.KindOf(err) != export.KindConfig || !strings.Contains(err.Error(), test.refusal)):
				t.Fatalf("%v, want a refusal that says %q", err, test.refusal)
			}
			want := export.DefaultParallel
			if backfill.Definition.Order == export.OrderStrict {
				want = 1
			}
			if test.refusal == "" && backfill.Parallel != want {
				t.Errorf("parallel is %d, want %d", backfill.Parallel, want)
			}
		})
	}
}

// Whatever ends in whichever order, the parts add up to the whole, and what is told stays small.
func TestTheProgressOfABackfillAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		progress := export.BackfillProgress{State: export.BackfillRunning, Intervals: rapid.IntRange(0, 200).Draw(t, "intervals")}
		var rows uint64
		for progress.Settled() < progress.Intervals {
			now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 2).Draw(t, "ending") {
			case 0:
				n := rapid.Uint64Range(0, 1e9).Draw(t, "rows")
				rows += n
				progress.Publish(now, n, 2*n)
			case 1:
				progress.AlreadyDone++
			default:
				progress.Fail(export.BackfillFailure{Kind: export.KindData})
			}
			progress.Rate(now)
			if eta := progress.ETA; eta != nil && eta.Before(now.Truncate(time.Second)) {
				t.Fatalf("it will be done at %s, and it is %s", eta, now)
			}
		}
		if progress.Waiting() != 0 || progress.Rows != rows || progress.Bytes != 2*rows {
			t.Fatalf("%+v, want %d rows", progress, rows)
		}
		if len(progress.Failures) > export.MaxFailures || len(progress.Recent) > 20 {
			t.Fatalf("it tells of %d failures and %d recent runs", len(progress.Failures), len(progress.Recent))
		}
	})
}
