//go:build tools

// Package tctl pins the retired Temporal command line; a test in CI runs the one line of docs/temporal.md that names it.
package tctl

import _ "github.com/temporalio/tctl/cmd/tctl"
