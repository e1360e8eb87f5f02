package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/governor"
)

// Backfills is how much of the machine the runs of the past may take, in each worker.
type Backfills struct {
	// These four are governor.Budget's.
	RowsPerSecond      float64 `json:"rows_per_second,omitempty"`
	MegabytesPerSecond float64 `json:"megabytes_per_second,omitempty"`
	Hours              string  `json:"hours,omitempty"`
	TimeZone           string  `json:"time_zone,omitempty"`
	// ClickHouse are settings of ClickHouse for what these runs read, by their names; see settingsOfReads. Without any they
	// have the lower priority alone.
	ClickHouse map[string]settingValue `json:"clickhouse,omitempty"`
}

// settingValue is a setting's value as ClickHouse reads it.
type settingValue string

// UnmarshalJSON reads a number or a text.
func (v *settingValue) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*v = settingValue(text)
		return nil
	}
	var number json.Number
	if err := json.Unmarshal(data, &number); err != nil {
		return fmt.Errorf("a setting is a number or a text: %w", err)
	}
	*v = settingValue(number)
	return nil
}

// settingsOfReads may be set for what backfills read. None of them changes what is read.
var settingsOfReads = []string{"max_memory_usage", "max_network_bandwidth", "max_threads", "priority", "workload"}

// Budget is what the user allows.
func (b Backfills) Budget() governor.Budget {
	return governor.Budget{RowsPerSecond: b.RowsPerSecond, MegabytesPerSecond: b.MegabytesPerSecond, Hours: b.Hours, TimeZone: b.TimeZone}
}

// Reads are the settings of ClickHouse.
func (b Backfills) Reads() map[string]string {
	reads := map[string]string{}
	for name, value := range b.ClickHouse {
		reads[name] = string(value)
	}
	return reads
}

func (b Backfills) set() bool { return b.Budget() != (governor.Budget{}) || len(b.ClickHouse) > 0 }

// setBackfills reads the section; a file without it leaves everything as it is.
func (c *Config) setBackfills(raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	at := field("").key("backfills")
	if err := c.source.decode(raw, &c.Backfills, at); err != nil {
		return err
	}
	if err := c.Backfills.Budget().Validate(); err != nil {
		return c.source.errorf(at, "%w", err)
	}
	for name := range c.Backfills.ClickHouse {
		if !slices.Contains(settingsOfReads, name) {
			return c.source.errorf(at.key("clickhouse").key(name), "is no setting of ClickHouse that may be changed here: those are %s", strings.Join(settingsOfReads, ", "))
		}
	}
	return nil
}
