//go:build world

package promises

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// The page for readers, its code run word for word but for the addresses, on a bucket that has all that readers must tell
// apart: a first revision that was closed, with its files, the second one that stood for it, the third one that took the place of
// that, an interval without rows, and a run over several.
func TestThePageOnReadingFiles(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	definition := tampered("shop-events", export.ProofReadback)
	t.tamper.do(nil, nil, func(key string, content []byte) []byte {
		if strings.Contains(key, "/r0001-00001.") {
			return flipped(content)
		}
		return content
	})
	t.closedAndNext(definition, t.sourceContent())
	t.tamper.do(nil, nil, nil)
	t.late(0)
	want := t.sourceContent()
	if _, outcome := t.redo(definition, hour(0), redoNow("a row came late")); outcome.Run.Revision != 3 || outcome.Rows != want.Rows {
		t.Fatalf("done again it ended with %+v", outcome)
	}
	empty := t.run(definition, hour(1))
	if outcome := t.outcome(empty.WorkflowID, empty.RunID); outcome.Status != export.StatusPublished || outcome.Rows != 0 {
		t.Fatalf("the empty hour ended with %+v", outcome)
	}
	longer := t.run(definition, span(3, 5)) // which covers three hours, without rows
	if outcome := t.outcome(longer.WorkflowID, longer.RunID); outcome.Status != export.StatusPublished || outcome.Rows != 0 {
		t.Fatalf("three empty hours ended with %+v", outcome)
	}
	if files := ending(t.objects(), ".parquet"); len(files) < 6 {
		t.Fatalf("the closed revision has left nothing among %v, so this shows nothing", files)
	}
	rows := fmt.Sprintf("%d\t%[1]d\t", want.Rows)
	page := map[string][]string{}
	for _, block := range blocks(tt, "../docs/reading-files.md") {
		page[block.language] = append(page[block.language], block.text)
	}
	if len(page["sql"]) != 2 || len(page["sh"]) != 1 {
		t.Fatalf("the page has %d pieces of SQL and %d scripts", len(page["sql"]), len(page["sh"]))
	}

	endpoint := testworld.Env(tt, "MILLRACE_S3_ENDPOINT")
	query := strings.NewReplacer("http://127.0.0.1:7070/lake/", endpoint+"/"+t.bucket+"/", "'lake/", "'"+t.bucket+"/",
		"'ACCESS_KEY_ID'", "'"+testworld.Env(tt, "AWS_ACCESS_KEY_ID")+"'", "'SECRET_ACCESS_KEY'", "'"+testworld.Env(tt, "AWS_SECRET_ACCESS_KEY")+"'",
	).Replace(page["sql"][0])
	if got := string(t.query(query)); !strings.HasPrefix(got, rows) {
		t.Errorf("ClickHouse reads %q, the source has %s", got, want)
	}

	t.fetchByShell(page["sh"][0])

	folder := t.copyBucket()
	duckdb, err := filepath.Abs("duckdb")
	if err != nil {
		t.Fatal(err)
	}
	t.command(duckdb, nil, "npm", "ci", "--no-audit", "--no-fund")
	got, err := t.output(folder, page["sql"][1], "node", filepath.Join(duckdb, "run.mjs"))
	if err != nil || !strings.HasPrefix(got, rows) {
		t.Errorf("DuckDB reads %q (%v), the source has %s", got, err, want)
	}
}

// fetchByShell fetches the interval that is complete, and one that is not.
func (t *thread) fetchByShell(script string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fetch-interval")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	environment := []string{"S3_ENDPOINT=" + testworld.Env(t.T, "MILLRACE_S3_ENDPOINT"), "S3_BUCKET=" + t.bucket}
	folder := t.TempDir()
	t.command("", environment, path, hour(0).Key(), folder)
	receipts := t.manifest(t.markKey("shop-events", 3)).Receipts
	for _, receipt := range receipts {
		fetched, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(receipt.Location)))
		if err != nil || !bytes.Equal(fetched, t.read("events/"+receipt.Location)) {
			t.Errorf("%s is not what was fetched (%v)", receipt.Location, err)
		}
	}
	t.command("", environment, path, hour(1).Key(), folder) // complete, and empty
	t.command("", environment, path, hour(4).Key(), folder) // covered by a longer run that is complete, and empty
	var files []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) != len(receipts) {
		t.Errorf("fetched %v (%v), the manifest has %d files", files, err, len(receipts))
	}
	incomplete := exec.CommandContext(t.Context(), path, hour(2).Key(), folder)
	incomplete.Env = append(os.Environ(), environment...)
	if output, err := incomplete.CombinedOutput(); err == nil || !strings.Contains(string(output), "is not complete") {
		t.Errorf("an interval that is not there: %v, %s", err, output)
	}
}

// copyBucket copies the bucket into the folder lake, and gives the folder above it.
func (t *thread) copyBucket() string {
	t.Helper()
	folder := t.TempDir()
	for key := range t.objects() {
		path := filepath.Join(folder, "lake", filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, t.read(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// command runs a program that must succeed.
func (t *thread) command(folder string, environment []string, name string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, arguments...)
	command.Dir, command.Env = folder, append(os.Environ(), environment...)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
}

// output is what a program prints that is given a text.
func (t *thread) output(folder, input, name string, arguments ...string) (string, error) {
	command := exec.CommandContext(t.Context(), name, arguments...)
	command.Dir, command.Stdin = folder, strings.NewReader(input)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	printed, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, complaints.String())
	}
	return string(printed), err
}
