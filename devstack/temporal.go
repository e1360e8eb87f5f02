package main

import (
	"context"
	"path/filepath"
	"strconv"
)

// temporalNamespace is the namespace that the dev server makes by itself.
const temporalNamespace = "default"

// Temporal is the dev server of Temporal's command line, with its UI.
type Temporal struct{}

// Name implements Part.
func (Temporal) Name() string { return "temporal" }

// Ports implements Part.
func (Temporal) Ports() []Port {
	return []Port{{Name: "temporal", Default: 7233}, {Name: "temporal-ui", Default: 8233, Scheme: "http"}}
}

// Tools implements Part.
func (Temporal) Tools() []Tool { return []Tool{temporalTool()} }

func temporalTool() GoTool {
	return GoTool{Binary: "temporal", Folder: "tools/temporal", Module: "github.com/temporalio/cli", Package: "github.com/temporalio/cli/cmd/temporal"}
}

// Command implements Part. State is kept in an SQLite file; it is told not to wait for the disk, since a
// dev world has to survive a killed process but not a power cut.
func (Temporal) Command(site Site) (Command, error) {
	database := "temporal.db"
	if own, ok := site.Installed["temporal"]; ok { // another server may have another schema
		database = "temporal-" + own.Version + ".db"
	}
	return Command{
		Program: site.Tools["temporal"],
		Args: []string{
			"server", "start-dev",
			"--ip", "127.0.0.1", "--port", strconv.Itoa(site.Ports["temporal"]),
			"--ui-ip", "127.0.0.1", "--ui-port", strconv.Itoa(site.Ports["temporal-ui"]),
			"--db-filename", filepath.Join(site.Dir, database),
			"--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=off",
			// Priority and fairness work on servers 1.29 and 1.30 only with both of these on.
			"--dynamic-config-value", "matching.useNewMatcher=true",
			"--dynamic-config-value", "matching.enableFairness=true",
			"--log-level", "warn",
			// A person's own ~/.config/temporalio must not steer the world.
			"--disable-config-file", "--disable-config-env",
		},
	}, nil
}

// Ready implements Part. The UI passes the call on to the server, so that one answer speaks for both.
func (Temporal) Ready(ctx context.Context, site Site) error {
	if err := dial(ctx, site.Addr("temporal")); err != nil {
		return err
	}
	return get(ctx, "http://"+site.Addr("temporal-ui")+"/api/v1/namespaces/"+temporalNamespace)
}

// Variables implements Part.
func (Temporal) Variables(site Site) []Variable {
	return []Variable{
		{"TEMPORAL_ADDRESS", site.Addr("temporal")},
		{"TEMPORAL_NAMESPACE", temporalNamespace},
		{"TEMPORAL_UI_URL", "http://" + site.Addr("temporal-ui")},
	}
}
