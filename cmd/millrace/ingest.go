package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/config"
)

// ingestAnswer is the answer of ingest status.
type ingestAnswer struct {
	Watermark  watermarkStatus    `json:"watermark"`
	Partitions []loader.Partition `json:"partitions"`
	// Topics are those on the roster, by id: all of them hold the watermark.
	Topics []string `json:"topics"`
}

// withOperator opens what the commands of ingest look at.
func (p *program) withOperator(do func(config.Environment, *eventstore.Store, *loader.Operator) error) error {
	env, err := needs(config.VarClickHouseURL, config.VarClickHouseHTTPURL, config.VarKafkaBrokers)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return withStore(context.Background(), env, func(store *eventstore.Store) error {
		operator, err := loader.OpenOperator(store, brokerConfig(env), loaderGroup(env), "an operator at "+host)
		if err != nil {
			return err
		}
		defer operator.Close()
		return do(env, store, operator)
	})
}

func (p *program) ingestStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show each partition: owner, lag, plan, watermark, and what it waits for",
		Long: `Show where each partition of the topic stands: who loads it, how far it is behind Kafka, whether a
block is being inserted, its published watermark, and why it would stop and wait for people. Exports
wait for the partition with the least watermark.`,
		Example: `  millrace ingest status
  millrace ingest status --json`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withOperator(func(env config.Environment, store *eventstore.Store, operator *loader.Operator) error {
				answer := ingestAnswer{Topics: []string{}}
				var err error
				if answer.Partitions, err = operator.Partitions(cmd.Context()); err != nil {
					return err
				}
				mark, err := store.Watermark(cmd.Context())
				if err != nil {
					return err
				}
				if answer.Watermark, err = watermarkOf(cmd.Context(), env, store, mark); err != nil {
					return err
				}
				for _, m := range mark.Marks {
					if !m.IsRetired() {
						answer.Topics = append(answer.Topics, m.Topic)
					}
				}
				answer.Topics = slices.Compact(answer.Topics)
				if p.json {
					return p.printJSON(answer)
				}
				p.printIngest(answer)
				return nil
			})
		},
	}
}

func (p *program) printIngest(answer ingestAnswer) {
	fmt.Fprint(p.out, answer.Watermark)
	if answer.Watermark.At != nil {
		fmt.Fprintf(p.out, ", held by %s", answer.Watermark.HeldBy)
	}
	fmt.Fprintln(p.out)
	fmt.Fprintf(p.out, "topics on the roster: %s\n\n", strings.Join(answer.Topics, ", "))
	var rows [][]string
	for _, partition := range answer.Partitions {
		owner, watermark, plan := "nobody", "-", "-"
		if partition.Owner != "" {
			owner = partition.Owner
		} else if partition.Host != "" {
			owner = partition.Host
		}
		if partition.Watermark != nil {
			watermark = clock(*partition.Watermark)
		}
		if open := partition.Plan; open != nil {
			plan = fmt.Sprintf("to %d, try %d", open.End, open.Try)
		}
		rows = append(rows, []string{fmt.Sprint(partition.Partition), owner, fmt.Sprint(partition.Next), count(uint64(max(0, partition.Lag))), plan, watermark, partition.Doubt})
	}
	printTable(p.out, []string{"PARTITION", "OWNER", "NEXT", "LAG", "PLAN", "WATERMARK", "WAITS FOR PEOPLE"}, rows)
}

func (p *program) ingestRepair() *cobra.Command {
	var partition int32
	var offset int64
	var yes bool
	command := &cobra.Command{
		Use:   "repair --partition NUMBER",
		Short: "Let a partition that waits for people go on; shows the cost and asks",
		Long: `Decide where a partition goes on whose loader has stopped for people. Unless --offset says otherwise
that is after the last row, and the last published offset, that ClickHouse has. What would be given
up or loaded twice is shown first, and asked about.

All loaders of the group have to be stopped meanwhile: Kafka refuses the change otherwise. While a
copy of the last block may still be taken by ClickHouse, twelve minutes at most, it is refused too.`,
		Example: `  millrace ingest repair --partition 3
  millrace ingest repair --partition 3 --offset 120000 --yes`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case !cmd.Flags().Changed("partition"):
				return usagef("--partition is missing: `millrace ingest status` shows which one waits")
			case cmd.Flags().Changed("offset") && offset < 0:
				return usagef("--offset: %d must be 0 or more", offset)
			case p.json && !yes:
				return usagef("--json cannot ask: give --yes")
			}
			return p.withOperator(func(_ config.Environment, _ *eventstore.Store, operator *loader.Operator) error {
				proposal, err := operator.Propose(cmd.Context(), partition, offset)
				if err != nil {
					return err
				}
				if !p.json {
					p.printMending(proposal)
				}
				if !yes {
					if err := p.ask(fmt.Sprintf("Let partition %d go on at offset %d? [y/N] ", partition, proposal.Offset), "--yes to repair"); err != nil {
						return err
					}
				}
				if err := operator.Mend(cmd.Context(), proposal); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(proposal)
				}
				fmt.Fprintf(p.out, "partition %d goes on at offset %d when a loader takes it\n", partition, proposal.Offset)
				return nil
			})
		},
	}
	command.Flags().Int32Var(&partition, "partition", 0, "the `number` of the partition")
	command.Flags().Int64Var(&offset, "offset", -1, "go on at this `offset` (default after what ClickHouse has)")
	command.Flags().BoolVarP(&yes, "yes", "y", false, "do it without asking")
	return command
}

func (p *program) printMending(m loader.Mending) {
	if m.Partition.Doubt != "" {
		fmt.Fprintf(p.out, "partition %d: %s\n", m.Partition.Partition, m.Partition.Doubt)
	}
	fmt.Fprintf(p.out, "  the group is at %d, clickhouse has everything before %d, kafka's log holds %d to %d\n",
		m.Partition.Next, m.Loaded, m.Partition.Start, m.Partition.End)
	fmt.Fprintf(p.out, "  it would go on at %d, with watermark %s\n", m.Offset, m.Watermark.Format(time.RFC3339Nano))
	if m.Skipped > 0 {
		fmt.Fprintf(p.out, "  %s messages are given up: they are not in clickhouse, and will not be\n", count(uint64(m.Skipped)))
	}
	if m.Repeated > 0 {
		fmt.Fprintf(p.out, "  %s offsets are taken again: rows that are in clickhouse will be there twice, unless kafka has other messages there now\n", count(uint64(m.Repeated)))
	}
}

func (p *program) ingestRetire() *cobra.Command {
	var lost, yes bool
	command := &cobra.Command{
		Use:   "retire TOPIC-ID",
		Short: "Take a topic off the roster, so that the watermark no longer waits for it; asks",
		Long: `Take the partitions of a topic off the roster, so that exports no longer wait for them. The topic is
named by its id, as ingest status shows it. It must be the one of $MILLRACE_KAFKA_TOPIC, drained,
and its loaders stopped. A topic that was deleted cannot be looked at: --lost says that what was not
loaded of it is given up, and records how far it was.`,
		Example: `  millrace ingest retire 3vJ8qfQVTvG6Q6GTtqBYoQ --lost`,
		Args:    exactly(1, "the id of a topic"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if p.json && !yes {
				return usagef("--json cannot ask: give --yes")
			}
			return p.withOperator(func(_ config.Environment, _ *eventstore.Store, operator *loader.Operator) error {
				proposal, err := operator.ProposeRetirement(cmd.Context(), args[0], lost)
				if err != nil {
					return err
				}
				if !p.json {
					fmt.Fprintf(p.out, "topic %s ends at the offsets %v of its partitions; exports no longer wait for it\n", proposal.Topic, proposal.Offsets)
				}
				if !yes {
					if err := p.ask("Take it off the roster? [y/N] ", "--yes to retire"); err != nil {
						return err
					}
				}
				if err := operator.Retire(cmd.Context(), proposal); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(proposal)
				}
				fmt.Fprintln(p.out, "retired")
				return nil
			})
		},
	}
	command.Flags().BoolVar(&lost, "lost", false, "the topic was deleted, and what was not loaded of it is given up")
	command.Flags().BoolVarP(&yes, "yes", "y", false, "do it without asking")
	return command
}
