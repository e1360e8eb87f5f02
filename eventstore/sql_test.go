package eventstore

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/export"
)

var (
	eleven = time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC)
	team7  = export.Team{ID: 7}
	all    = export.Team{All: true}
)

func TestRangeSaysTheHoursToo(t *testing.T) {
	for name, test := range map[string]struct {
		interval export.Interval
		team     export.Team
		want     string
	}{
		"an hour of all": {export.Interval{Start: eleven, End: eleven.Add(time.Hour)}, all,
			"toStartOfHour(inserted_at) >= toDateTime(1795431600, 'UTC') AND toStartOfHour(inserted_at) <= toDateTime(1795431600, 'UTC')" +
				" AND inserted_at >= fromUnixTimestamp64Micro(1795431600000000, 'UTC') AND inserted_at < fromUnixTimestamp64Micro(1795435200000000, 'UTC')"},
		"across an hour, one team": {export.Interval{Start: eleven.Add(30 * time.Minute), End: eleven.Add(90 * time.Minute)}, team7,
			"toStartOfHour(inserted_at) >= toDateTime(1795431600, 'UTC') AND toStartOfHour(inserted_at) <= toDateTime(1795435200, 'UTC')" +
				" AND inserted_at >= fromUnixTimestamp64Micro(1795433400000000, 'UTC') AND inserted_at < fromUnixTimestamp64Micro(1795437000000000, 'UTC')" +
				" AND team_id = 7"},
	} {
		if got := rangeOf(test.interval, test.team); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, test.want)
		}
	}
}

func TestChunkIsComparedColumnByColumn(t *testing.T) {
	interval := export.Interval{Start: eleven, End: eleven.Add(time.Hour)}
	from := export.Position{Hour: 3600, Team: 5, Arrival: 9, Source: `it's a \`}
	got := strings.TrimPrefix(rangeOfChunk(interval, all, export.Chunk{From: &from, To: &export.Position{Hour: 7200, Team: 6}}), rangeOf(interval, all))
	want := " AND toStartOfHour(inserted_at) >= toDateTime(3600, 'UTC')" +
		" AND (toStartOfHour(inserted_at) > toDateTime(3600, 'UTC') OR (toStartOfHour(inserted_at) = toDateTime(3600, 'UTC') AND (team_id > 5 OR" +
		" (team_id = 5 AND (inserted_at > fromUnixTimestamp64Micro(9, 'UTC') OR (inserted_at = fromUnixTimestamp64Micro(9, 'UTC') AND source >= 'it\\'s a \\\\'))))))" +
		" AND toStartOfHour(inserted_at) <= toDateTime(7200, 'UTC')" +
		" AND (toStartOfHour(inserted_at) < toDateTime(7200, 'UTC') OR (toStartOfHour(inserted_at) = toDateTime(7200, 'UTC') AND (team_id < 6 OR" +
		" (team_id = 6 AND (inserted_at < fromUnixTimestamp64Micro(0, 'UTC') OR (inserted_at = fromUnixTimestamp64Micro(0, 'UTC') AND source < ''))))))"
	if got != want {
		t.Errorf(" got %s\nwant %s", got, want)
	}
	if whole := rangeOfChunk(interval, all, export.Chunk{}); whole != rangeOf(interval, all) {
		t.Errorf("the zero chunk is %s", whole)
	}
}

func TestDeclaredStructureNamesTheExportedColumns(t *testing.T) {
	var names []string
	for _, column := range strings.Split(strings.ReplaceAll(EventsStructure(), "DateTime64(6, 'UTC')", "DateTime64"), ", ") {
		names = append(names, strings.Fields(column)[0])
	}
	if got := strings.Join(names, ", "); got != SelectEvents() {
		t.Errorf("structure declares %s, selected are %s", got, SelectEvents())
	}
}

func TestRangeOfNobodyIsRefused(t *testing.T) {
	hour := export.Interval{Start: eleven, End: eleven.Add(time.Hour)}
	for name, err := range map[string]error{
		"no team":     validateRange(hour, export.Team{}),
		"no interval": validateRange(export.Interval{}, all),
		"backwards":   validateRange(export.Interval{Start: hour.End, End: hour.Start}, team7),
	} {
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := validateRange(hour, team7); err != nil {
		t.Errorf("an hour of a team: %v", err)
	}
}

// Destinations with columns of their own go by the domain's list.
func TestTheDomainsColumnsAreThoseThatAreSelected(t *testing.T) {
	var structure []string
	for _, column := range export.EventColumns() {
		structure = append(structure, column.Name+" "+column.Type)
	}
	if got := strings.Join(structure, ", "); got != EventsStructure() {
		t.Errorf("the domain has %s, files have %s", got, EventsStructure())
	}
}
