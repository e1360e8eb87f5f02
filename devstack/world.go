package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// readyWithin is how long a started part may take until it answers; they take about a second each.
	readyWithin = 90 * time.Second
	// stopWithin is how long a part may take to end by itself before it is killed.
	stopWithin = 10 * time.Second
)

// World is the parts that are started together, their folder and their addresses.
type World struct {
	options   Options
	toolbox   *Toolbox
	parts     []Part
	dir       string
	path      []string // folders of tools, before devstack's and COMMAND's own PATH
	sites     map[string]Site
	variables []Variable
	guard     *Guard
	folder    *Lock        // nil in a throw-away folder
	held      *Reservation // of ports that were drawn; nil before they were

	mu      sync.Mutex
	running map[string]*Process
	ready   map[string]bool
}

// newWorld chooses folder and ports and starts nothing but the guard.
func newWorld(options Options, toolbox *Toolbox) (*World, error) {
	w := &World{
		options: options,
		toolbox: toolbox,
		parts:   options.chosenParts(),
		sites:   map[string]Site{},
		running: map[string]*Process{},
		ready:   map[string]bool{},
	}
	if err := w.take(); err != nil {
		w.release()
		return nil, err
	}
	return w, nil
}

func (w *World) take() (err error) {
	if w.guard, err = startGuard(); err != nil {
		return err
	}
	if err = w.takeFolder(); err != nil {
		return err
	}
	var ports map[string]int
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("millrace-ports-%d", os.Getuid()))
	if w.options.Free {
		ports, w.held, err = freePorts(dir, w.parts, w.options.Ports)
	} else {
		ports, w.held, err = fixedPorts(dir, w.parts, w.options.Ports, w.options.Yield)
	}
	if err != nil {
		return err
	}
	if err = w.layOut(ports); err != nil {
		return err
	}
	w.variables = append(w.variables, Variable{worldVariable, w.recordFile()})
	path := strings.Join(append(slices.Clone(w.path), os.Getenv("PATH")), string(os.PathListSeparator))
	if err = os.Setenv("PATH", path); err != nil {
		return err
	}
	return w.findCommand()
}

// findCommand fails before minutes are spent on building for a COMMAND that does not exist. A tool that is
// still to be built is found later.
func (w *World) findCommand() error {
	if len(w.options.Command) == 0 {
		return nil
	}
	name := w.options.Command[0]
	for _, part := range w.parts {
		for _, tool := range part.Tools() {
			if tool.Name() == name {
				return nil
			}
		}
	}
	if _, err := exec.LookPath(name); err != nil {
		return fmt.Errorf("find the command to run: %w", err)
	}
	return nil
}

func (w *World) takeFolder() (err error) {
	if w.options.Free {
		if w.dir, err = os.MkdirTemp("", "millrace-world-"); err != nil {
			return fmt.Errorf("make a throw-away folder: %w", err)
		}
		w.guard.Remove(w.dir)
		return nil
	}
	w.dir = w.options.Data
	if w.dir == "" {
		w.dir = filepath.Join(w.toolbox.Repo, ".devstack", "data")
	}
	if w.dir, err = filepath.Abs(w.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	w.folder, err = TryLock(filepath.Join(w.dir, "lock"))
	if errors.Is(err, ErrLocked) {
		return fmt.Errorf("use the folder %s: another devstack is up in it; stop that one, or choose another folder with --data, or use --free", w.dir)
	}
	return err
}

// layOut gives each part its site, and with that all addresses are known before anything runs.
func (w *World) layOut(ports map[string]int) error {
	for _, part := range w.parts {
		site := Site{Dir: filepath.Join(w.dir, part.Name()), Ports: ports, Tools: map[string]string{}, Installed: map[string]Installed{}}
		for _, tool := range part.Tools() {
			if w.options.Installed {
				if own, err := findInstalled(context.Background(), tool); err == nil {
					site.Tools[tool.Name()], site.Installed[tool.Name()] = own.File, own
					continue
				}
			}
			dir, err := w.toolbox.Dir(tool)
			if err != nil {
				return err
			}
			site.Tools[tool.Name()] = tool.File(dir)
			if _, program := tool.(GoTool); program {
				w.path = append(w.path, dir)
			}
		}
		w.sites[part.Name()] = site
		w.variables = append(w.variables, part.Variables(site.seen())...)
	}
	return nil
}

// release gives back what take took, also when that was not all.
func (w *World) release() {
	if w.held != nil {
		w.held.Close()
	}
	if w.guard != nil {
		w.guard.Close()
	}
	if w.folder != nil {
		_ = w.folder.Close()
	}
}

// raise brings all parts up side by side. It sends each part's name to up when that part answers, and the
// first thing that goes wrong, at any time until ctx ends, to trouble.
func (w *World) raise(ctx context.Context, up chan<- string, trouble chan<- error) *sync.WaitGroup {
	var all sync.WaitGroup
	for _, part := range w.parts {
		all.Go(func() {
			process, err := w.raisePart(ctx, part)
			if err == nil {
				up <- part.Name()
				err = w.keep(ctx, part, process)
			}
			if ctx.Err() != nil {
				return
			}
			select {
			case trouble <- err:
			case <-ctx.Done():
			}
		})
	}
	return &all
}

// mostRevivals is how often in a row a part is started again that does not come to answer.
const mostRevivals = 5

// keep watches a part that answers until ctx ends or the part has died for good.
func (w *World) keep(ctx context.Context, part Part, process *Process) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-process.Ended:
		}
		if !w.options.Revive {
			return fmt.Errorf("%s died while the world was up: it %s", part.Name(), process.Why())
		}
		var err error
		for try := 1; ; try++ {
			w.mu.Lock()
			w.ready[part.Name()] = false
			w.mu.Unlock()
			began := time.Now()
			if process, err = w.raisePart(ctx, part); err == nil {
				say("%s died, and answers again after %s", part.Name(), time.Since(began).Round(10*time.Millisecond))
				break
			}
			if ctx.Err() != nil || try == mostRevivals {
				return err
			}
		}
	}
}

func (w *World) raisePart(ctx context.Context, part Part) (*Process, error) {
	site := w.sites[part.Name()]
	var all sync.WaitGroup
	tools := part.Tools()
	errs := make([]error, len(tools))
	for i, tool := range tools {
		if _, own := site.Installed[tool.Name()]; !own {
			all.Go(func() { _, errs[i] = w.toolbox.Provide(ctx, tool) })
		}
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(site.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", part.Name(), err)
	}
	command, err := part.Command(site)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", part.Name(), err)
	}
	process, err := w.startPart(ctx, part, command)
	if err != nil {
		return nil, err
	}
	if err := awaitReady(ctx, part, site, process); err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.ready[part.Name()] = true
	w.mu.Unlock()
	return process, w.record()
}

func (w *World) startPart(ctx context.Context, part Part, command Command) (*Process, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil { // lower has begun and would not see this one
		return nil, context.Cause(ctx)
	}
	process, err := startProcess(command, filepath.Join(w.dir, part.Name()+".log"), w.guard)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", part.Name(), err)
	}
	w.running[part.Name()] = process
	return process, w.recordLocked()
}

func awaitReady(ctx context.Context, part Part, site Site, process *Process) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		attempt, done := context.WithTimeout(ctx, 5*time.Second)
		err := part.Ready(attempt, site)
		done()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-process.Ended:
			return fmt.Errorf("%s died before it answered: it %s", part.Name(), process.Why())
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%s did not answer within %s: %w; its log is %s", part.Name(), readyWithin, last, process.Log)
		case <-tick.C:
		}
	}
}

// lower ends all parts. State in a throw-away folder is not worth a clean end.
func (w *World) lower() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all sync.WaitGroup
	for _, process := range w.running {
		grace := stopWithin
		if w.options.Free {
			grace = process.Grace
		}
		all.Go(func() { process.Stop(grace) })
	}
	all.Wait()
}

// run is the life of the world, and its exit code.
func (w *World) run(signals <-chan os.Signal) int {
	defer w.release()
	if err := w.record(); err != nil {
		say("%v", err)
		return 1
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	up, trouble := make(chan string, len(w.parts)), make(chan error)
	started := time.Now()
	raising := w.raise(ctx, up, trouble)
	defer func() {
		cancel(errors.New("the world is taken down"))
		w.lower()
		raising.Wait()
	}()

	early := w.options.Early
	var waiting []string
	for _, part := range w.parts {
		waiting = append(waiting, part.Name())
	}
	var command *Run
	var ended <-chan struct{}
	for {
		if command == nil && len(w.options.Command) > 0 && !overlaps(waiting, early) {
			var err error
			if command, err = startRun(w.options.Command, overlay(os.Environ(), w.variables), w.guard); err != nil {
				say("start %s: %v", w.options.Command[0], err)
				return 127
			}
			ended = command.Ended
		}
		select {
		case name := <-up:
			waiting = slices.DeleteFunc(waiting, func(n string) bool { return n == name })
			if command != nil {
				say("%s answers at last, %s after the start", name, time.Since(started).Round(100*time.Millisecond))
			}
			if len(waiting) == 0 {
				w.announce(time.Since(started))
			}
		case err := <-trouble:
			say("%v", err)
			command.Stop()
			return 1
		case <-ended:
			return command.Code()
		case s := <-signals:
			if command == nil {
				if len(waiting) > 0 || len(w.options.Command) > 0 {
					return 128 + signalNumber(s)
				}
				return 0
			}
			command.Interrupt(s, signals)
			return command.Code()
		}
	}
}

// overlaps says whether a part that COMMAND waits for is still waited for; without a list that is any.
func overlaps(waiting, early []string) bool {
	if early == nil {
		return len(waiting) > 0
	}
	return slices.ContainsFunc(waiting, func(n string) bool { return slices.Contains(early, n) })
}
