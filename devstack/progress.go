package main

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// progressEvery is how often a build says that it is still at work.
const progressEvery = 5 * time.Second

// Progress tells people what a build is doing, from the output of the command that does it.
type Progress struct {
	say     func(format string, args ...any)
	name    string
	started time.Time
	stop    chan struct{}
	stopped sync.WaitGroup

	mu         sync.Mutex
	downloaded int
	compiled   int
	tail       []string
}

func startProgress(say func(string, ...any), name, key string) *Progress {
	p := &Progress{say: say, name: name, started: time.Now(), stop: make(chan struct{})}
	p.say("%s: not on this machine yet, getting %s", name, key)
	p.stopped.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.say("%s: %s (%s)", p.name, p.doing(), p.took())
			}
		}
	})
	return p
}

// Stop ends the telling with a last line.
func (p *Progress) Stop(err error) {
	close(p.stop)
	p.stopped.Wait()
	if err == nil {
		p.say("%s: ready after %s, kept for the next time", p.name, p.took())
	}
}

func (p *Progress) took() time.Duration { return time.Since(p.started).Round(time.Second) }

func (p *Progress) doing() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.compiled > 0:
		return fmt.Sprintf("compiling, %d packages so far", p.compiled)
	case p.downloaded > 0:
		return fmt.Sprintf("downloading, %d modules so far", p.downloaded)
	default:
		return "installing"
	}
}

// Run runs cmd, which has no output set, in a process group that ends when its context does. A command
// that fails is an error with the last lines it printed.
func (p *Progress) Run(cmd *exec.Cmd) error {
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	cmd.SysProcAttr = partAttributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := spawn(cmd); err != nil {
		return err
	}
	var read sync.WaitGroup
	read.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.note(lines.Text())
		}
		_, _ = io.Copy(io.Discard, out) // a line beyond all reason; the command must not block on it
	})
	err := cmd.Wait()
	_ = in.Close()
	read.Wait()
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		return fmt.Errorf("%s %s: %w\n%s", cmd.Path, cmd.Args[1], err, indent(p.tail))
	}
	return nil
}

// note takes one line of go build -v, which names each package as it is compiled, or of npm.
func (p *Progress) note(line string) {
	const keep = 20
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case strings.HasPrefix(line, "go: downloading "):
		p.downloaded++
	case line != "" && !strings.ContainsAny(line, " :"):
		p.compiled++
	}
	if p.tail = append(p.tail, line); len(p.tail) > keep {
		p.tail = p.tail[1:]
	}
}

func indent(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString("    " + l + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}
