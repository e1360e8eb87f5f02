package config

import (
	"encoding/json"
	"fmt"

	"github.com/millrace/millrace/export"
)

// Redacted is the configuration for printing: JSON of the file's shape, in which secrets stand as the references they
// are, and of a team's token only as much as it takes to recognise it.
func (c *Config) Redacted() (json.RawMessage, error) {
	shown := struct {
		Teams       []Team                       `json:"teams,omitempty"`
		Connections []map[string]json.RawMessage `json:"connections,omitempty"`
		Exports     []export.Definition          `json:"exports,omitempty"`
		Backfills   *Backfills                   `json:"backfills,omitempty"`
	}{Exports: c.Exports}
	if c.Backfills.set() {
		shown.Backfills = &c.Backfills
	}
	for _, team := range c.Teams {
		team.Token = recognisable(team.Token)
		shown.Teams = append(shown.Teams, team)
	}
	for _, connection := range c.connections {
		name, err := json.Marshal(connection.name)
		if err != nil {
			return nil, fmt.Errorf("encode connection's name: %w", err)
		}
		shown.Connections = append(shown.Connections, map[string]json.RawMessage{"name": name, connection.kind: connection.block})
	}
	printed, err := json.MarshalIndent(shown, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return printed, nil
}

// recognisable is the first quarter of a token, at most eight letters.
func recognisable(token string) string {
	shown := []rune(token)
	return string(shown[:min(len(shown)/4, 8)]) + "…"
}
