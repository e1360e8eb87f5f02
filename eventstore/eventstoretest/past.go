package eventstoretest

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/eventstore"
)

// Past describes many rows that ClickHouse makes up by itself, for measurements. The same Past gives the same rows, except
// for their uuids.
type Past struct {
	// Start is the first hour of arrival, and Hours how many there are.
	Start time.Time
	Hours int
	// RowsPerHour are spread over Teams (numbered from 1) and 8 sources; a block arrives each second.
	RowsPerHour int
	Teams       int
}

// GeneratePast fills a store with a Past, an hour in three inserts, and leaves merges to the server. It drops the
// constraint on arrival times meanwhile, with the warning of LoadPast. A row takes about 300 bytes of text.
func GeneratePast(t testing.TB, store *eventstore.Store, past Past) {
	t.Helper()
	table := "`" + store.Database() + "`.events"
	Exec(t, "ALTER TABLE "+table+" DROP CONSTRAINT arrival")
	defer Exec(t, "ALTER TABLE "+table+" ADD CONSTRAINT arrival CHECK "+eventstore.ArrivalConstraint)
	const parts = 3
	for part := range past.Hours * parts {
		first := past.Start.Add(time.Duration(part) * time.Hour / parts)
		rows := past.RowsPerHour / parts
		Exec(t, fmt.Sprintf(`
INSERT INTO %[1]s (team_id, uuid, event, distinct_id, timestamp, properties, received_at, inserted_at, source, source_offset)
SELECT 1 + cityHash64(n, 1) %% %[2]d, generateUUIDv4(), ['pageview', 'click', 'purchase', 'identify', 'signup'][1 + n %% 5],
       'user-' || toString(cityHash64(n, 2) %% 50000), arrival - toIntervalSecond(cityHash64(n, 3) %% 3000),
       '{"$current_url":"https://example.com/path/' || hex(cityHash64(n, 4)) || '","$browser":"Firefox","width":' || toString(n %% 2000) ||
       ',"title":"' || hex(MD5(toString(n))) || '","referrer":"https://search.example.org/q?' || toString(cityHash64(n, 5)) || '"}',
       arrival - toIntervalMillisecond(200), arrival, 'c/t/' || toString(n %% 8), n
FROM (SELECT number + %[3]d AS n, fromUnixTimestamp64Micro(%[4]d + intDiv(number * %[5]d, %[6]d) * 1000000 + number %% 8, 'UTC') AS arrival FROM numbers(%[6]d))`,
			table, past.Teams, part*rows, first.UnixMicro(), int(time.Hour/parts/time.Second), rows))
	}
}
