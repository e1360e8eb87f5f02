package export

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time that people write: "15m", "1h", "1d", "1w", "1h30m". In JSON it is a string of that
// form. A day is 24 hours here; a Grid knows better where a time zone has days of 23 and 25.
type Duration time.Duration

const (
	day  = 24 * time.Hour
	week = 7 * day
)

var wholeUnits = regexp.MustCompile(`^([0-9]{1,6})(d|w)$`)

// ParseDuration reads what a person wrote. Whole days and weeks stand alone ("1d", "2w"); everything else is as
// time.ParseDuration has it.
func ParseDuration(text string) (Duration, error) {
	if parts := wholeUnits.FindStringSubmatch(text); parts != nil {
		count, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("duration %q: %w", text, err)
		}
		unit := day
		if parts[2] == "w" {
			unit = week
		}
		if count > int64((1<<63-1)/unit) {
			return 0, fmt.Errorf("duration %q is longer than 292 years", text)
		}
		return Duration(time.Duration(count) * unit), nil
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("duration %q is not of a form like \"15m\", \"1h\", \"1d\" or \"1w\"", text)
	}
	return Duration(length), nil
}

// String gives the shortest form that ParseDuration reads back: "1w", "1d", "1h", "15m", "1h30m".
func (d Duration) String() string {
	length := time.Duration(d)
	switch {
	case length != 0 && length%week == 0:
		return strconv.FormatInt(int64(length/week), 10) + "w"
	case length != 0 && length%day == 0:
		return strconv.FormatInt(int64(length/day), 10) + "d"
	}
	text := length.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalJSON writes the form of String.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the form of ParseDuration; a bare number is refused, for its unit would be a guess.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("duration %s must be a string like \"15m\"", data)
	}
	parsed, err := ParseDuration(text)
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}
