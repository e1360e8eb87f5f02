package eventstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/millrace/millrace/export"
)

// SelectEvents is the list of expressions that an export of `events` selects, for readers who compare.
func SelectEvents() string { return selectOf(export.EventColumns()) }

// EventsStructure declares the columns of an exported file, for ClickHouse's s3(), url() and file(): with it a file reads
// back to the very values that were written.
func EventsStructure() string { return export.Structure(export.EventColumns()) }

// sortOrder is the key of the events table, and so the order of chunks and of the rows in a file.
const sortOrder = "toStartOfHour(inserted_at), team_id, inserted_at, source, source_offset"

// validateRange refuses what would silently select nothing: an interval that is none, and a team that is nobody's.
func validateRange(interval export.Interval, team export.Team) error {
	if team == (export.Team{}) {
		return export.Errorf(export.KindInternal, "rows of no team were asked for: name one, or all")
	}
	return interval.Validate()
}

// rangeOf is the condition for the rows of an interval and a team. ClickHouse does not infer the hour, which leads the
// key, from inserted_at: both bounds are said. Times travel as integers, since a text form could round them.
func rangeOf(interval export.Interval, team export.Team) string {
	first, last := hourOf(interval.Start), hourOf(interval.End.Add(-time.Microsecond))
	conditions := []string{
		fmt.Sprintf("toStartOfHour(inserted_at) >= %s", hour(first)),
		fmt.Sprintf("toStartOfHour(inserted_at) <= %s", hour(last)),
		fmt.Sprintf("inserted_at >= %s", instant(interval.Start.UnixMicro())),
		fmt.Sprintf("inserted_at < %s", instant(interval.End.UnixMicro())),
	}
	if !team.All {
		conditions = append(conditions, fmt.Sprintf("team_id = %d", team.ID))
	}
	return strings.Join(conditions, " AND ")
}

// rangeOfChunk narrows an interval's condition to a chunk. The comparison of places is written out column by column: a
// comparison of tuples does not use the key and reads the whole table, and bounds of the leading columns alone read two
// whole hours for a chunk that crosses a full hour.
func rangeOfChunk(interval export.Interval, team export.Team, chunk export.Chunk) string {
	conditions := []string{rangeOf(interval, team)}
	if chunk.From != nil {
		conditions = append(conditions, fmt.Sprintf("toStartOfHour(inserted_at) >= %s", hour(chunk.From.Hour)), atOrAfter(*chunk.From))
	}
	if chunk.To != nil {
		conditions = append(conditions, fmt.Sprintf("toStartOfHour(inserted_at) <= %s", hour(chunk.To.Hour)), before(*chunk.To))
	}
	return strings.Join(conditions, " AND ")
}

func atOrAfter(p export.Position) string { return beyond(p, ">", ">=") }

func before(p export.Position) string { return beyond(p, "<", "<") }

// beyond compares rows with a place, lexicographically: outer on the leading columns, last on the last.
func beyond(p export.Position, outer, last string) string {
	h, a, source := hour(p.Hour), instant(p.Arrival), quoteText(p.Source)
	within := fmt.Sprintf("source %s %s", last, source)
	if p.Offset > 0 {
		within = fmt.Sprintf("(source %[1]s %[3]s OR (source = %[3]s AND source_offset %[2]s %[4]d))", outer, last, source, p.Offset)
	}
	return fmt.Sprintf("(toStartOfHour(inserted_at) %[1]s %[2]s OR (toStartOfHour(inserted_at) = %[2]s AND (team_id %[1]s %[3]d OR "+
		"(team_id = %[3]d AND (inserted_at %[1]s %[4]s OR (inserted_at = %[4]s AND %[5]s))))))",
		outer, h, p.Team, a, within)
}

func hourOf(t time.Time) int64 { return t.UTC().Truncate(time.Hour).Unix() }

func hour(unix int64) string { return "toDateTime(" + strconv.FormatInt(unix, 10) + ", 'UTC')" }

func instant(micros int64) string {
	return "fromUnixTimestamp64Micro(" + strconv.FormatInt(micros, 10) + ", 'UTC')"
}

var (
	textQuoter = strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	nameQuoter = strings.NewReplacer("\\", "\\\\", "`", "\\`")
)

func quoteText(text string) string { return "'" + textQuoter.Replace(text) + "'" }

func quoteName(name string) string { return "`" + nameQuoter.Replace(name) + "`" }

// withPlainInsert makes an insert synchronous and visible when it is answered: 26.7 collects small inserts by default.
func withPlainInsert(ctx context.Context) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
}
