package eventstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/export"
)

// modelCodes are what ClickHouse says of a query that its author has to mend, from its src/Common/ErrorCodes.cpp.
var modelCodes = []int32{
	10, 47, 352, // NOT_FOUND_COLUMN_IN_BLOCK, UNKNOWN_IDENTIFIER, AMBIGUOUS_COLUMN_NAME
	codeUnknownTable, codeUnknownDatabase,
	6, 26, 27, 36, 41, 42, 43, 44, 46, 48, 53, 62, 70, 72, 130, 184, 215, 386, 457, // values, types, functions, syntax
	456, // UNKNOWN_QUERY_PARAMETER
}

const codeAccessDenied = 497

// ofModel is an error of a model's query with the kind that it has for its author, who can mend it: `config`, or
// `permission`; that of a server that is away stays as it is.
func ofModel(model export.Model, what string, err error) error {
	if err == nil {
		return nil
	}
	code := exceptionCode(err)
	switch {
	case slices.Contains(modelCodes, code):
		return export.Errorf(export.KindConfig, "model %q: %s: ClickHouse cannot run it: %w: mend the model, and try it with `millrace check`", model.Name, what, err)
	case code == codeAccessDenied:
		return export.Errorf(export.KindPermission, "model %q: %s: %w: grant it to Millrace's user", model.Name, what, err)
	}
	return wrap(fmt.Sprintf("model %q: %s", model.Name, what), err)
}

// Describe gives a model its columns, as ClickHouse describes the query, and holds the model against them. The built-in
// model is given back as it is.
func (s *Store) Describe(ctx context.Context, model export.Model) (export.Model, error) {
	if model.BuiltIn() {
		return model, nil
	}
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	minute := export.Interval{Start: time.Unix(0, 0), End: time.Unix(60, 0)}
	rows := relation{interval: minute, team: export.Team{All: true}, model: model}
	answer, err := s.query(rows.bound(ctx, "", "millrace describe "+model.Name, nil),
		"DESCRIBE TABLE "+rows.from()+" SETTINGS describe_compact_output = 1")
	if err != nil {
		return model, ofModel(model, "describe its query", err)
	}
	model.Columns = nil
	err = eachRow(answer, func() error {
		var column export.Column
		if err := answer.Scan(&column.Name, &column.Type); err != nil {
			return err
		}
		model.Columns = append(model.Columns, column)
		return nil
	})
	if err != nil {
		return model, ofModel(model, "describe its query", err)
	}
	return model, checkColumns(model)
}

// checkColumns holds a model against its columns.
func checkColumns(model export.Model) error {
	kinds := map[string]string{}
	var names []string
	for _, column := range model.Columns {
		kinds[column.Name] = column.Type
		names = append(names, column.Name)
	}
	needed := map[string][]string{"arrival": {model.Arrival}, "key": model.Key}
	if model.Version != "" {
		needed["version"] = []string{model.Version}
	}
	if model.Team != "" {
		needed["team"] = []string{model.Team}
	}
	for _, field := range []string{"arrival", "key", "version", "team"} {
		for _, name := range needed[field] {
			if kinds[name] == "" {
				return export.Errorf(export.KindConfig, "model %q: %s: %q is no column of its query: select it, or name one of %s", model.Name, field, name, strings.Join(names, ", "))
			}
		}
	}
	switch kind := kinds[model.Arrival]; {
	case strings.HasPrefix(kind, "Nullable("):
		return export.Errorf(export.KindConfig, "model %q: arrival: %q is %s, and a row without an arrival time is in no interval: select coalesce(%s, …) or assumeNotNull(%s)", model.Name, model.Arrival, kind, model.Arrival, model.Arrival)
	case !strings.HasPrefix(kind, "DateTime"), strings.HasPrefix(kind, "DateTime64(7"), strings.HasPrefix(kind, "DateTime64(8"), strings.HasPrefix(kind, "DateTime64(9"):
		return export.Errorf(export.KindConfig, "model %q: arrival: %q is %s, and must be DateTime or DateTime64 of at most 6 digits: select toDateTime64(%s, 6, 'UTC')", model.Name, model.Arrival, kind, model.Arrival)
	}
	if kind := bareType(kinds[model.Team]); model.Team != "" && !strings.HasPrefix(kind, "Int") && !strings.HasPrefix(kind, "UInt") {
		return export.Errorf(export.KindConfig, "model %q: team: %q is %s, and must be a whole number", model.Name, model.Team, kind)
	}
	return nil
}

// Estimate is what ClickHouse expects to read for a query, by its own EXPLAIN ESTIMATE.
type Estimate struct {
	// Rows are those of the granules that it would read, Total those of all parts of these tables.
	Rows, Total uint64
	// Tables are the tables that the estimate is of.
	Tables []string
}

// EstimateRead asks how much ClickHouse would read to export an interval. Tables of other engines than MergeTree are not
// estimated.
func (s *Store) EstimateRead(ctx context.Context, query ChunkQuery) (Estimate, error) {
	rows, err := query.relation()
	if err != nil {
		return Estimate{}, err
	}
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	ctx = rows.bound(ctx, "", query.LogComment, query.Settings)
	const what = "estimate what it reads"
	answer, err := s.query(ctx, "SELECT database, table, sum(rows) FROM (EXPLAIN ESTIMATE SELECT "+rows.selected()+" FROM "+rows.from()+" WHERE "+rows.whereChunk(query.Chunk)+") GROUP BY database, table ORDER BY database, table")
	if err != nil {
		return Estimate{}, ofModel(query.Model, what, err)
	}
	var estimate Estimate
	err = eachRow(answer, func() error {
		var database, table string
		var count uint64
		if err := answer.Scan(&database, &table, &count); err != nil {
			return err
		}
		estimate.Rows += count
		estimate.Tables = append(estimate.Tables, database+"."+table)
		return nil
	})
	if err == nil && len(estimate.Tables) > 0 {
		var names []string
		for _, name := range estimate.Tables {
			names = append(names, quoteText(name))
		}
		err = s.ask(ctx, "SELECT sum(rows) FROM system.parts WHERE active AND database || '.' || table IN ("+strings.Join(names, ", ")+")", nil, &estimate.Total)
	}
	return estimate, ofModel(query.Model, what, err)
}

// LastArrival is the latest arrival time of the rows that an export takes of an interval; false when there are none. It reads
// no column but that, and those of filters.
func (s *Store) LastArrival(ctx context.Context, query ChunkQuery) (time.Time, bool, error) {
	rows, err := query.relation()
	if err != nil {
		return time.Time{}, false, err
	}
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	var count uint64
	var micros int64
	sql := fmt.Sprintf("SELECT count(), toUnixTimestamp64Micro(toDateTime64(max(%s), 6, 'UTC')) FROM %s WHERE %s", export.QuoteName(rows.model.ArrivalColumn()), rows.from(), rows.where())
	err = s.ask(rows.bound(ctx, query.QueryID, query.LogComment, query.Settings), sql, nil, &count, &micros)
	return time.UnixMicro(micros).UTC(), count > 0, ofModel(query.Model, "look for its latest row", err)
}
