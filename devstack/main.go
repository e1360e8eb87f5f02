// Command devstack starts the systems that Millrace talks to, runs a command among them, and takes them
// down again. See docs/devstack.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) > 0 {
		if code, ok := runHidden(args[0], args[1:]); ok {
			return code
		}
	}
	options, err := parseOptions(args, os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		say("%v", err)
		return 2
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	toolbox, err := openToolbox(say)
	if err != nil {
		say("%v", err)
		return 1
	}
	if options.BuildOnly {
		return buildOnly(options, toolbox, signals)
	}
	world, err := newWorld(options, toolbox)
	if err != nil {
		say("%v", err)
		return 1
	}
	return world.run(signals)
}

// runHidden runs the sub-commands that devstack starts itself as: parts that are libraries, and the guard.
func runHidden(name string, args []string) (code int, ok bool) {
	var err error
	switch name {
	case serveClickHouse:
		err = runServeClickHouse(args)
	case serveKafka:
		err = runServeKafka(args)
	case serveApacheKafka:
		err = runServeApacheKafka(args)
	case mindPostgres:
		err = runMindPostgres(args)
	case servePostgres:
		err = runServePostgres(args)
	case serveToxiproxy:
		err = runServeToxiproxy(args)
	case guardCommand:
		err = runGuard(os.Stdin)
	default:
		return 0, false
	}
	if err != nil {
		say("%s: %v", name, err)
		return 1, true
	}
	return 0, true
}

func buildOnly(options Options, toolbox *Toolbox, signals <-chan os.Signal) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		s := <-signals
		cancel(fmt.Errorf("stopped by %v", s))
	}()
	var tools []Tool
	for _, part := range options.chosenParts() {
		tools = append(tools, part.Tools()...)
	}
	files := make([]string, len(tools))
	errs := make([]error, len(tools))
	var all sync.WaitGroup
	for i, tool := range tools {
		all.Go(func() { files[i], errs[i] = toolbox.Provide(ctx, tool) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		say("%v", err)
		return 1
	}
	for i, tool := range tools {
		fmt.Printf("%-10s %s\n", tool.Name(), files[i])
	}
	return 0
}

var sayMu sync.Mutex

// say writes a line for people to standard error, which leaves standard output to COMMAND.
func say(format string, args ...any) {
	sayMu.Lock()
	defer sayMu.Unlock()
	fmt.Fprintf(os.Stderr, "devstack: "+format+"\n", args...)
}
