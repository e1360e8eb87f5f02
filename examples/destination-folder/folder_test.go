package folder

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/destinationtest"
	"github.com/millrace/millrace/export"
)

func TestPromises(t *testing.T) {
	found := destinationtest.Run(t, func(t *testing.T) destinationtest.Subject {
		root := t.TempDir()
		return destinationtest.Subject{
			Kind: Kind.Name, Settings: json.RawMessage(`{}`), BigChunk: 1 << 20,
			Open: func(t testing.TB) destinations.Destination { return &Destination{root: root} },
			Contents: func(t testing.TB) []string {
				var lines []string
				err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
					if err != nil || entry.IsDir() {
						return err
					}
					info, err := entry.Info()
					if err != nil {
						return err
					}
					kind := ""
					if strings.Contains(path, unfinished) {
						kind = "unfinished "
					}
					lines = append(lines, fmt.Sprintf("%sfile %s: %d bytes, %s", kind, path, info.Size(), info.ModTime()))
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				return lines
			},
		}
	})
	found.Hold(t, "../../docs/guarantees.md", "Folder, the example")
}

func TestBlocksAreRead(t *testing.T) {
	if block, err := Kind.NormalizeConnection(json.RawMessage(`{"path": "/srv/exports"}`)); err != nil || string(block) != `{"path":"/srv/exports"}` {
		t.Errorf("%s, %v", block, err)
	}
	for _, block := range []string{`{"path": "srv"}`, `{}`, `{"paht": "/srv"}`} {
		if _, err := Kind.NormalizeConnection(json.RawMessage(block)); export.KindOf(err) != export.KindConfig || err == nil {
			t.Errorf("%s: %v", block, err)
		}
	}
	if _, err := Kind.Normalize(json.RawMessage(`{"format": "parquet"}`)); export.KindOf(err) != export.KindConfig || err == nil {
		t.Errorf("an export's block: %v", err)
	}
}

func TestAFolderThatIsNotThereIsExplained(t *testing.T) {
	root := filepath.Join(t.TempDir(), "nowhere")
	destination, err := open(t.Context(), json.RawMessage(`{"path": "`+root+`"}`), nil, destinations.Shape{})
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	err = destination.Check(context.Background(), func(step destinations.Step) {
		if step.Error != "" {
			failed = append(failed, step.Name)
		}
	})
	want := "find the folder: folder " + root + ": the folder is not there: make it, or correct path in the connection"
	if err == nil || err.Error() != want || export.KindOf(err) != export.KindNotFound || failed[0] != "find the folder" {
		t.Errorf("got %v (%s), failed %q", err, export.KindOf(err), failed)
	}
}

// The guide promises a folder of under 430 lines.
func TestItIsShort(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "millrace/internal") {
			t.Errorf("%s imports what no stranger can", path)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				lines++
			}
		}
	}
	if t.Logf("%d lines", lines); lines >= 430 {
		t.Errorf("it has %d lines of code", lines)
	}
}
