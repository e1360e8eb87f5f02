package main

import (
	"fmt"
	"net"
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
	if len(args) != 3 {
		return fmt.Errorf("want a port, a folder and the address for clients, got %q", args)
	}
	port, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("read the port: %w", err)
	}
	advertised, err := net.ResolveTCPAddr("tcp", args[2])
	if err != nil {
		return fmt.Errorf("read the address for clients: %w", err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	broker, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.Ports(port),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			listener, err := net.Listen(network, address)
			return advertising{listener, advertised}, err
		}),
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

// advertising is a listener that gives another address out: kfake tells clients the address of its listener, and a proxy
// in front of it is where they shall come to.
type advertising struct {
	net.Listener
	address net.Addr
}

// Addr is the address for clients.
func (a advertising) Addr() net.Addr { return a.address }
