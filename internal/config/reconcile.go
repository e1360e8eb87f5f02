package config

import (
	"encoding/json"

	"github.com/millrace/millrace/export"
)

// setReconcile reads the section; a file without it has nothing reconciled by itself.
func (c *Config) setReconcile(raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	at := field("").key("reconcile")
	var nightly export.Nightly
	if err := c.source.decode(raw, &nightly, at); err != nil {
		return err
	}
	if err := nightly.Validate(); err != nil {
		return c.source.errorf(at, "%w", err)
	}
	c.Reconcile = &nightly
	return nil
}
