//go:build tools

// Package temporal pins the Temporal command line, which holds the dev server and its UI.
package temporal

import _ "github.com/temporalio/cli/cmd/temporal"
