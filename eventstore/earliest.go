package eventstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/millrace/millrace/export"
)

// EarliestArrival finds the arrival time of the first row of `events` that a team has; found is false when it has none. It
// reads the beginning of each part, in the table's order, until it comes to a row of the team.
func (s *Store) EarliestArrival(ctx context.Context, team export.Team) (at time.Time, found bool, err error) {
	if team == (export.Team{}) {
		return at, false, export.Errorf(export.KindInternal, "rows of no team were asked for: name one, or all")
	}
	ctx, cancel := bounded(ctx, planTimeout)
	defer cancel()
	query, order := "SELECT toUnixTimestamp64Micro(inserted_at) FROM events", "toStartOfHour(inserted_at)"
	if team.All {
		order += ", inserted_at" // the order of the key but for the team, so that at most an hour is sorted
	} else {
		query += fmt.Sprintf(" WHERE team_id = %d", team.ID)
		order += ", team_id, inserted_at"
	}
	// One thread and small blocks: there is one row to be found.
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"optimize_read_in_order": 1, "max_threads": 1, "log_comment": "millrace earliest"}))
	var micros int64
	err = s.ask(ctx, query+" ORDER BY "+order+" LIMIT 1", nil, &micros)
	if errors.Is(err, sql.ErrNoRows) {
		return at, false, nil
	}
	return time.UnixMicro(micros).UTC(), err == nil, wrap("find the earliest row", err)
}
