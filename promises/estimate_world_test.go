//go:build world

package promises

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// generate fills hours of the day with random numbers of rows, a few of them with most, of three teams whose rows are of
// different sizes and shrink differently.
func (t *thread) generate(random *rand.Rand, hours int) {
	t.Helper()
	table := "`" + t.events.Database() + "`.events"
	eventstoretest.Exec(t.T, "ALTER TABLE "+table+" DROP CONSTRAINT arrival")
	defer eventstoretest.Exec(t.T, "ALTER TABLE "+table+" ADD CONSTRAINT arrival CHECK "+eventstore.ArrivalConstraint)
	for n := range hours {
		rows := int(math.Exp(random.Float64()*8) * 12) // 12 to 36,000, and most of them in few hours
		if random.IntN(8) == 0 {
			continue
		}
		eventstoretest.Exec(t.T, fmt.Sprintf(`
INSERT INTO %[1]s (team_id, uuid, event, distinct_id, timestamp, properties, received_at, inserted_at, source, source_offset)
SELECT multiIf(n %% 10 < %[5]d, 1, n %% 10 < %[6]d, 2, 3) AS team, generateUUIDv4(), ['pageview', 'click', 'purchase'][1 + n %% 3], 'user-' || toString(cityHash64(n) %% 5000), arrival,
       multiIf(team = 1, '{}', team = 2, '{"plan":"free","browser":"Firefox","width":' || toString(n %% 20) || '}',
               '{"token":"' || hex(MD5(toString(n))) || hex(MD5(toString(n + 1))) || hex(MD5(toString(n + 2))) || '"}'),
       arrival, arrival, 'c/t/0', %[2]d * 1000000 + n
FROM (SELECT number AS n, fromUnixTimestamp64Micro(%[3]d + intDiv(number, 500) * 1000000, 'UTC') AS arrival FROM numbers(%[4]d))`,
			table, n, hour(n).Start.UnixMicro(), rows, random.IntN(10), 5+random.IntN(5)))
	}
}

// Estimates of ten random ranges, of one interval or of many, are what runs of them then have; they leave nothing anywhere.
func TestEstimatesAreWhatRunsThenWrite(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	w := newWarehouse(t)
	random := testworld.Rand(tt)
	const hours = 24
	t.generate(random, hours)
	t.work()
	parquet := hourly("as-parquet", 1)
	parquet.Team, parquet.ChunkRows = export.Team{All: true}, 4000
	lines, rows := parquet, parquet
	parquet.Settings = json.RawMessage(`{"prefix": "events"}`)
	lines.Name = "as-lines"
	rows.Name, rows.Connection, rows.Destination = "as-rows", "warehouse", "postgres"
	rows.Settings = json.RawMessage(fmt.Sprintf(`{"schema": %q, "create": true}`, w.schema))
	for _, definition := range []export.Definition{parquet, lines, rows} {
		before := t.objects()
		var estimates []export.Estimate
		for range 10 {
			first := random.IntN(hours)
			span := export.Interval{Start: hour(first).Start, End: hour(first + random.IntN(hours-first)).End}
			estimate, err := t.starter.Estimate(t.Context(), export.EstimateTask{Definition: definition, Span: span})
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
		outcomes := t.exportHours(definition, hours)
		for _, estimate := range estimates {
			var really export.Outcome
			for n, outcome := range outcomes {
				if !hour(n).Start.Before(estimate.Span.Start) && !hour(n).End.After(estimate.Span.End) {
					really.Rows, really.Bytes, really.Files = really.Rows+outcome.Rows, really.Bytes+outcome.Bytes, really.Files+outcome.Files
				}
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
}

// apart is by how much an estimate is off, as a share of what it is of.
func apart[N int | uint64](estimated, really N) float64 {
	if really == 0 {
		return float64(estimated)
	}
	return math.Abs(float64(estimated)-float64(really)) / float64(really)
}
