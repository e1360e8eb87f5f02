package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// serveKafka is the hidden sub-command whose process is the Kafka broker.
const serveKafka = "serve-kafka"

// runServeKafka serves until SIGTERM or SIGINT. Topics are not made by using them, as on a broker that is
// run with care; a topic made without a number of partitions has 8, as ours.
func runServeKafka(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want a port and a folder, got %q", args)
	}
	port, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("read the port: %w", err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	broker, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.Ports(port),
		kfake.DataDir(args[1]),
		kfake.DefaultNumPartitions(8),
		// Tests of a lost consumer should not have to wait for Kafka's usual 6 s.
		kfake.GroupMinSessionTimeout(time.Second),
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, kfake.LogLevelWarn)),
	)
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	<-stop
	broker.Close()
	return nil
}
