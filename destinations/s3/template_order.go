package s3

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/millrace/millrace/export"
)

// templateInOrder holds an export's block to `order: strict`: the keys must sort by interval and then by chunk, for that is
// how readers of a listing find out what is new.
func templateInOrder(settings json.RawMessage) error {
	read, err := readSettings(settings)
	if err != nil || read.Key == "" {
		return err
	}
	return read.Key.inOrder()
}

// coarse are the parts of a time by which keys still sort, each within the one before.
var coarse = []string{"{year}", "{month}", "{day}", "{hour}", "{minute}"}

// inOrder refuses a template whose keys do not sort by interval and chunk. What stands before the interval's start may only be
// parts of it, the larger first.
func (k keyTemplate) inOrder() error {
	names := braces.FindAllString(strings.ReplaceAll(string(k), "{date}", "{year}{month}{day}"), -1)
	names = slices.DeleteFunc(names, func(name string) bool { return name == "{export}" })
	parts := 0
	for parts < len(names) && parts < len(coarse) && names[parts] == coarse[parts] {
		parts++
	}
	at := func(name string) int { return slices.Index(names, name) }
	from, ends := at("{interval}"), at("{interval}")
	if parts < len(names) && names[parts] == "{start}" {
		from, ends = parts, at("{end}")
	}
	if from != parts || ends > at("{chunk}") || at("{revision}") < from || at("{revision}") > at("{chunk}") {
		return export.Errorf(export.KindConfig, "key: %q makes keys that do not sort by interval and chunk: put {interval} before {revision} and {chunk}, and before it parts of a time alone, the larger first, as in %q",
			k, "dt={date}/hour={hour}/{export}-{interval}-r{revision}-{chunk}")
	}
	return nil
}
