//go:build world && readme

package promises

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/testworld"
)

// The first export of README.md, word for word: the first line stays up while a second shell runs the others. It has a
// tag of its own because `make up` takes the fixed ports that people use; .ci/run runs it.
func TestTheFirstExportOfTheREADME(t *testing.T) {
	var lines []string
	for _, block := range blocks(t, "../README.md") {
		if block.language == "sh" && strings.HasPrefix(block.text, "make up") {
			lines = strings.Split(strings.TrimSpace(block.text), "\n")
		}
	}
	if len(lines) != 5 {
		t.Fatalf("the first export has %d lines, announced are five", len(lines))
	}

	if ready(t.Context(), capture) == nil {
		t.Fatalf("something answers at %s already: stop it, this test needs the ports that people use", capture)
	}
	up := makeUp(t, lines[0])
	up.awaitReady(t, capture)

	commands := filepath.Join(t.TempDir(), "second-shell")
	if err := os.WriteFile(commands, []byte(strings.Join(lines[1:], "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	// apply asks, and only on a terminal: script makes one.
	second := exec.CommandContext(t.Context(), "script", "-qefc", "bash -e "+commands, "/dev/null")
	second.Dir = ".."
	second.Stdin = strings.NewReader("y\n")
	output, err := second.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, sees := range []string{`"kept":1`, "shop-events", "watermark"} {
		if !strings.Contains(string(output), sees) {
			t.Errorf("the second shell does not show %s:\n%s", sees, output)
		}
	}
}

// The README's way around taken ports: without it `make up` ends and says which, and how to go on; with it the world is up
// elsewhere, and says where.
func TestTakenPortsOfTheREADME(t *testing.T) {
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile("`(DEVSTACK_PORTS=free make up)`").FindStringSubmatch(string(page))
	if line == nil {
		t.Fatal("README.md has no way around taken ports")
	}
	for _, address := range []string{"127.0.0.1:7070", "127.0.0.1:8000"} {
		taken, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("this test takes the ports that people use: %v", err)
		}
		defer taken.Close()
	}
	refused := makeUp(t, "make up")
	if err := <-refused.ended; err == nil {
		t.Error("make up ends well without its ports")
	}
	refused.ended <- nil
	for _, want := range []string{"s3 cannot listen on 127.0.0.1:7070: the port is taken by another process", "DEVSTACK_PORTS=s3=N", "DEVSTACK_PORTS=free"} {
		if !strings.Contains(refused.said(t), want) {
			t.Errorf("make up does not say %q:\n%s", want, refused.said(t))
		}
	}
	up := makeUp(t, line[1])
	listens := regexp.MustCompile(`capture takes events.*127\.0\.0\.1:(\d+)`)
	testworld.Eventually(t, 5*time.Minute, func() error {
		select {
		case err := <-up.ended:
			up.ended <- err
			t.Fatalf("make up has ended: %v", err)
		default:
		}
		at := listens.FindStringSubmatch(up.said(t))
		if at == nil {
			return errors.New("capture has not said where it listens")
		}
		return ready(t.Context(), "http://127.0.0.1:"+at[1]+"/readyz")
	})
	sourcing := exec.Command("bash", "-c", ". .devstack/data/world.env && millrace version")
	sourcing.Dir = ".."
	if output, err := sourcing.CombinedOutput(); err != nil {
		t.Errorf("a shell that sources the world has no millrace: %v\n%s", err, output)
	}
	environment, err := os.ReadFile("../.devstack/data/world.env")
	if err != nil {
		t.Fatal(err)
	}
	store := regexp.MustCompile(`MILLRACE_S3_ENDPOINT='http://127.0.0.1:(\d+)'`).FindStringSubmatch(string(environment))
	if store == nil || store[1] == "7070" {
		t.Errorf("the store is at %q:\n%s", store, environment)
	}
	if want := "capture on a free port, which its line below tells;"; !strings.Contains(up.said(t), want) {
		t.Errorf("make up does not say %q:\n%s", want, up.said(t))
	}
}

// madeUp is a `make up` in the root of the repository. It gets its Ctrl-C when the test ends.
type madeUp struct {
	ended chan error
	log   string
}

func makeUp(t *testing.T, line string) madeUp {
	t.Helper()
	command := exec.Command("bash", "-c", line)
	command.Dir = ".."
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	up := madeUp{ended: make(chan error, 1), log: filepath.Join(t.TempDir(), "make-up")}
	log, err := os.Create(up.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { up.ended <- command.Wait() }()
	t.Cleanup(func() {
		// Ctrl-C goes to all of the terminal's foreground, and so to the whole group. It may have ended by itself.
		if err := syscall.Kill(-command.Process.Pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("interrupt make up: %v", err)
		}
		select {
		case <-up.ended:
		case <-time.After(2 * time.Minute):
			t.Error("make up does not end after Ctrl-C")
			_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
			<-up.ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", line, up.said(t))
		}
	})
	return up
}

// said is what it has printed so far.
func (up madeUp) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(up.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (up madeUp) awaitReady(t *testing.T, address string) {
	t.Helper()
	testworld.Eventually(t, 5*time.Minute, func() error {
		select {
		case err := <-up.ended:
			up.ended <- err
			t.Fatalf("make up has ended: %v", err)
		default:
		}
		return ready(t.Context(), address)
	})
}

// capture is where the README sends its event, asked whether it is ready.
const capture = "http://127.0.0.1:8000/readyz"

func ready(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, answer.Status)
	}
	return nil
}
