//go:build world

package promises

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/testworld"
)

// fenced is a fenced block of a page: its language, where it begins, and its text.
type fenced struct {
	language string
	line     int
	text     string
}

// blocks reads the fenced blocks of a page, in order.
func blocks(t *testing.T, page string) []fenced {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var found []fenced
	var open *fenced
	for i, line := range strings.Split(string(content), "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &fenced{language: fence, line: i + 1}
		case isFence:
			found, open = append(found, *open), nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block is never closed", page, open.line)
	}
	return found
}

// looks tells commands that only look, which may be given again until what they show has come about.
var looks = regexp.MustCompile(`^(run=\$\(temporal workflow list .*\n)?temporal (schedule (list|describe)|workflow (list|count|describe|show|result|query|metadata)) `)

// TestThePageOnTemporal runs every command of the page, word for word and in order, and holds what it prints against
// the block that follows it, where each line must be found, in order; … stands for anything.
func TestThePageOnTemporal(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.load(24, 1)
	// Later intervals wait, so that the page's running runs run.
	t.events = behind(t, hour(24).Start)
	t.load(24, 1)
	t.work()
	t.page("../docs/temporal.md", 10)
}

// page runs the commands of a page.
func (t *thread) page(path string, atLeast int) {
	t.Helper()
	page := blocks(t.T, path)
	name := strings.TrimPrefix(path, "../")
	commands := 0
	for i, block := range page {
		if block.language != "sh" {
			continue
		}
		commands++
		var sees string
		if i+1 < len(page) && page[i+1].language == "text" {
			sees = page[i+1].text
		}
		try := func() error {
			output, err := t.shell(block.text)
			if err != nil {
				return fmt.Errorf("%s:%d: %w\n%s", name, block.line, err, output)
			}
			if missing := missingLine(output, sees); missing != "" {
				return fmt.Errorf("%s:%d: the page says that one sees\n%s\nbut one sees\n%s", name, block.line, missing, output)
			}
			if os.Getenv("SHOW") != "" {
				fmt.Printf("=== %s\n%s\n", block.text, output)
			}
			return nil
		}
		if looks.MatchString(block.text) {
			testworld.Eventually(t.T, patience, try)
		} else if err := try(); err != nil {
			t.Fatal(err)
		}
	}
	if commands < atLeast {
		t.Errorf("%s has %d commands only", name, commands)
	}
}

// built builds bin/millrace of the present tree, once, and gives its folder.
var built = sync.OnceValues(func() (folder string, err error) {
	if folder, err = filepath.Abs("../bin"); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(folder, "millrace"), "../cmd/millrace")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build millrace: %w\n%s", err, output)
	}
	return folder, nil
})

// shell runs a block as a person would who has the repository before him and the thread's namespace in his environment.
func (t *thread) shell(text string) (string, error) {
	folder, err := built()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-eu", "-c", text)
	command.Dir = ".."
	command.Env = append(os.Environ(), "TEMPORAL_NAMESPACE="+t.Name, "HOME="+t.TempDir(), "NO_COLOR=1", "PATH="+folder+":"+os.Getenv("PATH"))
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	err = command.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("exit code %d", exit.ExitCode())
	}
	return output.String(), err
}

var spaces = regexp.MustCompile(`\s+`)

// missingLine is the first line that the page shows and the output lacks, in this order; "" when all are there.
func missingLine(output, sees string) string {
	rest := strings.Split(output, "\n")
	for want := range strings.Lines(sees) {
		want = strings.TrimSpace(spaces.ReplaceAllString(want, " "))
		if want == "" || want == "…" {
			continue
		}
		pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*") + "$")
		for {
			if len(rest) == 0 {
				return want
			}
			line := strings.TrimSpace(spaces.ReplaceAllString(rest[0], " "))
			rest = rest[1:]
			if pattern.MatchString(line) {
				break
			}
		}
	}
	return ""
}
