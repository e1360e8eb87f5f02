//go:build world

package promises

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/internal/config"
)

// Each configuration of the guide loads; its policy and its lifecycle rule are tried by destinations/s3, on MinIO.
func TestTheGuideToS3(t *testing.T) {
	loaded := 0
	for _, block := range blocks(t, "../docs/destinations-s3.md") {
		if block.language != "yaml" {
			continue
		}
		loaded++
		if err := loads(t, block.text); err != nil {
			t.Errorf("docs/destinations-s3.md:%d: %v", block.line, err)
		}
		if err := loads(t, strings.Replace(block.text, "bucket:", "bukket:", 1)); err == nil {
			t.Errorf("docs/destinations-s3.md:%d: a mistake in it is not seen", block.line)
		}
	}
	if loaded < 2 {
		t.Errorf("the guide has %d configurations", loaded)
	}
}

// loads reads a millrace.yaml with all its blocks.
func loads(t *testing.T, text string) error {
	t.Helper()
	read, err := config.Parse(filepath.Join(t.TempDir(), "millrace.yaml"), []byte(text))
	if err != nil {
		return err
	}
	name, block, err := read.ConnectionBlock("lake")
	if err != nil {
		return err
	}
	kind, err := destinations.Lookup(name)
	if err != nil {
		return err
	}
	if _, err := kind.NormalizeConnection(block); err != nil {
		return err
	}
	for _, definition := range read.Exports {
		if _, err := destinations.Normalize(definition); err != nil {
			return err
		}
	}
	return nil
}
