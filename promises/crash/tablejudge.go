package crash

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/jackc/pgx/v5"
)

// TableJudge holds the tables in Postgres against the events: each table is of one export, so that its rows tell which
// intervals they are of. It reaches Postgres past the relay and the proxies.
type TableJudge struct {
	rows     driver.Conn
	url      string
	schema   string
	expected map[string]amount
	// settled are the tables of which nothing new was published since they were compared.
	settled map[string]int
	// published are the intervals of each export, as millrace_runs has them.
	published map[string]map[time.Time]bool
	// Checked counts the comparisons of a table.
	Checked int
}

// mergedTable tells by its name that a table has one row for each key.
func mergedTable(name string) bool { return strings.HasPrefix(name, "merged") }

// A row's values as one text, the same on both sides.
const (
	tableText  = `concat_ws('|', team_id, uuid, event, distinct_id, (extract(epoch FROM timestamp) * 1000000)::bigint, properties::text, (extract(epoch FROM received_at) * 1000000)::bigint, (extract(epoch FROM inserted_at) * 1000000)::bigint)`
	sourceText = `concat(toString(team_id), '|', toString(uuid), '|', event, '|', distinct_id, '|', toString(toUnixTimestamp64Micro(timestamp)), '|', properties, '|', toString(toUnixTimestamp64Micro(received_at)), '|', toString(toUnixTimestamp64Micro(inserted_at)))`

	tableAmount  = `count(*), count(DISTINCT uuid), coalesce(sum(('x' || left(md5(` + tableText + `), 8))::bit(32)::bigint), 0)::bigint`
	sourceAmount = `count(), uniqExact(uuid), sum(toUInt64(reinterpretAsUInt32(reverse(substring(MD5(` + sourceText + `), 1, 4)))))`
)

// Glance compares the tables to which something was published since the last glance, in one snapshot with the rows of
// millrace_runs: the rows of each published interval are there, as they are in the events, and no others.
func (j *TableJudge) Glance(ctx context.Context) (faults []string, err error) {
	connection, err := pgx.Connect(ctx, j.url)
	if err != nil {
		return nil, fmt.Errorf("reach postgres: %w", err)
	}
	defer func() { _ = connection.Close(context.WithoutCancel(ctx)) }()
	tx, err := connection.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	tables, err := j.tables(ctx, tx)
	if err != nil || !slices.Contains(tables, "millrace_runs") {
		return nil, err
	}
	if err := j.readRuns(ctx, tx); err != nil {
		return nil, err
	}
	for _, table := range tables {
		if strings.HasPrefix(table, "millrace_") {
			continue
		}
		intervals := j.published[table]
		if count, was := j.settled[table]; was && count == len(intervals) {
			continue
		}
		found, err := j.compare(ctx, tx, table, intervals)
		if err != nil {
			return faults, err
		}
		faults = append(faults, found...)
		j.settled[table] = len(intervals)
	}
	return faults, nil
}

// Again lets the next glance compare all tables.
func (j *TableJudge) Again() { clear(j.settled) }

func (j *TableJudge) tables(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, "SELECT relname::text FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r' ORDER BY 1", j.schema)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (j *TableJudge) readRuns(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, "SELECT export, interval_start FROM "+j.schema+".millrace_runs")
	if err != nil {
		return err
	}
	j.published = map[string]map[time.Time]bool{}
	var name string
	var start time.Time
	_, err = pgx.ForEachRow(rows, []any{&name, &start}, func() error {
		if j.published[name] == nil {
			j.published[name] = map[time.Time]bool{}
		}
		j.published[name][start.UTC()] = true
		return nil
	})
	return err
}

func (j *TableJudge) compare(ctx context.Context, tx pgx.Tx, table string, intervals map[time.Time]bool) (faults []string, err error) {
	j.Checked++
	if mergedTable(table) {
		return j.compareMerged(ctx, tx, table, intervals)
	}
	rows, err := tx.Query(ctx, fmt.Sprintf("SELECT date_trunc('minute', inserted_at), %s FROM %s.%s GROUP BY 1 ORDER BY 1", tableAmount, j.schema, pgx.Identifier{table}.Sanitize()))
	if err != nil {
		return nil, err
	}
	got := map[time.Time]amount{}
	var start time.Time
	var a amount
	if _, err := pgx.ForEachRow(rows, []any{&start, &a.rows, &a.events, &a.hash}, func() error { got[start.UTC()] = a; return nil }); err != nil {
		return nil, err
	}
	for start, has := range got {
		if !intervals[start] {
			faults = append(faults, fmt.Sprintf("table %s has %s of %s, which is not published", table, has, start.Format(time.RFC3339)))
		}
	}
	for start := range intervals {
		want, err := j.source(ctx, []time.Time{start}, false)
		if err != nil {
			return nil, err
		}
		if got[start] != want {
			faults = append(faults, fmt.Sprintf("table %s has %s of %s, the interval has %s", table, got[start], start.Format(time.RFC3339), want))
		}
	}
	return faults, nil
}

// compareMerged compares a table with the newest row of each key.
func (j *TableJudge) compareMerged(ctx context.Context, tx pgx.Tx, table string, intervals map[time.Time]bool) (faults []string, err error) {
	var got amount
	if err := tx.QueryRow(ctx, fmt.Sprintf("SELECT %s FROM %s.%s", tableAmount, j.schema, pgx.Identifier{table}.Sanitize())).Scan(&got.rows, &got.events, &got.hash); err != nil {
		return nil, err
	}
	var starts []time.Time
	for start := range intervals {
		starts = append(starts, start)
	}
	want, err := j.source(ctx, starts, true)
	if err != nil {
		return nil, err
	}
	if got != want {
		faults = append(faults, fmt.Sprintf("table %s has %s, the newest rows of its %d published intervals are %s", table, got, len(starts), want))
	}
	return faults, nil
}

// source is what the events have of intervals, together; of the newest row of each key alone if newest.
func (j *TableJudge) source(ctx context.Context, starts []time.Time, newest bool) (a amount, err error) {
	if len(starts) == 0 {
		return a, nil
	}
	slices.SortFunc(starts, time.Time.Compare)
	key := fmt.Sprint(newest, starts)
	if known, is := j.expected[key]; is {
		return known, nil
	}
	var inside []string
	for _, start := range starts {
		inside = append(inside, fmt.Sprintf(whileInside, start.UnixMicro(), start.Add(exportsEvery).UnixMicro()))
	}
	from := "SELECT * FROM events WHERE team_id = 1 AND (" + strings.Join(inside, " OR ") + ")"
	if newest {
		from += " ORDER BY inserted_at DESC LIMIT 1 BY team_id, uuid"
	}
	if err := j.rows.QueryRow(ctx, "SELECT "+sourceAmount+" FROM ("+from+")").Scan(&a.rows, &a.events, &a.hash); err != nil {
		return a, fmt.Errorf("read intervals of the table: %w", err)
	}
	j.expected[key] = a
	return a, nil
}

// Published tells whether a run is published.
func (j *TableJudge) Published(t *target) bool {
	return j.published[t.definition.Name][t.interval.Start.UTC()]
}

// Unnamed counts staging tables: what kills have left, and nobody reads.
func (j *TableJudge) Unnamed(ctx context.Context) (staging int, err error) {
	connection, err := pgx.Connect(ctx, j.url)
	if err != nil {
		return 0, fmt.Errorf("reach postgres: %w", err)
	}
	defer func() { _ = connection.Close(context.WithoutCancel(ctx)) }()
	err = connection.QueryRow(ctx, `SELECT count(*) FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r'
		AND starts_with(relname, 'millrace_') AND relname NOT IN ('millrace_runs', 'millrace_plans')`, j.schema).Scan(&staging)
	return staging, err
}
