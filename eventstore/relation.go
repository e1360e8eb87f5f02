package eventstore

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/millrace/millrace/export"
)

// relation is a model's rows of one interval as SQL sees them. The zero model is `events`.
type relation struct {
	interval export.Interval
	team     export.Team
	model    export.Model
	filters  []export.Filter
	columns  []export.Column // what is exported
}

func newRelation(interval export.Interval, team export.Team, model export.Model, columns []export.Column, filters []export.Filter) (relation, error) {
	if len(columns) == 0 && model.BuiltIn() {
		columns = export.EventColumns()
	}
	if len(columns) == 0 {
		return relation{}, export.Errorf(export.KindInternal, "model %q: no column is to be exported: its plan must describe them", model.Name)
	}
	return relation{interval: interval, team: team, model: model, filters: filters, columns: columns}, validateRange(interval, team)
}

// from is where the rows are. A line break keeps a comment at the query's end from what follows.
func (r relation) from() string {
	if r.model.BuiltIn() {
		return "events"
	}
	return "(\n" + r.model.Query + "\n)"
}

// where is the condition for the rows of the interval that the export takes.
func (r relation) where() string {
	if r.model.BuiltIn() {
		return rangeOf(r.interval, r.team) + r.filtered()
	}
	arrival := export.QuoteName(r.model.Arrival)
	condition := fmt.Sprintf("%[1]s >= %[2]s AND %[1]s < %[3]s", arrival, instant(r.interval.Start.UnixMicro()), instant(r.interval.End.UnixMicro()))
	if !r.team.All {
		condition += fmt.Sprintf(" AND %s = %d", export.QuoteName(r.model.Team), r.team.ID)
	}
	return condition + r.filtered()
}

// whereChunk narrows it to a chunk.
func (r relation) whereChunk(chunk export.Chunk) string {
	if r.model.BuiltIn() {
		return rangeOfChunk(r.interval, r.team, chunk) + r.filtered()
	}
	condition := r.where()
	if chunk.From != nil {
		condition += " AND " + r.atOrAfter(*chunk.From)
	}
	if chunk.To != nil {
		condition += " AND " + r.before(*chunk.To)
	}
	return condition
}

// atOrAfter says the plain bound of the arrival time, too, by which ClickHouse finds what to read.
func (r relation) atOrAfter(p export.Position) string {
	arrival := export.QuoteName(r.model.Arrival)
	if p.Key == 0 {
		return fmt.Sprintf("%s >= %s", arrival, instant(p.Arrival))
	}
	return fmt.Sprintf("%[1]s >= %[2]s AND (%[1]s > %[2]s OR %[3]s >= %[4]d)", arrival, instant(p.Arrival), r.keyHash(), p.Key)
}

func (r relation) before(p export.Position) string {
	arrival := export.QuoteName(r.model.Arrival)
	if p.Key == 0 {
		return fmt.Sprintf("%s < %s", arrival, instant(p.Arrival))
	}
	return fmt.Sprintf("%[1]s <= %[2]s AND (%[1]s < %[2]s OR %[3]s < %[4]d)", arrival, instant(p.Arrival), r.keyHash(), p.Key)
}

// keyHash is Position.Key. The tuple matters: without it one NULL makes the hash NULL, which no bound holds for.
func (r relation) keyHash() string { return "cityHash64(tuple(" + quoteNames(r.model.Key) + "))" }

// order is the order of rows in a file: the same each time, so that a row can be found again by its number. The events
// table has it already, so nothing is sorted.
func (r relation) order() string {
	if r.model.BuiltIn() {
		return sortOrder
	}
	return export.QuoteName(r.model.Arrival) + ", " + quoteNames(r.model.Key)
}

func (r relation) selected() string { return selectOf(r.columns) }

// valueBytes is about how many bytes of values the exported columns of a row have. The length of a text is stored beside it
// (string_serialization_version), so this reads no text.
func (r relation) valueBytes() string {
	fixed, parts := 0, []string{}
	for _, column := range r.columns {
		switch {
		case column.Type == "String":
			parts = append(parts, "length("+export.QuoteName(column.Name)+")")
		case isScalar(column.Type):
			fixed += 8
		default:
			parts = append(parts, "byteSize("+export.QuoteName(column.Name)+")")
		}
	}
	return strings.Join(append(parts, strconv.Itoa(fixed)), " + ")
}

func isScalar(kind string) bool {
	for _, prefix := range []string{"Int", "UInt", "Float", "Bool", "Date", "UUID", "Enum", "IPv", "Decimal", "LowCardinality"} {
		if strings.HasPrefix(kind, prefix) {
			return true
		}
	}
	return false
}

// filtered is the filters' conditions, each with AND in front. Their values are parameters; see parameters.
func (r relation) filtered() string {
	var all strings.Builder
	for i, filter := range r.filters {
		name := export.QuoteName(filter.Column)
		list := fmt.Sprintf("{%s:Array(%s)}", filterParameter(i), bareType(r.typeOf(filter.Column)))
		switch {
		case filter.Include != nil:
			fmt.Fprintf(&all, " AND %s IN %s", name, list)
		case filter.Exclude != nil:
			fmt.Fprintf(&all, " AND NOT ifNull(%s IN %s, 0)", name, list)
		case filter.AtLeast != nil:
			fmt.Fprintf(&all, " AND %s >= %s[1]", name, list)
		default:
			fmt.Fprintf(&all, " AND %s < %s[1]", name, list)
		}
	}
	return all.String()
}

func filterParameter(i int) string { return "filter" + strconv.Itoa(i) }

func (r relation) typeOf(name string) string {
	for _, column := range r.model.All() {
		if column.Name == name {
			return column.Type
		}
	}
	return "String" // ClickHouse then says what is wrong
}

// bareType takes LowCardinality and Nullable off a type.
func bareType(kind string) string {
	for _, wrapper := range []string{"LowCardinality(", "Nullable("} {
		if inner, wrapped := strings.CutPrefix(kind, wrapper); wrapped {
			kind = strings.TrimSuffix(inner, ")")
		}
	}
	return kind
}

// parameters are what the query's parameters are bound to: the interval's bounds, for models of one's own, and the values of
// filters.
func (r relation) parameters() map[string]string {
	bound := map[string]string{}
	if !r.model.BuiltIn() {
		bound[export.ParameterStart] = seconds(r.interval.Start)
		bound[export.ParameterEnd] = seconds(r.interval.End)
	}
	for i, filter := range r.filters {
		var values []string
		for _, value := range filter.Values() {
			values = append(values, literal(value))
		}
		bound[filterParameter(i)] = "[" + strings.Join(values, ",") + "]"
	}
	return bound
}

// literal is a JSON value as an element of a list in a parameter. Validated values are strings, numbers and booleans.
func literal(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) != nil {
		return string(value)
	}
	return "'" + parameterQuoter.Replace(text) + "'"
}

var parameterQuoter = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\t", `\t`, "\r", `\r`, "\x00", `\0`)

// bindTo adds the parameters to a request's settings, as HTTP has them.
func (r relation) bindTo(settings map[string]string) {
	for name, value := range r.parameters() {
		settings["param_"+name] = value
	}
}

// bound names a query of the native protocol and binds its parameters. A model's query is its author's: it may only read.
func (r relation) bound(ctx context.Context, queryID, logComment string, more map[string]string) context.Context {
	settings := clickhouse.Settings{}
	for name, value := range more {
		settings[name] = value
	}
	if logComment != "" {
		settings["log_comment"] = logComment
	}
	if !r.model.BuiltIn() {
		settings["readonly"] = 2
	}
	options := []clickhouse.QueryOption{clickhouse.WithParameters(r.parameters()), clickhouse.WithSettings(settings)}
	if queryID != "" {
		options = append(options, clickhouse.WithQueryID(queryID))
	}
	return clickhouse.Context(ctx, options...)
}

func quoteNames(names []string) string {
	var quoted []string
	for _, name := range names {
		quoted = append(quoted, export.QuoteName(name))
	}
	return strings.Join(quoted, ", ")
}

// selectOf is the list of columns that an export selects.
func selectOf(columns []export.Column) string {
	var names []string
	for _, column := range columns {
		names = append(names, column.Name)
	}
	return quoteNames(names)
}

// seconds is a time as ClickHouse reads a parameter of any kind of time, in whichever zone: ten digits.
func seconds(t time.Time) string { return fmt.Sprintf("%010d", t.Unix()) }
