package crash

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/failpoint"
)

// Service is a process of the product that is started again whenever it ends, until Close. Its failpoints can be armed
// while it runs. It may be used by several goroutines.
type Service struct {
	Name string
	// Log is the file with all that its processes have said.
	Log string

	binary string
	args   []string
	env    []string
	broken string // switches of a build that is broken on purpose, armed all the time

	mu      sync.Mutex
	process *os.Process
	starts  int
	closing bool
	said    map[string]int // how often the log has had a message
	fatal   string         // a line that must never be said
	hits    chan string    // failpoints that acted
	begun   chan struct{}  // closed when the present process has said that it works; another for each process
	ended   chan struct{}  // closed when the service has ended for good
}

// ServiceConfig says what to run.
type ServiceConfig struct {
	Name    string   // unique, part of file names
	Binary  string   // the program
	Args    []string // and what it is told
	Env     []string // beyond this process's own
	Folder  string   // for the log and the failpoints' socket
	Broken  string   // failpoints that stay armed: a build broken on purpose
	Started string   // what the log says when the process works, from then on Begun is over
}

// never is what no process of ours may say: a partition that waits for people means that the protocol found what must not
// be, a panic speaks for itself.
var never = regexp.MustCompile(`partition is stopped, for people|^panic: |fatal error: |DATA RACE`)

// StartService starts the first process.
func StartService(config ServiceConfig) (*Service, error) {
	s := &Service{
		Name: config.Name, Log: filepath.Join(config.Folder, config.Name+".log"),
		binary: config.Binary, args: config.Args, broken: config.Broken,
		said: map[string]int{}, hits: make(chan string, 64), ended: make(chan struct{}),
	}
	s.env = append(os.Environ(), config.Env...)
	s.env = append(s.env, failpoint.Variable+"="+config.Broken, failpoint.SocketVariable+"="+s.socket())
	log, err := os.Create(s.Log)
	if err != nil {
		return nil, err
	}
	first := make(chan error, 1)
	go s.keep(log, config.Started, first)
	if err := <-first; err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	return s, nil
}

// The path of a socket may have about 100 bytes only.
func (s *Service) socket() string { return strings.TrimSuffix(s.Log, ".log") + ".sock" }

func (s *Service) keep(log *os.File, started string, first chan<- error) {
	defer close(s.ended)
	defer log.Close()
	for {
		cmd := exec.Command(s.binary, s.args...)
		cmd.Env = s.env
		out, err := cmd.StderrPipe()
		if err == nil {
			cmd.Stdout = cmd.Stderr
			err = cmd.Start()
		}
		if err != nil {
			s.note(func() { s.fatal = err.Error() })
			if first != nil {
				first <- err
			}
			return
		}
		begun := make(chan struct{})
		s.note(func() { s.process, s.begun = cmd.Process, begun; s.starts++ })
		if first != nil {
			first <- nil
			first = nil
		}
		s.listen(io.TeeReader(out, log), started, begun)
		_ = cmd.Wait()
		closing := false
		s.note(func() { s.process, closing = nil, s.closing })
		if closing {
			return
		}
		fmt.Fprintf(log, "--- ended: %s; started again\n", cmd.ProcessState)
	}
}

var (
	hitLine     = regexp.MustCompile(`failpoint (\S+): (kill|stop|error|wait)`)
	messageText = regexp.MustCompile(`"msg":("[^"]*")`)
)

// listen reads what a process says until it ends.
func (s *Service) listen(out io.Reader, started string, begun chan struct{}) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		line := lines.Text()
		if hit := hitLine.FindStringSubmatch(line); hit != nil {
			select {
			case s.hits <- hit[1] + "=" + hit[2]:
			default: // nobody waits for it
			}
		}
		if strings.Contains(line, started) {
			select {
			case <-begun:
			default:
				close(begun)
			}
		}
		s.note(func() {
			if message := messageText.FindStringSubmatch(line); message != nil {
				s.said[strings.Trim(message[1], `"`)]++
			}
			if never.MatchString(line) && s.fatal == "" {
				s.fatal = line
			}
		})
	}
}

func (s *Service) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Fatal is the first line said that must never be said; empty if there is none.
func (s *Service) Fatal() (line string) {
	s.note(func() { line = s.fatal })
	return line
}

// Said is how often the processes have logged a message.
func (s *Service) Said(message string) (times int) {
	s.note(func() { times = s.said[message] })
	return times
}

// Starts is how many processes there were.
func (s *Service) Starts() (starts int) {
	s.note(func() { starts = s.starts })
	return starts
}

// Works tells whether the present process has said that it works, and has not ended since.
func (s *Service) Works() (works bool) {
	s.note(func() {
		if s.process == nil || s.begun == nil {
			return
		}
		select {
		case <-s.begun:
			works = true
		default:
		}
	})
	return works
}

// AwaitBegun waits until the present process works.
func (s *Service) AwaitBegun(ctx context.Context) error {
	for {
		var begun chan struct{}
		s.note(func() { begun = s.begun })
		select {
		case <-begun:
			return nil
		case <-s.ended:
			return fmt.Errorf("%s has ended", s.Name)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to begin: %w", s.Name, ctx.Err())
		case <-time.After(100 * time.Millisecond): // the process may be another by now
		}
	}
}

// Signal sends a signal to the present process; none, if it is between two, is an error.
func (s *Service) Signal(signal syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return fmt.Errorf("%s is not running", s.Name)
	}
	return s.process.Signal(signal)
}

// Arm arms the failpoints of the present process, in place of those that were.
func (s *Service) Arm(list string) error {
	for len(s.hits) > 0 {
		<-s.hits
	}
	if s.broken != "" {
		list = strings.Trim(list+";"+s.broken, ";")
	}
	return failpoint.ArmProcess(s.socket(), list)
}

// AwaitHit waits until a failpoint has acted; false if that takes too long.
func (s *Service) AwaitHit(ctx context.Context, hit string, within time.Duration) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		select {
		case is := <-s.hits:
			if is == hit {
				return true
			}
		case <-late.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// pass passes on where the service acts, until the context ends.
func (s *Service) pass(ctx context.Context, to chan<- acted) {
	for {
		select {
		case at := <-s.hits:
			select {
			case to <- acted{s, at}:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// Restart asks the present process to end, and waits until another works.
func (s *Service) Restart(ctx context.Context) error {
	before := s.Starts()
	if err := s.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for s.Starts() == before {
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to drain: %w", s.Name, ctx.Err())
		}
	}
	return s.AwaitBegun(ctx)
}

// Close asks the process to end and waits; after a while it is killed, which is an error.
func (s *Service) Close() error {
	s.note(func() { s.closing = true })
	_ = s.Signal(syscall.SIGCONT)
	_ = s.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
		return nil
	case <-time.After(45 * time.Second):
		_ = s.Signal(syscall.SIGKILL)
		<-s.ended
		return errors.New(s.Name + " did not drain within 45 s")
	}
}
