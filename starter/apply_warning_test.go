package starter

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/export"
)

// Whoever changes what intervals are cut by is warned, and nobody else.
func TestAChangeOfTheGridIsWarnedOf(t *testing.T) {
	before := export.Definition{Name: "shop", Team: export.Team{ID: 1}, Connection: "lake", Every: export.Duration(3600e9), Destination: "s3"}.WithDefaults()
	for _, test := range []struct {
		what   string
		change func(*export.Definition)
		warns  bool
	}{
		{"nothing", func(*export.Definition) {}, false},
		{"a title", func(d *export.Definition) { d.Title = "The shop" }, false},
		{"another length", func(d *export.Definition) { d.Every = export.Duration(300e9) }, true},
		{"another offset", func(d *export.Definition) { d.Offset = export.Duration(300e9) }, true},
		{"a time zone", func(d *export.Definition) { d.TimeZone = "Europe/Berlin" }, true},
	} {
		after := before
		test.change(&after)
		warning := gridWarning(fieldChanges(definitionFields(before), definitionFields(after)))
		if warns := strings.Contains(warning, "a second time"); warns != test.warns {
			t.Errorf("%s: %q", test.what, warning)
		}
	}
}
