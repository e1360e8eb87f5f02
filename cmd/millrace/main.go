// Command millrace carries events into ClickHouse and out of it again. Its commands are thin doors: the work is done
// by the packages ingest/capture, ingest/loader, worker and starter.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	go stopBySignals(cancel)
	os.Exit(execute(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// stopBySignals asks the command to end when the first signal comes, and ends the process at the second.
func stopBySignals(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	first := <-signals
	cancel(stopped{first})
	second := <-signals
	fmt.Fprintf(os.Stderr, "millrace: %v again: stopped at once, without draining\n", second)
	os.Exit(exitStopped)
}

// stopped is why the context of a command ended: somebody sent a signal.
type stopped struct{ signal os.Signal }

func (s stopped) Error() string { return fmt.Sprintf("stopped by signal: %v", s.signal) }
