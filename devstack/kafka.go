package main

import (
	"context"
	"path/filepath"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Kafka is kfake, a broker that speaks Kafka's protocol and keeps its log on disk, served by a process of
// this same program.
type Kafka struct{}

// Name implements Part.
func (Kafka) Name() string { return "kafka" }

// Ports implements Part.
func (Kafka) Ports() []Port { return []Port{{Name: "kafka", Default: 9092}} }

// Tools implements Part: none, the broker is linked into devstack.
func (Kafka) Tools() []Tool { return nil }

// Command implements Part.
func (Kafka) Command(site Site) (Command, error) {
	self, err := ownProgram()
	if err != nil {
		return Command{}, err
	}
	return Command{Program: self, Args: []string{serveKafka, strconv.Itoa(site.Ports["kafka"]), filepath.Join(site.Dir, "data"), site.Advertised("kafka")}}, nil
}

// Ready implements Part: the broker answers with its metadata.
func (Kafka) Ready(ctx context.Context, site Site) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(site.Addr("kafka")), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Ping(ctx)
}

// Variables implements Part.
func (Kafka) Variables(site Site) []Variable {
	return []Variable{{"MILLRACE_KAFKA_BROKERS", site.Addr("kafka")}}
}
