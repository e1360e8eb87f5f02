//go:build world && readme

package promises

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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
	up := exec.Command("bash", "-c", lines[0])
	up.Dir = ".."
	up.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	up.Stdout, up.Stderr = &said, &said
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- up.Wait() }()
	defer func() {
		// Ctrl-C goes to all of the terminal's foreground, and so to the whole group.
		if err := syscall.Kill(-up.Process.Pid, syscall.SIGINT); err != nil {
			t.Errorf("interrupt make up: %v", err)
		}
		select {
		case <-ended:
		case <-time.After(2 * time.Minute):
			t.Error("make up does not end after Ctrl-C")
			_ = syscall.Kill(-up.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("make up said:\n%s", said.String())
		}
	}()
	testworld.Eventually(t, 5*time.Minute, func() error {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("make up has ended: %v", err)
		default:
		}
		return ready(t.Context(), capture)
	})

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
