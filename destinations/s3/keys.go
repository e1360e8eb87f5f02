package s3

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/millrace/millrace/export"
)

// A run in the bucket:
//
//	events/shop-events/20261123T100000Z--20261123T110000Z/r0001-00000.parquet
//	events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/r0001/plan.json
//	events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/r0001/manifest.json
//
// Under `order: strict` a run has one mark more, turn.json (order.go), and files of later revisions are in a folder apart.
//
// The names of an export's intervals sort by time, and its chunks by the sort order of the rows. A template may make the
// data files' keys otherwise (template.go); the marks are always there.

// location is a chunk's key below the export's prefix, which is what receipts say.
func (d *Destination) location(run export.Run, chunk int) string {
	name := d.template().fill(run, chunk) + "." + d.encoding.Extension()
	if d.strict && run.Revision > export.FirstRevision {
		return path.Join(apartName, name)
	}
	return name
}

// apartName is the folder below the prefix where files of later revisions are under `order: strict`: among the others they
// would appear out of order.
const apartName = "_revisions"

func (d *Destination) template() keyTemplate {
	if d.key == "" {
		return defaultKey
	}
	return d.key
}

// encodingOf is the encoding of a file that was written, by the end of its name, for files of a definition that has changed
// since. How a Parquet or an Arrow file is compressed is said inside.
func (d *Destination) encodingOf(receipt export.Receipt) export.Encoding {
	for _, encoding := range export.FileEncodings() {
		if strings.HasSuffix(receipt.Location, "."+encoding.Extension()) {
			return encoding
		}
	}
	return d.encoding
}

func (d *Destination) chunkKey(run export.Run, chunk int) string {
	return d.below(d.location(run, chunk))
}

// marksFolder holds the plans and manifests of all revisions of a run.
func (d *Destination) marksFolder(run export.Run) string {
	return d.below(marksName, run.Export, run.Interval.Key()) + "/"
}

func (d *Destination) planKey(run export.Run) string {
	return fmt.Sprintf("%sr%04d/plan.json", d.marksFolder(run), run.Revision)
}

func (d *Destination) manifestKey(run export.Run) string {
	return fmt.Sprintf("%sr%04d/manifest.json", d.marksFolder(run), run.Revision)
}

// below joins a key under the export's prefix; a key never begins with a slash.
func (d *Destination) below(names ...string) string {
	return path.Join(append([]string{d.prefix}, names...)...)
}

// under is how every key below the prefix begins.
func (d *Destination) under() string {
	if d.prefix == "" {
		return ""
	}
	return d.prefix + "/"
}

var manifestName = regexp.MustCompile(`^r([0-9]{4,9})/manifest\.json$`)

// manifestRevision reads the revision out of a manifest's key, or 0 when the key is not one.
func manifestRevision(folder, key string) int {
	parts := manifestName.FindStringSubmatch(strings.TrimPrefix(key, folder))
	if parts == nil {
		return 0
	}
	revision, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0
	}
	return revision
}

// runName is a run as an object's metadata has it.
func runName(run export.Run) string {
	return fmt.Sprintf("%s/%s/r%04d", run.Export, run.Interval.Key(), run.Revision)
}
