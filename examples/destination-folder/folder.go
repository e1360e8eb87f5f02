// Package folder writes runs as files of JSON lines into a folder of a disk: the destination that docs/destinations.md walks
// through, for who writes one of his own. It keeps all promises of the conformance suite, and imports nothing internal.
//
// A run's revision is a folder, `<export>/<interval>/r0001`. In it `plan.json` is the first thing that is written and
// `commit.json`, the manifest or the mark of a closed revision, the last; each chunk is a folder `00000` with its rows and the
// plan that they belong to. Whatever is written comes into being under a name of its own and gets the name that counts in
// one step, which the system does for one only: a hard link for a file, a rename for a folder.
package folder

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// Kind is to be registered by a program that has this destination: destinations.Register(folder.Kind).
var Kind = destinations.Kind{
	Name:                "folder",
	Normalize:           func(block json.RawMessage) (json.RawMessage, error) { return normalize(block, &struct{}{}) },
	NormalizeConnection: func(block json.RawMessage) (json.RawMessage, error) { return normalize(block, &connection{}, "path") },
	Open:                open,
	Codes:               codes,
}

// connection is a connection's block.
type connection struct {
	// Path is the folder, which must be there. An absolute path; no default.
	Path string `json:"path"`
}

// encoding is what the files are.
var encoding = export.Encoding{Format: export.FormatJSONEachRow, Compression: export.CompressionNone}

func normalize(block json.RawMessage, into any, known ...string) (json.RawMessage, error) {
	if err := destinations.DecodeBlock(block, into, known...); err != nil {
		return nil, err
	}
	if c, is := into.(*connection); is && !filepath.IsAbs(c.Path) {
		return nil, export.Errorf(export.KindConfig, "path: %q is no absolute path: give one, such as /srv/exports", c.Path)
	}
	return destinations.EncodeBlock(into)
}

// Destination is a folder as one export sees it. It is safe for concurrent use.
type Destination struct{ root string }

var _ destinations.Destination = (*Destination)(nil)
var _ destinations.ReadsBack = (*Destination)(nil)

func open(_ context.Context, connectionBlock, _ json.RawMessage, _ destinations.Shape) (destinations.Destination, error) {
	var reach connection
	if err := destinations.DecodeBlock(connectionBlock, &reach, "path"); err != nil {
		return nil, err
	}
	return &Destination{root: reach.Path}, nil
}

// interval is the folder of all revisions of a run, and revision that of one, below the root.
func interval(run export.Run) string { return filepath.Join(run.Export, run.Interval.Key()) }
func revision(run export.Run) string {
	return filepath.Join(interval(run), fmt.Sprintf("r%04d", run.Revision))
}

// location is where a chunk lies, as receipts name it.
func location(run export.Run, chunk int) string {
	return filepath.Join(revision(run), fmt.Sprintf("%05d", chunk))
}

func (d *Destination) revision(run export.Run) string { return filepath.Join(d.root, revision(run)) }

// writeOnce gives a file its content if nobody has written it yet, and tells whether it did. A reader sees all of it or
// nothing. Killed between the two steps it leaves a file that nobody reads.
func writeOnce(path string, content any) (wrote bool, err error) {
	text, err := json.Marshal(content)
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	file, err := os.CreateTemp(filepath.Dir(path), unfinished)
	if err != nil {
		return false, err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(text)
	// Synced, for a name that counts must not stand for content that a power cut takes away.
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Link(file.Name(), path)
	}
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// unfinished begins the names of what no reader looks at.
const unfinished = ".unfinished-"

// Check writes, reads and removes a file; see destinations.Destination.
func (d *Destination) Check(ctx context.Context, report func(destinations.Step)) error {
	path := filepath.Join(d.root, fmt.Sprintf("%scheck-%d", unfinished, os.Getpid()))
	defer func() { _ = os.Remove(path) }()
	var first error
	for _, step := range []struct {
		name string
		try  func() error
	}{
		{"find the folder", func() error { _, err := os.Stat(d.root); return err }},
		{"write a file", func() error { _, err := writeOnce(path, "check"); return err }},
		{"refuse a second write of it", func() error {
			wrote, err := writeOnce(path, "again")
			if wrote {
				err = export.Errorf(export.KindConfig, "the file system links a name twice: take another")
			}
			return err
		}},
		{"remove it", func() error { return os.Remove(path) }},
	} {
		told := destinations.Step{Name: step.name}
		if err := d.explain(ctx, step.name, step.try()); err != nil {
			told.Error = err.Error()
			first = cmp.Or(first, err)
		}
		report(told)
	}
	return first
}
