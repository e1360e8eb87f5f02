//go:build world

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/testworld"
)

// What people see before anything has run: which topic the watermark waits for, by name, what is not known and why, and
// how to begin.
func TestStatusAndRunsBeforeAnythingRan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(exitDone, "setup")
	if out, _ := w.do(exitDone, "runs", "--failed"); out != noRuns(eventstore.RunFilter{}, nil)+"\n" {
		t.Errorf("runs of an empty ledger says\n%s", out)
	}
	topic, err := broker.Describe(t.Context(), broker.Config{Brokers: broker.ParseBrokers(testworld.Env(t, config.VarKafkaBrokers)), Topic: w.namespace})
	if err != nil {
		t.Fatal(err)
	}
	store, err := eventstore.Open(t.Context(), w.events)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	// A loader that has taken one partition of eight.
	mark := eventstore.Mark{Topic: topic.ID, Source: topic.Source(0), Partitions: 8, New: true, Owner: "loader-1"}
	if err := store.PublishWatermarks(t.Context(), []eventstore.Mark{mark}); err != nil {
		t.Fatal(err)
	}
	waits := fmt.Sprintf("no watermark yet: partition 0 of 8 of the topic with id %s is new: its loader loader-1 has not begun; ", topic.ID)
	noExports := "\nThere are no exports yet: make some with `millrace apply -f " + w.file + "`.\n"
	for _, test := range []struct {
		environment []string // over the world's
		want        string
	}{
		{nil, waits + "it is " + topic.Name + "\n" + noExports},
		{[]string{config.VarKafkaBrokers + "="}, waits + "its name is not known, for MILLRACE_KAFKA_BROKERS is not set\n" + noExports},
		{[]string{config.VarKafkaTopic + "=elsewhere"}, waits + "its name is not known: topic elsewhere: the kafka topic is not there: run `millrace setup` to make it\n" + noExports},
		{[]string{config.VarClickHouseURL + "="}, "watermark not known: MILLRACE_CLICKHOUSE_URL is not set: give the address of your own server; " + config.DevWorld + "\n" + noExports},
	} {
		w := *w
		w.environment = append(slices.Clone(w.environment), test.environment...)
		if out, _ := w.do(exitDone, "status"); out != test.want {
			t.Errorf("with %v status says\n%swant\n%s", test.environment, out, test.want)
		}
	}
	var answer statusAnswer
	w.environment = append(w.environment, config.VarClickHouseURL+"=")
	w.doJSON(&answer, exitDone, "status")
	if !answer.Watermark.Unknown || answer.Watermark.Reason == "" {
		t.Errorf("without ClickHouse's address: %+v", answer)
	}
	// Another file than the environment names is told as it was given.
	mine := w.file + ".mine"
	if err := os.Rename(w.file, mine); err != nil {
		t.Fatal(err)
	}
	if out, _ := w.do(exitDone, "status", "--config", mine); !strings.HasSuffix(out, "make some with `millrace apply -f "+mine+"`.\n") {
		t.Errorf("status says\n%s", out)
	}
	if _, message := w.do(exitUsage, "status", "shop-events", "--config", mine); message != "millrace: no export is named \"shop-events\": there are none yet; create it with `millrace apply -f "+mine+"`\n" {
		t.Errorf("status of an unknown export says %s", message)
	}
}
