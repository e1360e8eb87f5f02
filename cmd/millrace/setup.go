package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/namespace"
	"github.com/millrace/millrace/workflows"
)

// The parts of the outside world that setup prepares.
const (
	partTables     = "tables"
	partTopic      = "topic"
	partAttributes = "search-attributes"
)

var setupParts = []string{partTables, partTopic, partAttributes}

// prepared is what setup did to one part.
type prepared struct {
	Part string `json:"part"`
	// Changed is false when everything was there.
	Changed  bool     `json:"changed"`
	Detail   string   `json:"detail"`
	Warnings []string `json:"warnings,omitempty"`
}

func (p *program) setup() *cobra.Command {
	var only []string
	var wanted broker.Settings
	command := &cobra.Command{
		Use:   "setup",
		Short: "Create tables, topic and search attributes; safe to call again",
		Long: `Create, or upgrade, what Millrace needs outside: the tables in ClickHouse, the topic in Kafka, and
the search attributes in Temporal's namespace. What is there already is left alone, so it may be
called at any time and by several at once. An existing topic is never changed; where it differs from
what Millrace would choose, that is said.`,
		Example: `  millrace setup
  millrace setup --only tables,topic
  millrace setup --only topic --partitions 32 --replication-factor 3`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, part := range only {
				if !slices.Contains(setupParts, part) {
					return usagef("--only: %q is no part: the parts are %s", part, strings.Join(setupParts, ", "))
				}
			}
			env, err := config.ReadEnvironment()
			if err != nil {
				return err
			}
			done, err := setUp(cmd.Context(), env, only, wanted)
			if done == nil {
				return err
			}
			if p.json {
				if err := p.printJSON(done); err != nil {
					return err
				}
			} else {
				printPrepared(p, done)
			}
			return err
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&only, "only", setupParts, "the `parts` to prepare")
	flags.IntVar(&wanted.Partitions, "partitions", broker.DefaultPartitions, "how many partitions a new topic gets")
	flags.IntVar(&wanted.ReplicationFactor, "replication-factor", 0, "on how many brokers a new topic lies (default 3, or all if there are fewer)")
	flags.IntVar(&wanted.MinInsyncReplicas, "min-insync-replicas", 0, "how many replicas of a new topic must have an event before it counts (default 2, or 1 with one replica)")
	wanted.Retention = broker.DefaultRetention
	flags.Var((*durationFlag)(&wanted.Retention), "retention", "how long a new topic keeps events")
	return command
}

// durationFlag is a duration as people write it everywhere else: 15m, 1h, 7d.
type durationFlag time.Duration

func (d *durationFlag) String() string { return export.Duration(*d).String() }
func (d *durationFlag) Type() string   { return "duration" }
func (d *durationFlag) Set(text string) error {
	length, err := export.ParseDuration(text)
	*d = durationFlag(length)
	return err
}

func printPrepared(p *program, done []prepared) {
	var rows [][]string
	for _, part := range done {
		state := "was there"
		if part.Changed {
			state = "created"
		}
		rows = append(rows, []string{part.Part, state, part.Detail})
	}
	if len(rows) > 0 {
		printTable(p.out, []string{"PART", "STATE", "DETAIL"}, rows)
	}
	for _, part := range done {
		for _, warning := range part.Warnings {
			fmt.Fprintf(p.err, "warning: %s: %s\n", part.Part, warning)
		}
	}
}

// setupTimeout bounds the preparation of one part.
const setupTimeout = time.Minute

// setUp prepares the named parts, one after the other. A part that fails does not keep the next from being prepared;
// the error tells all failures. A missing variable is an error before anything is done, and then the list is nil.
func setUp(ctx context.Context, env config.Environment, parts []string, wanted broker.Settings) ([]prepared, error) {
	var missing []string
	if slices.Contains(parts, partTables) {
		missing = append(missing, config.VarClickHouseURL, config.VarClickHouseHTTPURL)
	}
	if slices.Contains(parts, partTopic) {
		missing = append(missing, config.VarKafkaBrokers)
	}
	if err := env.Need(missing...); err != nil {
		return nil, err
	}
	done := []prepared{}
	var failures []error
	for _, part := range parts {
		ctx, cancel := context.WithTimeout(ctx, setupTimeout)
		result, err := setUpPart(ctx, env, part, wanted)
		cancel()
		if err != nil {
			failures = append(failures, fmt.Errorf("set up %s: %w", part, explainServers(err)))
			continue
		}
		result.Part = part
		done = append(done, result)
	}
	return done, errors.Join(failures...)
}

func setUpPart(ctx context.Context, env config.Environment, part string, wanted broker.Settings) (prepared, error) {
	switch part {
	case partTables:
		return setUpTables(ctx, env)
	case partTopic:
		return setUpTopic(ctx, env, wanted)
	}
	return setUpAttributes(ctx, env)
}

func setUpTables(ctx context.Context, env config.Environment) (prepared, error) {
	store, err := openStore(ctx, env)
	if err != nil {
		return prepared{}, err
	}
	defer store.Close()
	steps, err := store.Setup(ctx)
	if err != nil {
		return prepared{}, err
	}
	var result prepared
	for _, step := range steps {
		result.Changed = result.Changed || step.New
		result.Detail = fmt.Sprintf("database %s at version %d", store.Database(), step.Version)
	}
	return result, nil
}

func setUpTopic(ctx context.Context, env config.Environment, wanted broker.Settings) (prepared, error) {
	ensured, err := broker.EnsureTopic(ctx, brokerConfig(env), wanted)
	if err != nil {
		return prepared{}, err
	}
	settings := ensured.Topic.Settings
	return prepared{
		Changed:  ensured.Created,
		Detail:   fmt.Sprintf("%s: %d partitions, %d replicas, kept for %s", ensured.Topic.Name, settings.Partitions, settings.ReplicationFactor, export.Duration(settings.Retention)),
		Warnings: append(ensured.Differences, ensured.Topic.Warnings()...),
	}, nil
}

func setUpAttributes(ctx context.Context, env config.Environment) (prepared, error) {
	connected, err := dialTemporal(ctx, env, quiet())
	if err != nil {
		return prepared{}, err
	}
	defer connected.Close()
	created, err := namespace.Create(ctx, connected.Client, connected.namespace, workflows.SearchAttributes())
	if err != nil {
		return prepared{}, connected.explain(err)
	}
	return prepared{
		Changed: len(created) > 0,
		Detail:  fmt.Sprintf("%d in namespace %s", len(workflows.SearchAttributes()), connected.namespace),
	}, nil
}

// logSetup tells the log of a process what its own setup did.
func logSetup(log *slog.Logger, done []prepared) {
	for _, part := range done {
		log.Info("set up", "part", part.Part, "changed", part.Changed, "detail", part.Detail)
		for _, warning := range part.Warnings {
			log.Warn(warning, "part", part.Part)
		}
	}
}

func brokerConfig(env config.Environment) broker.Config {
	return broker.Config{Brokers: env.KafkaBrokers, Topic: env.KafkaTopic}.WithDefaults()
}
