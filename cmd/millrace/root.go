package main

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/telemetry"
)

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// program is one call of millrace: what its commands share.
type program struct {
	stdio
	json       bool
	configPath string
	logLevel   string
}

// execute runs a command line and returns its exit code.
func execute(ctx context.Context, args []string, std stdio) int {
	p := &program{stdio: std}
	root := p.root()
	root.SetArgs(append([]string{}, args...)) // nil would mean os.Args
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	err := root.ExecuteContext(ctx)
	code := exitCode(ctx, err)
	if err != nil {
		printError(std.err, p.json, err, code)
	}
	return code
}

const rootLong = `Millrace carries events into ClickHouse and out of it again, whole intervals at a time, and can
prove that none was lost on the way.

Addresses come from the environment; bin/devstack starts everything on this machine and prints it:
  MILLRACE_CLICKHOUSE_URL       clickhouse://user:password@host:port/database
  MILLRACE_CLICKHOUSE_HTTP_URL  http://host:port, the same server
  MILLRACE_KAFKA_BROKERS        host:port, several separated by commas
  MILLRACE_KAFKA_TOPIC          the topic of the events (default millrace.events)
  TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and the other variables of Temporal's own command line
  TEMPORAL_UI_URL               for links to runs
  MILLRACE_CODEC_KEYS           encrypt what goes to Temporal: id=env:NAME or id=file:PATH, several
                                separated by commas; the first encrypts. docs/encryption.md
  MILLRACE_CONFIG               the file of teams, connections and exports (default millrace.yaml)

Exit codes: 0 done; 1 something outside failed; 2 the command line, a file or the environment is
wrong; 3 it worked and the answer is no, such as a failed run or check; 130 stopped by a signal.`

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "millrace",
		Short:         "Events into ClickHouse and out again, with proof",
		Long:          rootLong,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			var names []string
			for _, command := range cmd.Commands() {
				if command.IsAvailableCommand() {
					names = append(names, command.Name())
				}
			}
			return usagef("%q is no command: the commands are %s", args[0], strings.Join(names, ", "))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.BoolVar(&p.json, "json", false, "print JSON for programs instead of tables for people")
	flags.StringVarP(&p.configPath, "config", "c", "", "the `file` of teams, connections and exports (default $MILLRACE_CONFIG, or millrace.yaml)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w: see `%s --help`", err, cmd.CommandPath())
	})
	root.SetUsageTemplate(usageTemplate)
	root.AddGroup(
		&cobra.Group{ID: groupServe, Title: "Processes that stay up:"},
		&cobra.Group{ID: groupWork, Title: "Work with exports:"},
	)
	root.AddCommand(
		p.up(), p.ingest(), p.worker(), p.codec(),
		p.apply(), p.estimate(), p.run(), p.backfill(), p.pause(), p.resume(), p.delete(), p.status(), p.runs(), p.reconcile(), p.verify(), p.check(),
		p.setup(), p.version(),
	)
	return root
}

const (
	groupServe = "serve"
	groupWork  = "work"
)

// usageTemplate is cobra's, shorter, and with flags wrapped at 100 columns.
const usageTemplate = `Usage:
{{- if and .HasParent .Runnable}}
  {{.UseLine}}{{end}}
{{- if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}{{end}}
{{- if .HasAvailableSubCommands}}{{$commands := .Commands}}{{range $group := .Groups}}

{{.Title}}{{range $commands}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}

{{if .HasParent}}Commands:{{else}}Other commands:{{end}}{{range $commands}}{{if (and (eq .GroupID "") .IsAvailableCommand)}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped 100 | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsagesWrapped 100 | trimTrailingWhitespaces}}{{end}}
`

// exactly is a check of arguments that says what is wanted.
func exactly(count int, wanted string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != count {
			return usagef("%s takes %s, but there are %d: see `%s --help`", cmd.CommandPath(), wanted, len(args), cmd.CommandPath())
		}
		return nil
	}
}

// atMostOne is a check of arguments that says what is wanted.
func atMostOne(wanted string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return exactly(1, "at most "+wanted)(cmd, args)
		}
		return nil
	}
}

// log is the logger of a process that stays up.
func (p *program) log() (*slog.Logger, error) {
	level, err := telemetry.ParseLevel(p.logLevel)
	if err != nil {
		return nil, usageError{err}
	}
	return telemetry.NewLogger(p.err, level), nil
}

// file is the configuration's path: by flag, else by environment.
func (p *program) file(env config.Environment) string {
	if p.configPath != "" {
		return p.configPath
	}
	return env.ConfigPath
}
