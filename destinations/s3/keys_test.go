package s3

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
)

func runAt(start time.Time, length time.Duration) export.Run {
	return export.Run{Export: "shop-events", Interval: export.Interval{Start: start, End: start.Add(length)}, Revision: 1}
}

var tenOClock = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func TestKeysAreTheDocumentedOnes(t *testing.T) {
	run := runAt(tenOClock, time.Hour)
	d := &Destination{prefix: "events", encoding: export.Encoding{Format: export.FormatParquet, Compression: export.CompressionZstd}}
	for got, want := range map[string]string{
		d.chunkKey(run, 0):                         "events/shop-events/20261123T100000Z--20261123T110000Z/r0001-00000.parquet",
		d.chunkKey(run, 17):                        "events/shop-events/20261123T100000Z--20261123T110000Z/r0001-00017.parquet",
		d.location(run, 17):                        "shop-events/20261123T100000Z--20261123T110000Z/r0001-00017.parquet",
		d.planKey(run):                             "events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/r0001/plan.json",
		d.manifestKey(run):                         "events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/r0001/manifest.json",
		(&Destination{}).planKey(run):              "_millrace/shop-events/20261123T100000Z--20261123T110000Z/r0001/plan.json",
		(&Destination{prefix: "a/b"}).planKey(run): "a/b/_millrace/shop-events/20261123T100000Z--20261123T110000Z/r0001/plan.json",
		(&Destination{}).location(run, 0)[:12]:     "shop-events/",
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// An export's intervals sort by time and its chunks by index, whatever the interval's length.
func TestNamesSortByTime(t *testing.T) {
	d := &Destination{prefix: "events", encoding: export.Encoding{Format: export.FormatParquet}}
	rapid.Check(t, func(t *rapid.T) {
		length := time.Duration(rapid.IntRange(1, 10_000).Draw(t, "minutes")) * time.Minute
		var keys []string
		for i := range 20 {
			run := runAt(tenOClock.Add(time.Duration(i)*length), length)
			for _, chunk := range []int{0, 9, 10, 999} {
				keys = append(keys, d.chunkKey(run, chunk))
			}
		}
		if !slices.IsSorted(keys) {
			t.Fatalf("not sorted: %v", keys)
		}
	})
}

func TestOnlyManifestsOfRevisionsAreRead(t *testing.T) {
	const folder = "events/_millrace/shop-events/i/"
	for name, want := range map[string]int{
		"r0001/manifest.json": 1, "r0012/manifest.json": 12, "r10000/manifest.json": 10000,
		"r0001/plan.json": 0, "r1/manifest.json": 0, "x/r0001/manifest.json": 0, "r0001/manifest.json.bak": 0,
	} {
		if got := manifestRevision(folder, folder+name); got != want {
			t.Errorf("%s: got revision %d, want %d", name, got, want)
		}
	}
}

// The plan's hash is in every object's metadata, so a plan that is read back must have the hash of the one written.
func TestAPlanKeepsItsHashInTheBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		settings, err := json.Marshal(map[string]any{"prefix": rapid.String().Draw(t, "prefix"), "nested": map[string]any{"b": 1, "a": "<&>"}})
		if err != nil {
			t.Fatal(err)
		}
		run := runAt(tenOClock, time.Hour)
		plan := export.Plan{
			Version: export.PlanVersion, Run: run, DefinitionHash: "d", Chunks: []export.Chunk{},
			Definition: export.Definition{
				Name: run.Export, Title: rapid.String().Draw(t, "title"), Team: export.Team{All: true}, Connection: "lake",
				Every: export.Duration(time.Hour), Destination: "s3", Settings: settings,
			}.WithDefaults(),
			Closing: export.Closing{Rule: export.RuleWatermark, Watermark: "w"},
		}
		for i, rows := range rapid.SliceOfN(rapid.Uint64Range(0, 1e9), 0, 5).Draw(t, "rows") {
			plan.Chunks = append(plan.Chunks, export.Chunk{Index: i, Rows: rows, From: &export.Position{Arrival: int64(i), Source: rapid.String().Draw(t, "source")}})
			plan.Rows += rows
		}
		content, err := mark(plan)
		if err != nil {
			t.Fatal(err)
		}
		read, _, err := (&Destination{}).readPlan(run, content)
		if err != nil || read.Hash() != plan.Hash() {
			t.Fatalf("read back with hash %s (%v), written with %s", read.Hash(), err, plan.Hash())
		}
	})
}

func TestAForeignPlanIsRefused(t *testing.T) {
	run := runAt(tenOClock, time.Hour)
	d := &Destination{place: place{bucket: "lake", region: "eu-west-1"}}
	const remedy = ": nothing is overwritten; find out who writes there, remove it, or give the export another prefix"
	key := `bucket "lake" in eu-west-1: ` + d.planKey(run)
	for content, want := range map[string]string{
		"<html>": key + " is not a plan that this program can read: invalid character '<' looking for beginning of value" + remedy,
		`{"version": 1, "run": {"export": "other", "start": "2026-11-23T10:00:00Z", "end": "2026-11-23T11:00:00Z", "revision": 1}}`: key + " is the plan of another run (other 2026-11-23T10:00:00Z–2026-11-23T11:00:00Z r1)" + remedy,
	} {
		_, _, err := d.readPlan(run, []byte(content))
		wantConfigError(t, content, err, want)
	}
}

func TestEveryChunkFitsIntoTenThousandParts(t *testing.T) {
	total := 0
	for number := 1; number <= mostParts; number++ {
		size := partSize(number)
		if size < 5<<20 || size > largePart {
			t.Fatalf("part %d has %d bytes", number, size)
		}
		total += size
	}
	if got := total >> 30; got != 117 {
		t.Errorf("the largest chunk is %d GiB, the messages say 117", got)
	}
	const slots, budget = 8, 512 << 20
	if worst := slots * (partsInFlight + 1) * largePart; worst > budget {
		t.Errorf("eight chunks may hold %d MiB of parts", worst>>20)
	}
}
