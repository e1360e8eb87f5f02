//go:build tools

// Package workflowcheck pins the analyser that finds what is not deterministic in workflow code.
package workflowcheck

import _ "go.temporal.io/sdk/contrib/tools/workflowcheck"
