package event

import (
	"math/big"
	"strings"
	"time"
)

// maxAhead is how far in the future a timestamp may lie: PostHog's bound, which leaves room for a client that sends
// local time as if it were UTC.
const maxAhead = 23 * time.Hour

// earliest is the first time that DateTime64(6) holds.
var earliest = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)

// timeSource is what an event says about its own time.
type timeSource struct {
	timestamp    []byte
	offset       []byte
	ignoreSentAt bool
}

// Time is when the event happened, UTC, cut to microseconds, by the same rules as PostHog's:
//
//   - The client's `timestamp`, if it can be read (see ParseTime).
//   - When the request says when it was sent, the client's clock is corrected: receivedAt − (sentAt − timestamp). An
//     event with the property `$ignore_sent_at: true` is not corrected.
//   - Without `timestamp`, `offset` milliseconds before receivedAt.
//   - Otherwise, and when the result is more than 23 hours after receivedAt or before the year 1900: receivedAt.
//
// The second result is false when the client gave a time and it could not be used.
func (e Event) Time(receivedAt, sentAt time.Time) (time.Time, bool) {
	receivedAt = receivedAt.UTC().Truncate(time.Microsecond)
	var at time.Time
	switch {
	case !isNull(e.time.timestamp):
		timestamp, ok := readTime(e.time.timestamp)
		if !ok {
			return receivedAt, false
		}
		at = timestamp
		if !sentAt.IsZero() && !e.time.ignoreSentAt {
			at = receivedAt.Add(timestamp.Sub(sentAt))
		}
	case !isNull(e.time.offset):
		offset, ok := milliseconds(e.time.offset)
		if !ok {
			return receivedAt, false
		}
		at = receivedAt.Add(-offset)
	default:
		return receivedAt, true
	}
	at = at.UTC().Truncate(time.Microsecond)
	if at.Before(earliest) || at.After(receivedAt.Add(maxAhead)) {
		return receivedAt, false
	}
	return at, true
}

// FinerThanMillisecond says that the event's own timestamp names a moment so precisely that no two events of a client
// share it by chance.
func (e Event) FinerThanMillisecond() bool {
	if isNull(e.time.timestamp) {
		return false
	}
	at, ok := readTime(e.time.timestamp)
	return ok && !at.Equal(at.Truncate(time.Millisecond))
}

// timeLayouts are the forms of a time beside RFC 3339. Fractions of a second are read wherever there are seconds.
// A form that two countries read differently, such as 02/03/2026, is not among them.
var timeLayouts = []string{
	time.RFC3339,
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04:05Z07",
	"2006-01-02T15:04:05",
	"2006-01-02T15:04Z07:00",
	"2006-01-02T15:04",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05Z0700",
	"2006-01-02 15:04:05Z07",
	"2006-01-02 15:04:05 Z07:00",
	"2006-01-02 15:04:05 Z0700",
	"2006-01-02 15:04:05 -0700 MST",
	"2006-01-02 15:04:05 MST",
	"2006-01-02 15:04:05",
	"2006-01-02 15:04",
	"2006-01-02",
	"2006/01/02 15:04:05",
	"2006/01/02",
	"20060102T150405Z07:00",
	time.RFC1123Z,
	time.RFC1123,
}

// ParseTime reads a time as clients write it: RFC 3339 with any fraction, the usual looser forms of ISO 8601 (blank for
// T, zone +03, +0300 or none, which means UTC, a date alone), RFC 1123, and a Unix time, whose size tells seconds,
// milliseconds, microseconds and nanoseconds apart. The result is in UTC, within the years 1 to 9999.
func ParseTime(text string) (time.Time, bool) {
	at, ok := parseTime(text)
	if at = at.UTC(); !ok || at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}, false
	}
	return at, true
}

func parseTime(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	if len(text) > 64 {
		return time.Time{}, false
	}
	if at, ok := unixTime(text); ok {
		return at, true
	}
	for _, layout := range timeLayouts {
		// In UTC, because an abbreviation must not mean what this machine's time zone calls by it.
		if at, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			if name, offset := at.Zone(); offset == 0 && name != "UTC" && name != "GMT" && name != "" {
				continue // another abbreviation would be read as if it were UTC
			}
			return at, true
		}
	}
	return time.Time{}, false
}

func readTime(value []byte) (time.Time, bool) {
	if isNull(value) {
		return time.Time{}, false
	}
	if isNumber(value) {
		return ParseTime(string(value))
	}
	text, ok := unquote(value)
	if !ok {
		return time.Time{}, false
	}
	return ParseTime(text)
}

// unixTime reads a number exactly. Below 10¹¹ it counts seconds (until the year 5138), and each further unit a
// thousand times more.
func unixTime(text string) (time.Time, bool) {
	number, ok := decimal(text)
	if !ok {
		return time.Time{}, false
	}
	unit := big.NewRat(int64(time.Second), 1)
	size := new(big.Rat).Abs(number)
	for limit := big.NewRat(1e11, 1); size.Cmp(limit) >= 0; limit.Mul(limit, big.NewRat(1000, 1)) {
		unit.Quo(unit, big.NewRat(1000, 1))
		if unit.Cmp(big.NewRat(1, 1)) < 0 {
			return time.Time{}, false
		}
	}
	nanoseconds := number.Mul(number, unit)
	whole := new(big.Int).Div(nanoseconds.Num(), nanoseconds.Denom())
	seconds, rest := new(big.Int).DivMod(whole, big.NewInt(int64(time.Second)), new(big.Int))
	return time.Unix(seconds.Int64(), rest.Int64()), true
}

// milliseconds reads `offset`, a number or its text, of at most ten years.
func milliseconds(value []byte) (time.Duration, bool) {
	text := string(value)
	if quoted, ok := unquote(value); ok {
		text = quoted
	}
	number, ok := decimal(text)
	if !ok {
		return 0, false
	}
	number.Mul(number, big.NewRat(int64(time.Millisecond), 1))
	whole := new(big.Int).Div(number.Num(), number.Denom())
	const most = 10 * 366 * 24 * time.Hour
	if !whole.IsInt64() || time.Duration(whole.Int64()).Abs() > most {
		return 0, false
	}
	return time.Duration(whole.Int64()), true
}

// decimal reads digits with an optional sign and fraction. An exponent is refused: it could ask for any memory.
func decimal(text string) (*big.Rat, bool) {
	if text == "" || len(text) > 40 || strings.Trim(text, "0123456789.-") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}
