// Command demo shows Millrace at work: real events go in by HTTP and come out as files in S3, and every one of them is
// held against what was sent. `make demo` calls it; see README.md beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Options are what the command line says.
type Options struct {
	Stay   bool   // leave everything up until Ctrl-C
	Then   string // a shell command to run in the demo's world after the report
	Inside bool   // devstack has called it, the world is up
	// Began and SetUpUntil are when the demo was called, and when everything was built.
	Began, SetUpUntil time.Time
}

const usage = `demo sends 200,000 flights through the real posthog-go client into Millrace, has Temporal export
them to S3 every minute, reads all files back in two ways and compares them with what was sent.

Usage, in the root of the repository:
  make demo             builds what is missing, and runs it
  make demo STAY=1      leaves everything up afterwards, until Ctrl-C

Flags of bin/demo:
  --stay                as STAY=1
  --then COMMAND        run a shell command after the report, while everything is still up; it finds
                        the addresses, DEMO_SCHEDULE_URL and DEMO_RUN_URL in its environment
`

func main() { os.Exit(demo(os.Args[1:])) }

func demo(arguments []string) int {
	options, err := parseOptions(arguments)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		return 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v; see bin/demo --help\n", err)
		return 2
	}
	progress := &Progress{out: os.Stderr, began: options.Began}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !options.Inside {
		err = launch(ctx, progress, options)
	} else {
		err = inside(ctx, progress, options)
	}
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "demo: stopped before it was done; its world and its log are removed, what was built stays")
		return 130
	}
	fmt.Fprintf(os.Stderr, "demo: %v\n", err)
	return 1
}

func parseOptions(arguments []string) (Options, error) {
	options := Options{Began: time.Now(), SetUpUntil: time.Now()}
	if seconds, err := strconv.ParseInt(os.Getenv("DEMO_BEGAN"), 10, 64); err == nil { // by make, before it built this program
		options.Began = time.Unix(seconds, 0)
	}
	instant := func(into *time.Time) func(string) error {
		return func(text string) error {
			milliseconds, err := strconv.ParseInt(text, 10, 64)
			*into = time.UnixMilli(milliseconds)
			return err
		}
	}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(discard{})
	flags.BoolVar(&options.Stay, "stay", false, "")
	flags.StringVar(&options.Then, "then", "", "")
	flags.BoolVar(&options.Inside, "inside", false, "")
	flags.Func("began", "", instant(&options.Began))
	flags.Func("set-up-until", "", instant(&options.SetUpUntil))
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	if flags.NArg() > 0 {
		return options, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return options, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// inside is the demo in a world that is up.
func inside(ctx context.Context, progress *Progress, options Options) (err error) {
	world, err := readWorld()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "millrace-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the log: %w", err)
	}
	signalled := ctx
	defer func() { err = leave(dir, err, signalled.Err() != nil) }()
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	log := filepath.Join(dir, "millrace.log")
	progress.Say("starting millrace up --config %s; its log is %s", configFile, log)
	product, err := startProduct(log, lost)
	if err != nil {
		return err
	}
	defer func() {
		progress.Say("stopping millrace")
		err = errors.Join(err, product.Stop())
	}()
	job := &Job{world: world, lake: openLake(world), product: product, progress: progress}
	if err := job.prepare(); err != nil {
		return err
	}
	if err := product.AwaitReady(ctx); err != nil {
		return err
	}
	jobBegan := time.Now()
	result, err := job.run(ctx)
	if err != nil {
		return err
	}
	times := Times{
		SetUp: options.SetUpUntil.Sub(options.Began), World: jobBegan.Sub(options.SetUpUntil), Job: time.Since(jobBegan),
	}
	report(os.Stdout, result, times, options.Stay || options.Then != "")
	if err := times.keepCold(); err != nil {
		progress.Say("note the time of this cold start: %v", err)
	}
	if !result.OK() {
		err = errors.New("what came back is not what was sent: see the report above")
	}
	if options.Then != "" && err == nil {
		err = then(ctx, options.Then, result)
	}
	if options.Stay && ctx.Err() == nil {
		fmt.Printf("Everything stays up until Ctrl-C: Temporal's UI is %s, capture takes events at %s.\n", world.TemporalUI, product.Endpoint)
		<-ctx.Done()
		if signalled.Err() == nil { // not a person's wish
			err = errors.Join(err, context.Cause(ctx))
		}
	}
	return err
}

// leave removes the folder of the log, unless something failed: then the error says where it is. Who stops the demo
// wants nothing of it.
func leave(dir string, err error, stopped bool) error {
	if err == nil || stopped {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return fmt.Errorf("%w\nthe log of millrace is kept in %s: remove the folder when you have read it", err, dir)
}

// then runs the command of --then.
func then(ctx context.Context, line string, result *Result) error {
	command := exec.CommandContext(ctx, "sh", "-c", line)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	runs := result.withRows()
	last := runs[len(runs)-1]
	command.Env = append(os.Environ(),
		"DEMO_SCHEDULE_URL="+result.World.scheduleURL(exportName),
		"DEMO_RUN_URL="+result.World.workflowURL(last.By.WorkflowID)+"/"+last.By.RunID+"/history",
	)
	if err := command.Run(); err != nil {
		return fmt.Errorf("run %s: %w", line, err)
	}
	return nil
}
