//go:build world

package promises

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/starter"
)

// generate fills hours of the day with random numbers of rows, one of them with most, of three teams whose rows are of
// different sizes and shrink differently, in other shares each hour.
func (t *thread) generate(random *rand.Rand, hours int) {
	t.Helper()
	for n := range hours {
		rows := int(math.Exp(random.Float64()*6) * 12) // 12 to 4,800
		switch {
		case n == hours/2:
			rows = 35_000
		case random.IntN(8) == 0:
			continue
		}
		t.fill(n, rows, random.IntN(10), 5+random.IntN(5))
	}
}

// fill spreads rows over an hour: out of ten, so many are of team 1, up to so many of team 2, and the others of team 3.
func (t *thread) fill(n, rows, first, second int) {
	t.Helper()
	table := "`" + t.events.Database() + "`.events"
	eventstoretest.Exec(t.T, "ALTER TABLE "+table+" DROP CONSTRAINT arrival")
	defer eventstoretest.Exec(t.T, "ALTER TABLE "+table+" ADD CONSTRAINT arrival CHECK "+eventstore.ArrivalConstraint)
	eventstoretest.Exec(t.T, fmt.Sprintf(`
INSERT INTO %[1]s (team_id, uuid, event, distinct_id, timestamp, properties, received_at, inserted_at, source, source_offset)
SELECT multiIf(n %% 10 < %[5]d, 1, n %% 10 < %[6]d, 2, 3) AS team, generateUUIDv4(), ['pageview', 'click', 'purchase'][1 + n %% 3], 'user-' || toString(cityHash64(n) %% 5000), arrival,
       multiIf(team = 1, '{}', team = 2, '{"plan":"free","browser":"Firefox","width":' || toString(n %% 20) || '}',
               '{"token":"' || hex(MD5(toString(n))) || hex(MD5(toString(n + 1))) || hex(MD5(toString(n + 2))) || '"}'),
       arrival, arrival, 'c/t/0', %[2]d * 1000000 + n
FROM (SELECT number AS n, fromUnixTimestamp64Micro(%[3]d + intDiv(number * 3600, %[4]d) * 1000000, 'UTC') AS arrival FROM numbers(%[4]d))`,
		table, n, hour(n).Start.UnixMicro(), rows, first, second))
}

// Estimates of ten random ranges, of one interval or of many, are what runs of them then have; they leave nothing anywhere.
func TestEstimatesAreWhatRunsThenWrite(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	w := newWarehouse(t)
	random := testworld.Rand(tt)
	const hours = 16
	t.generate(random, hours)
	t.work()
	parquet := hourly("as-parquet", 1)
	parquet.Team, parquet.ChunkRows, parquet.Proof = export.Team{All: true}, 1000, export.ProofStream
	lines, rows := parquet, parquet
	parquet.Settings = json.RawMessage(`{"prefix": "events"}`)
	lines.Name = "as-lines"
	rows.Name, rows.Connection, rows.Destination = "as-rows", "warehouse", "postgres"
	rows.Settings = json.RawMessage(fmt.Sprintf(`{"schema": %q, "create": true}`, w.schema))
	sampled := 0
	for _, definition := range []export.Definition{parquet, lines, rows} {
		before := t.objects()
		var estimates []export.Estimate
		for range 10 {
			first := random.IntN(hours)
			span := export.Interval{Start: hour(first).Start, End: hour(first + random.IntN(hours-first)).End}
			estimate, err := t.starter.Estimate(t.Context(), estimateOf(definition, span, false))
			if err != nil {
				t.Fatal(err)
			}
			estimates = append(estimates, estimate)
		}
		if diff := cmp.Diff(before, t.objects()); diff != "" {
			t.Errorf("an estimate has changed what lies in the bucket:\n%s", diff)
		}
		if there := w.list(t, "SELECT relname::text FROM pg_class WHERE relnamespace = '%s'::regnamespace"); len(there) > 0 {
			t.Errorf("an estimate has made %v", there)
		}
		if recorded, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: definition.Name}); err != nil || len(recorded) > 0 {
			t.Errorf("an estimate is in the ledger: %v, %v", recorded, err)
		}
		outcomes := t.exportAtOnce(definition, hours)
		for _, estimate := range estimates {
			var really export.Outcome
			for n, outcome := range outcomes {
				if !hour(n).Start.Before(estimate.Span.Start) && !hour(n).End.After(estimate.Span.End) {
					really.Rows, really.Bytes, really.Files = really.Rows+outcome.Rows, really.Bytes+outcome.Bytes, really.Files+outcome.Files
				}
			}
			if estimate.BytesFrom == export.BytesSample {
				sampled++
			}
			tt.Logf("%-10s %2d intervals: rows %7d of %7d, files %3d of %3d, bytes %9d of %9d (%+.1f %%, %s)", definition.Name, estimate.Intervals,
				estimate.Rows, really.Rows, estimate.Files, really.Files, estimate.Bytes, really.Bytes, 100*(float64(estimate.Bytes)/float64(max(really.Bytes, 1))-1), estimate.BytesFrom)
			if estimate.Rows != really.Rows || estimate.ChunksPlanned && estimate.Files != really.Files || apart(estimate.Files, really.Files) > 0.25 {
				t.Errorf("%s %s: estimated were %d rows in %d files, the runs have %d rows in %d files", definition.Name, estimate.Span, estimate.Rows, estimate.Files, really.Rows, really.Files)
			}
			if apart(estimate.Bytes, really.Bytes) > 0.25 {
				t.Errorf("%s %s: estimated were %d bytes (%s), the runs have %d", definition.Name, estimate.Span, estimate.Bytes, estimate.BytesFrom, really.Bytes)
			}
		}
	}
	if sampled == 0 {
		t.Error("of no estimate were bytes found by a sample")
	}
}

// exportAtOnce exports hours side by side.
func (t *thread) exportAtOnce(definition export.Definition, hours int) (outcomes []export.Outcome) {
	t.Helper()
	var runs []starter.Started
	for n := range hours {
		started, err := t.starter.Start(t.Context(), definition, hour(n))
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, started)
	}
	for _, run := range runs {
		outcomes = append(outcomes, t.outcome(run.WorkflowID, run.RunID))
	}
	return outcomes
}

// apart is by how much an estimate is off, as a share of what it is of.
func apart[N int | uint64](estimated, really N) float64 {
	if really == 0 {
		return float64(estimated)
	}
	return math.Abs(float64(estimated)-float64(really)) / float64(really)
}

// An estimate says what is not complete, what is published, how long runs may take, and what is in their way.
func TestAnEstimateSaysWhatItKnows(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	w := newWarehouse(t)
	t.load(6, 1)
	t.work()
	ask := func(definition export.Definition, span export.Interval, sample bool) export.Estimate {
		t.Helper()
		estimate, err := t.starter.Estimate(t.Context(), estimateOf(definition, span, sample))
		if err != nil {
			t.Fatal(err)
		}
		return estimate
	}
	span := export.Interval{Start: hour(0).Start, End: hour(5).End}
	definition := hourly("known", 1)

	before := ask(definition, span, false)
	if before.Duration != nil || before.Published.Runs != 0 || before.Incomplete != "" || before.Sample != nil || before.Empty != 0 || before.Rows != 21 || before.Source.Rows != 21 || before.Destination.Place != "files below s3://"+t.bucket+"/events/" {
		t.Errorf("before any run: %+v", before)
	}
	grid, err := definition.Grid()
	if err != nil {
		t.Fatal(err)
	}
	var now export.Estimate
	unfinished := grid.Containing(time.Now())
	run := t.estimate(estimateOf(definition, unfinished, true)) // the starter refuses what has not ended, as it does of runs
	if err := t.Client.GetWorkflow(t.Context(), run.WorkflowID, run.RunID).Get(t.Context(), &now); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(now.Incomplete, "needs "+unfinished.End.Format(time.RFC3339)) || now.Rows != 0 {
		t.Errorf("of an hour that has not ended: %+v", now)
	}
	last, err := t.starter.Estimate(t.Context(), export.EstimateTask{Definition: definition})
	if err != nil || last.Span.End.After(unfinished.End) || last.Span.Length() != time.Hour || last.Intervals != 1 || last.Rows != 0 {
		t.Errorf("of the last hour that has ended: %+v, %v", last, err)
	}
	past, err := t.starter.Estimate(t.Context(), export.EstimateTask{Definition: definition, Past: true, Sample: true})
	if err != nil || !past.Span.Start.Equal(hour(0).Start) || past.Span.End.Before(last.Span.End) || past.Rows != 21 || len(past.Sample.Rows) == 0 {
		t.Errorf("of all of the past: %+v, %v", past, err)
	}
	nobody := definition
	nobody.Team = export.Team{ID: 4711}
	if none, err := t.starter.Estimate(t.Context(), export.EstimateTask{Definition: nobody, Past: true, Sample: true}); err != nil || none.Intervals != 0 || none.Rows != 0 || len(none.Destination.Columns) != 8 {
		t.Errorf("of a past without rows: %+v, %v", none, err)
	}
	t.exportHours(definition, 2)
	after := ask(definition, span, true)
	if after.Published != (export.PublishedRuns{Runs: 2, Rows: 3, Bytes: after.Published.Bytes}) || after.Published.Bytes == 0 || after.Rows != 21 || after.Duration == nil || after.Duration.Of != export.OfExport || after.Duration.Runs != 2 || after.Duration.From > after.Duration.To {
		t.Errorf("after two runs: %+v, %+v", after.Published, after.Duration)
	}
	if rows := after.Sample.Rows; len(rows) == 0 || len(rows[0]) != 8 || *rows[0][2] != "flight" {
		t.Errorf("the sample is %+v", rows)
	}
	other := definition
	other.Name = "other"
	if of := ask(other, span, false).Duration; of == nil || of.Of != export.OfAll {
		t.Errorf("another export is forecast by %+v", of)
	}

	// More intervals than are planned one by one have two chunks or three.
	t.fill(10, 90_000, 3, 6)
	minutely := definition
	minutely.Name, minutely.Every, minutely.ChunkRows, minutely.Team = "minutely", export.Duration(time.Minute), 1000, export.Team{All: true}
	if grid, err = minutely.Grid(); err != nil {
		t.Fatal(err)
	}
	minutes, err := grid.Split(export.Interval{Start: hour(0).Start, End: hour(10).End})
	if err != nil {
		t.Fatal(err)
	}
	chunks := 0
	for _, minute := range minutes {
		planned, err := t.events.PlanChunks(t.Context(), eventstore.PlanQuery{Interval: minute, Team: minutely.Team, TargetRows: minutely.ChunkRows})
		if err != nil {
			t.Fatal(err)
		}
		chunks += len(planned)
	}
	if e := ask(minutely, export.Interval{Start: hour(0).Start, End: hour(10).End}, false); e.ChunksPlanned || e.PlannedIntervals != 32 || apart(e.Chunks, chunks) > 0.05 || e.Rows != 90_021 || e.Empty != 660-66 || e.BytesFrom != export.BytesSample {
		t.Errorf("with %d chunks: %+v", chunks, e)
	}

	// What is set for the reads of backfills holds for those of estimates.
	for most, refused := range map[string]bool{"100000": false, "20": true} {
		steps := activities.Steps{Events: t.events, Connections: t.config, Bulk: activities.Bulk{Reads: map[string]string{"max_rows_to_read": most}}}
		if _, err := steps.EstimateRuns(t.Context(), estimateOf(definition, span, false)); (err != nil) != refused {
			t.Errorf("with %s rows that may be read: %v", most, err)
		}
	}

	lost := definition
	lost.Connection = "lost"
	if e := ask(lost, span, false); e.Rows != 21 || e.BytesFrom != export.BytesLedger || apart(e.Bytes, before.Bytes) > 0.25 || !strings.Contains(e.Destination.Problem, `"lost"`) {
		t.Errorf("with a connection that is not there: %+v", e)
	}
	lost.Settings = json.RawMessage(`{"prefix": "elsewhere"}`)
	if e := ask(lost, span, false); e.BytesFrom != export.BytesValues || e.Bytes != e.ValueBytes {
		t.Errorf("with nothing to go by: %+v", e)
	}

	rows := other
	rows.Connection, rows.Destination = "warehouse", "postgres"
	type there struct{ types, place, problem string }
	for _, test := range []struct {
		settings, sql string
		want          there
	}{
		{`{"schema": %q, "create": true}`, "", there{"bigint uuid text text timestamp with time zone json timestamp with time zone timestamp with time zone", `table %q."events", which the first run creates`, ""}},
		{`{"schema": %q}`, "", there{"bigint uuid text text timestamp with time zone json timestamp with time zone timestamp with time zone", `table %q."events"`, "does not exist: say create: true"}},
		{`{"schema": %q}`, "CREATE TABLE %s.events (team_id numeric, uuid text, event text, distinct_id varchar, timestamp timestamp, properties jsonb, received_at timestamptz, inserted_at timestamptz)",
			there{"numeric text text character varying timestamp without time zone jsonb timestamp with time zone timestamp with time zone", `table %q."events"`, ""}},
		{`{"schema": %q}`, "ALTER TABLE %s.events DROP COLUMN event", there{"bigint uuid text text timestamp with time zone json timestamp with time zone timestamp with time zone", `table %q."events"`, `column "event" is missing`}},
	} {
		if test.sql != "" {
			if _, err := w.Exec(t.Context(), fmt.Sprintf(test.sql, w.schema)); err != nil {
				t.Fatal(err)
			}
		}
		rows.Settings = json.RawMessage(fmt.Sprintf(test.settings, w.schema))
		e := ask(rows, span, false)
		var types []string
		for _, column := range e.Destination.Columns {
			types = append(types, column.Type)
		}
		got := there{strings.Join(types, " "), e.Destination.Place, e.Destination.Problem}
		if got.types != test.want.types || got.place != fmt.Sprintf(test.want.place, w.schema) || !strings.Contains(got.problem, test.want.problem) || (test.want.problem == "") != (got.problem == "") || e.BytesFrom != export.BytesEncoded {
			t.Errorf("got %+v, want %+v", got, test.want)
		}
	}
}

// A range of a model of one's own is counted at once where that is the same, and where it is not the estimate says so.
func TestAnEstimateOfAModelOfOnesOwn(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	definition := t.orders("lake", "s3: {prefix: orders}")
	t.work()
	span := export.Interval{Start: hour(0).Start, End: hour(2).End}
	estimate, err := t.starter.Estimate(t.Context(), estimateOf(definition, span, true))
	if err != nil {
		t.Fatal(err)
	}
	var want export.Outcome
	for _, outcome := range t.exportHours(definition, 3) {
		want.Rows, want.Bytes, want.Files = want.Rows+outcome.Rows, want.Bytes+outcome.Bytes, want.Files+outcome.Files
	}
	if estimate.Rows != want.Rows || estimate.Files != want.Files || apart(estimate.Bytes, want.Bytes) > 0.25 || len(estimate.Notes) > 0 || len(estimate.Sample.Rows) != 10 {
		t.Errorf("estimated was %+v, the runs have %+v", estimate, want)
	}
	// Each interval has the latest row of an order within it, so the range has fewer.
	definition.Model.Query = strings.Replace(definition.Model.Query, "SELECT id, shop", "SELECT DISTINCT ON (id) id, shop", 1)
	estimate, err = t.starter.Estimate(t.Context(), estimateOf(definition, span, false))
	if err != nil || len(estimate.Notes) != 1 || !strings.Contains(estimate.Notes[0], "its query depends on the interval's bounds") {
		t.Errorf("a query that depends on the interval: %+v, %v", estimate.Notes, err)
	}
}
