package eventstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/millrace/millrace/export"
)

// Limits are the bounds that the events table sets to arrival times, as its constraint says them.
type Limits struct {
	// MaxAge is how old an arrival time may be when its block comes. Default of the schema: 10 minutes.
	MaxAge time.Duration
	// MaxAhead is how far in the future it may be. Default of the schema: 1 minute.
	MaxAhead time.Duration
}

// Expired tells that no copy of a block whose arrival time is this old will ever be taken: the constraint refuses it, and
// a fifth of its age more (2 minutes of 10) allows for a clock that is set back.
func (l Limits) Expired(age time.Duration) bool { return age > l.MaxAge+l.MaxAge/5 }

// constraintForm is the constraint as the server writes it back. Only its two durations may differ from the schema's.
var constraintForm = regexp.MustCompile(`CONSTRAINT arrival CHECK \(inserted_at > \(nowInBlock64\(6\) - toInterval(Second|Minute|Hour)\((\d+)\)\)\) ` +
	`AND \(inserted_at < \(nowInBlock64\(6\) \+ toInterval(Second|Minute|Hour)\((\d+)\)\)\)`)

var constraintUnits = map[string]time.Duration{"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}

// parseLimits reads the constraint out of the table's definition; false if there is none of the form.
func parseLimits(definition string) (Limits, bool) {
	parts := constraintForm.FindStringSubmatch(definition)
	if parts == nil {
		return Limits{}, false
	}
	read := func(unit, number string) time.Duration {
		count, err := strconv.ParseInt(number, 10, 32)
		if err != nil {
			return 0
		}
		return time.Duration(count) * constraintUnits[unit]
	}
	limits := Limits{MaxAge: read(parts[1], parts[2]), MaxAhead: read(parts[3], parts[4])}
	return limits, limits.MaxAge > 0 && limits.MaxAhead > 0
}

// Limits reads the bounds of arrival times from the table that is there.
func (s *Store) Limits(ctx context.Context) (Limits, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	var definition string
	err := s.ask(ctx, "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'events'", nil, &definition)
	if errors.Is(err, sql.ErrNoRows) {
		return Limits{}, s.noEvents()
	}
	if err != nil {
		return Limits{}, wrap("read the limits of arrival times", err)
	}
	limits, found := parseLimits(definition)
	if !found {
		return Limits{}, export.Errorf(export.KindSourceUnavailable, "%s", noConstraint)
	}
	return limits, nil
}

const noConstraint = "table events has no such constraint: ALTER TABLE events ADD CONSTRAINT arrival CHECK " + ArrivalConstraint

func (s *Store) noEvents() error {
	return export.Errorf(export.KindSourceUnavailable, "ClickHouse database %q has no table events: run `millrace setup`", s.Database())
}

// tokensPerSecond is how many blocks a second the window of tokens must hold for as long as the constraint takes old
// blocks: 8 partitions at one block a second, ten times over.
const tokensPerSecond = 80

// wrongWindow says why a window of tokens is too small for a constraint; empty if it is not.
func wrongWindow(window uint64, limits Limits) string {
	needed := uint64(limits.MaxAge/time.Second) * tokensPerSecond
	if window >= needed {
		return ""
	}
	return fmt.Sprintf("table events remembers %d tokens, %d are needed: ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = %d",
		window, needed, needed)
}
