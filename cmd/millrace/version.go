package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/telemetry"
)

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Args:  exactly(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			build := telemetry.ReadBuild()
			if p.json {
				return p.printJSON(build)
			}
			fmt.Fprintf(p.out, "millrace %s, %s, %s\n", build.Version, build.Go, build.Platform)
			return nil
		},
	}
}
