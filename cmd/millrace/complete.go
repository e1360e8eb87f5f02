package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/starter"
)

// completionTimeout is how long a shell may be kept waiting for names.
const completionTimeout = 2 * time.Second

// completeExports completes the names of the exports that have a schedule. What fails completes nothing.
func (p *program) completeExports(ctx context.Context, args []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	_ = p.withStarter(ctx, func(_ *temporal, s *starter.Starter) error {
		exports, err := s.Exports(ctx, 1)
		for _, export := range exports {
			names = append(names, cobra.CompletionWithDesc(export.Definition.Name, export.Definition.Title))
		}
		return err
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeConnections completes the names of the connections in the file.
func (p *program) completeConnections(args []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	env, err := config.ReadEnvironment()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	loaded, err := config.Load(p.file(env))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return loaded.ConnectionNames(), cobra.ShellCompDirectiveNoFileComp
}
