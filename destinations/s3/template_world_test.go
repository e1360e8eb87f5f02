//go:build world && !minio

package s3

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
)

// A run whose keys a template makes: the receipts say where its files are, the marks are where they always are, and what
// it left unfinished is swept, from among the files of others in the same folder.
func TestARunWithATemplate(t *testing.T) {
	b := newBucket(t)
	settings := fmt.Sprintf(`{"prefix": "events", "format": "jsoneachrow", "compression": "none", "key": %q}`, hiveKey)
	plan := planOf(t, 10)
	plan.Definition.Settings = json.RawMessage(settings)
	var err error
	if plan.Definition, err = destinations.Normalize(plan.Definition); err != nil {
		t.Fatal(err)
	}
	plan.DefinitionHash = plan.Definition.Hash()
	const interval = "20261122T100000Z--20261122T110000Z-r0001-00000.jsonl"
	own, other := b.begun(t, "events/dt=2026-11-22/hour=10/shop-events-"+interval), b.begun(t, "events/dt=2026-11-22/hour=10/shop-"+interval)
	manifest, err := runOnce(t.Context(), b.aged(t, 100*time.Hour, own, other).open(t, settings), plan)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.unfinished(t); !slices.Equal(got, []string{other}) {
		t.Errorf("left are the uploads %q, want the other export's, %q", got, other)
	}
	const location = "dt=2026-11-23/hour=10/shop-events-20261123T100000Z--20261123T110000Z-r0001-00000.jsonl"
	if got := manifest.Receipts[0].Location; got != location {
		t.Errorf("the receipt says %s", got)
	}
	var keys []string
	for _, line := range b.contents(t) {
		if name, _, _ := strings.Cut(strings.TrimPrefix(line, "object "), ":"); !strings.HasPrefix(line, "unfinished ") {
			keys = append(keys, name)
		}
	}
	want := []string{
		"events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/r0001/manifest.json",
		"events/_millrace/shop-events/20261123T100000Z--20261123T110000Z/r0001/plan.json",
		"events/" + location,
	}
	if slices.Sort(keys); !slices.Equal(keys, want) {
		t.Errorf("the bucket has %q", keys)
	}
}
