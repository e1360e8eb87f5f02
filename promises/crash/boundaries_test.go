package crash

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A boundary that no source names would be waited for in vain, round after round.
func TestEveryBoundaryIsInTheSource(t *testing.T) {
	var source strings.Builder
	for _, folder := range []string{"../../destinations", "../../eventstore", "../../ingest"} {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			source.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, boundary := range append(Boundaries(), ExportBoundaries()...) {
		// A mark's two boundaries are named by the mark's name and an end.
		last := strings.LastIndex(boundary, ".")
		inTwo := strings.Contains(source.String(), `"`+boundary[:last]+`"`) && strings.Contains(source.String(), `"`+boundary[last:]+`"`)
		if !inTwo && !strings.Contains(source.String(), `"`+boundary+`"`) {
			t.Errorf("no source has the failpoint %s", boundary)
		}
	}
}
