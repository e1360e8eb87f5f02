package eventstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/export"
)

// Block is what one insert carries: rows of one Kafka partition, from a contiguous range of offsets, that arrive
// together. It becomes one part of the events table, so all of it is there or nothing.
type Block struct {
	// Source names the partition: cluster id / topic id / number. Never a topic's name.
	Source string
	// Arrival is the arrival time of every row, by ClickHouse's clock, on whole microseconds.
	Arrival time.Time
	// Token names the block for ever: partition/first-end/try/arrival. It is the deduplication token and the query id.
	Token string
	// Offsets has the Kafka offset of each row, ascending; Rows has the rows in the same order.
	Offsets []uint64
	Rows    []event.Row
}

// insertSettings are what an insert of a block leans on; CheckServer reads them back.
//
//   - async_insert: on by default in 26.7; the server would then join blocks of several inserts, and answer for them later.
//   - deduplicate_insert: refuses a token that is on record.
//   - use_strict_insert_block_limits: would cut a block of more than a million rows into several parts.
//   - max_execution_time: an insert is never killed.
//   - receive_timeout: with the default of 300 s a stopped loader's open insert would hold the repair for five minutes.
var insertSettings = clickhouse.Settings{
	"async_insert":                   0,
	"deduplicate_insert":             "enable",
	"use_strict_insert_block_limits": 0,
	"max_execution_time":             0,
	"receive_timeout":                5,
}

// InsertBlock writes a block. Called again with the same token within the table's window it changes nothing and
// returns nil; that answer proves the rows' presence only to the caller that sent the first copy. A block without
// rows is not sent. IsArrivalRefused tells the refusal of an arrival time that is too old or in the future, and
// IsStillRunning that an earlier copy is at work; after any other error the outcome is unknown until the rows are counted.
//
// The insert is never killed: once it began the end of ctx is not looked at, and an answer that does not come within two
// minutes is an error.
func (s *Store) InsertBlock(ctx context.Context, block Block) error {
	if err := block.validate(); err != nil {
		return err
	}
	if len(block.Rows) == 0 {
		return nil
	}
	settings := clickhouse.Settings{"insert_deduplication_token": block.Token}
	for name, value := range insertSettings {
		settings[name] = value
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithQueryID(block.Token), clickhouse.WithSettings(settings))
	return wrap("insert block "+block.Token, s.insert(ctx, block))
}

// insert sends the whole block at once, column by column: the batch is never flushed in between, since each flush would
// be a part.
func (s *Store) insert(ctx context.Context, block Block) error {
	names, columns := block.columns()
	batch, err := s.prepareOn(ctx, s.blocks, "INSERT INTO events ("+strings.Join(names, ", ")+")")
	if err != nil {
		return err
	}
	for i, column := range columns {
		if err := batch.Column(i).Append(column); err != nil {
			_ = batch.Abort()
			return fmt.Errorf("encode column %s: %w", names[i], err)
		}
	}
	return batch.Send()
}

// columns turns the rows into the columns of the table.
func (b Block) columns() (names []string, columns []any) {
	teams, uuids := make([]int64, len(b.Rows)), make([]uuid.UUID, len(b.Rows))
	events, distinctIDs, properties := make([]string, len(b.Rows)), make([]string, len(b.Rows)), make([]string, len(b.Rows))
	timestamps, received := make([]time.Time, len(b.Rows)), make([]time.Time, len(b.Rows))
	for i, row := range b.Rows {
		teams[i], uuids[i] = row.TeamID, row.UUID
		events[i], distinctIDs[i], properties[i] = row.Event, row.DistinctID, row.Properties
		timestamps[i], received[i] = row.Timestamp, row.ReceivedAt
	}
	return []string{"team_id", "uuid", "event", "distinct_id", "timestamp", "properties", "received_at", "inserted_at", "source", "source_offset"},
		[]any{teams, uuids, events, distinctIDs, timestamps, properties, received,
			slices.Repeat([]time.Time{b.Arrival}, len(b.Rows)), slices.Repeat([]string{b.Source}, len(b.Rows)), b.Offsets}
}

// validate refuses a block that would break what readers rely on; each is a mistake of the caller.
func (b Block) validate() error {
	switch {
	case b.Source == "" || b.Token == "":
		return export.Errorf(export.KindInternal, "block %q of source %q: both names are needed", b.Token, b.Source)
	case len(b.Offsets) != len(b.Rows):
		return export.Errorf(export.KindInternal, "block %s has %d offsets for %d rows", b.Token, len(b.Offsets), len(b.Rows))
	case b.Arrival.Nanosecond()%1000 != 0:
		return export.Errorf(export.KindInternal, "block %s arrives at %s, which is not on a whole microsecond", b.Token, b.Arrival.Format(time.RFC3339Nano))
	}
	for i := 1; i < len(b.Offsets); i++ {
		if b.Offsets[i] <= b.Offsets[i-1] {
			return export.Errorf(export.KindInternal, "block %s: offset %d comes after %d", b.Token, b.Offsets[i], b.Offsets[i-1])
		}
	}
	return nil
}

// LastLoaded is the last row of one source.
type LastLoaded struct {
	// Found is false when no row of the source is in the table.
	Found bool
	// Offset is the greatest source_offset there is, and Arrival its arrival time.
	Offset  uint64
	Arrival time.Time
}

// lastLoadedWindows are how far back LastLoaded looks, one after the other; nothing is the whole table.
var lastLoadedWindows = []string{
	"toStartOfHour(inserted_at) >= toStartOfHour(now('UTC')) - INTERVAL 2 HOUR AND ",
	"toStartOfHour(inserted_at) >= toStartOfHour(now('UTC')) - INTERVAL 2 DAY AND ",
	"",
}

// LastLoaded finds the greatest offset of a source, and when it arrived. Within a source arrival grows with the offset,
// so the last hours are read first and decide; only a source that has been silent for two days, or is new, costs a scan
// of the column of sources.
func (s *Store) LastLoaded(ctx context.Context, source string) (LastLoaded, error) {
	ctx, cancel := bounded(ctx, planTimeout)
	defer cancel()
	for _, window := range lastLoadedWindows {
		var rows uint64
		var last LastLoaded
		query := "SELECT count(), max(source_offset), max(inserted_at) FROM events WHERE " + window + "source = ?"
		if err := s.ask(ctx, query, []any{source}, &rows, &last.Offset, &last.Arrival); err != nil {
			return LastLoaded{}, wrap("look for the last row of "+source, err)
		}
		if rows > 0 {
			last.Found = true
			return last, nil
		}
	}
	return LastLoaded{}, nil
}
