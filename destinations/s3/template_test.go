package s3

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
)

const hiveKey keyTemplate = "dt={date}/hour={hour}/{export}-{interval}-r{revision}-{chunk}"

func TestKeysAreMadeByTheTemplate(t *testing.T) {
	run := runAt(time.Date(2026, 11, 23, 9, 30, 0, 0, time.FixedZone("east", -3*3600)), time.Hour)
	for template, want := range map[keyTemplate]string{
		defaultKey: "shop-events/20261123T123000Z--20261123T133000Z/r0001-00017",
		hiveKey:    "dt=2026-11-23/hour=12/shop-events-20261123T123000Z--20261123T133000Z-r0001-00017",
		"{year}/{month}/{day}/{hour}{minute}/{export}/{start}_{end}.{revision}.{chunk}": "2026/11/23/1230/shop-events/20261123T123000Z_20261123T133000Z.0001.00017",
	} {
		if err := template.validate("events"); err != nil {
			t.Error(err)
		}
		if got := template.fill(run, 17); got != want {
			t.Errorf("%s makes %s, want %s", template, got, want)
		}
	}
	d := &Destination{prefix: "events", key: hiveKey, encoding: export.Encoding{Format: export.FormatParquet}}
	if got, want := d.location(run, 0), "dt=2026-11-23/hour=12/shop-events-20261123T123000Z--20261123T133000Z-r0001-00000.parquet"; got != want {
		t.Errorf("the receipt says %s, want %s", got, want)
	}
	if got, want := d.manifestKey(run), "events/_millrace/shop-events/20261123T123000Z--20261123T133000Z/r0001/manifest.json"; got != want {
		t.Errorf("the manifest is at %s, want %s", got, want)
	}
}

// Whatever a template that is allowed looks like, no two chunks of any runs of any exports have one key; and a key is known
// as its own export's, never as another's.
func TestNoTwoChunksHaveOneKey(t *testing.T) {
	chunkOf := rapid.Custom(func(t *rapid.T) (made struct {
		export.Run
		chunk int
	}) {
		made.Run = runAt(tenOClock.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "start"))*time.Hour), time.Duration(rapid.IntRange(1, 3).Draw(t, "hours"))*time.Hour)
		made.Export = rapid.StringMatching(`[a-z0-9](-?[0-9]){0,4}`).Draw(t, "export")
		made.Revision = rapid.IntRange(1, 12).Draw(t, "revision")
		made.chunk = rapid.IntRange(0, 12).Draw(t, "chunk")
		return made
	})
	rapid.Check(t, func(t *rapid.T) {
		needed := []string{"{export}", "{interval}", "{revision}", "{chunk}"}
		more := rapid.SliceOfN(rapid.SampledFrom([]string{"{date}", "{hour}", "{export}", "{start}", "-", "/x", "0", "{minute}"}), 0, 4).Draw(t, "more")
		template := keyTemplate("k" + strings.Join(rapid.Permutation(append(needed, more...)).Draw(t, "order"), ""))
		if template.validate("") != nil {
			return
		}
		one, other := chunkOf.Draw(t, "one"), chunkOf.Draw(t, "other")
		key := template.fill(one.Run, one.chunk)
		if one != other && key == template.fill(other.Run, other.chunk) {
			t.Fatalf("%s makes %s of %v and of %v", template, key, one, other)
		}
		if !template.makes(one.Export, key+".parquet") || !strings.HasPrefix(key, template.folder(one.Export)) {
			t.Fatalf("%s does not know %s again", template, key)
		}
		if other.Export != one.Export && template.makes(other.Export, key+".parquet") {
			t.Fatalf("%s takes %s for one of %s", template, key, other.Export)
		}
	})
}

func TestTemplatesThatMakeTooLongKeysAreRefused(t *testing.T) {
	template := keyTemplate(strings.Repeat("{export}/", 10) + "{interval}{revision}{chunk}")
	err := template.validate(strings.Repeat("p", maxPrefix))
	wantConfigError(t, string(template), err, `key: "`+string(template)+`" makes keys of up to 1216 bytes with the prefix: use at most 1024`)
}

// Readers of a listing find out by names what is new, so names must sort by interval and chunk.
func TestTemplatesThatDoNotSortAreRefusedInOrder(t *testing.T) {
	for template, sorts := range map[string]bool{
		"": true,
		"dt={date}/hour={hour}/{export}-{interval}-r{revision}-{chunk}": true,
		"{export}/{year}/{month}/{interval}/{revision}-{chunk}":         true,
		"{export}/{start}/{end}/{revision}/{chunk}":                     true,
		"{export}/{end}/{start}/{revision}/{chunk}":                     false,
		"{export}/{start}/{revision}/{chunk}/{end}":                     false,
		"{export}/{chunk}/{interval}/{revision}":                        false,
		"{export}/{interval}/{chunk}/{revision}":                        false,
		"{export}/{revision}/{interval}/{chunk}":                        false,
		"{export}/{hour}/{interval}/{revision}/{chunk}":                 false,
		"{export}/{month}/{year}/{interval}/{revision}/{chunk}":         false,
	} {
		block := encodedBlock(t, map[string]string{"key": template})
		if _, err := normalizeSettings(block); err != nil {
			t.Fatal(err)
		}
		err := templateInOrder(block)
		if (err == nil) != sorts || err != nil && export.KindOf(err) != export.KindConfig {
			t.Errorf("%q: %v", template, err)
		}
		if sorts {
			sortsInTime(t, keyTemplate(template))
		}
	}
	err := templateInOrder([]byte(`{"key": "{export}/{chunk}/{interval}/{revision}"}`))
	wantConfigError(t, "chunk first", err, `key: "{export}/{chunk}/{interval}/{revision}" makes keys that do not sort by interval and chunk: put {interval} before {revision} and {chunk}, and before it parts of a time alone, the larger first, as in "dt={date}/hour={hour}/{export}-{interval}-r{revision}-{chunk}"`)
}

func encodedBlock(t *testing.T, block any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(block)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sortsInTime makes the keys of some intervals and chunks, in their order.
func sortsInTime(t *testing.T, template keyTemplate) {
	t.Helper()
	if template == "" {
		template = defaultKey
	}
	last := ""
	for at := tenOClock; at.Before(tenOClock.AddDate(1, 1, 0)); at = at.Add(7 * time.Hour) {
		for _, chunk := range []int{0, 9, 10, 999} {
			key := template.fill(export.Run{Export: "shop", Interval: export.Interval{Start: at, End: at.Add(7 * time.Hour)}, Revision: 1}, chunk)
			if key <= last {
				t.Fatalf("%s comes after %s", key, last)
			}
			last = key
		}
	}
}
