package eventstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/millrace/millrace/export"
)

// ArrivalConstraint is the expression of the events table's constraint `arrival`, as the schema says it.
const ArrivalConstraint = "inserted_at > nowInBlock64(6) - INTERVAL 10 MINUTE AND inserted_at < nowInBlock64(6) + INTERVAL 1 MINUTE"

// CheckServer reads back what Millrace leans on and a server may have set otherwise: the effective settings of an
// insert, the table's window of tokens, and the constraint on arrival times. Its error names all that is wrong.
func (s *Store) CheckServer(ctx context.Context) error {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	wrong, err := s.wrongSettings(ctx)
	if err != nil {
		return wrap("read ClickHouse's settings back", err)
	}
	inTable, err := s.wrongInTable(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return s.noEvents()
	}
	if err != nil {
		return wrap("read the definition of table events back", err)
	}
	if wrong = append(wrong, inTable...); len(wrong) > 0 {
		return export.Errorf(export.KindSourceUnavailable, "ClickHouse cannot keep what Millrace promises: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// wrongSettings sends the settings of an insert and reads back what the server made of them.
func (s *Store) wrongSettings(ctx context.Context) ([]string, error) {
	want := map[string]string{}
	for name, value := range insertSettings {
		if name != "max_execution_time" { // the client replaces it by the deadline of ctx, which an insert has not
			want[name] = fmt.Sprint(value)
		}
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(insertSettings))
	rows, err := s.query(ctx, "SELECT name, value FROM system.settings WHERE name IN ?", slices.Sorted(maps.Keys(want)))
	if err != nil {
		return nil, err
	}
	got := map[string]string{}
	err = eachRow(rows, func() error {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		got[name] = value
		return nil
	})
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			wrong = append(wrong, fmt.Sprintf("setting %s is %q where an insert sends %q: let the user's profile allow it", name, got[name], want[name]))
		}
	}
	return wrong, nil
}

// wrongInTable holds the table that is there against what the loader needs of it.
func (s *Store) wrongInTable(ctx context.Context) ([]string, error) {
	const query = `
SELECT toUInt64OrZero(extract(engine_full, 'non_replicated_deduplication_window = (\\d+)')), engine, create_table_query
FROM system.tables WHERE database = currentDatabase() AND name = 'events'`
	var window uint64
	var engine, definition string
	if err := s.ask(ctx, query, nil, &window, &engine, &definition); err != nil {
		return nil, err
	}
	var wrong []string
	limits, found := parseLimits(definition)
	if !found {
		limits.MaxAge = 10 * time.Minute // as the remedy makes it
		wrong = append(wrong, noConstraint)
	}
	if small := wrongWindow(window, limits); small != "" && !strings.HasPrefix(engine, "Replicated") {
		wrong = append(wrong, small)
	}
	return wrong, nil
}
